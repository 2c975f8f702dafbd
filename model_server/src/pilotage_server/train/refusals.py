"""Runs that end without a bundle although the configuration is well formed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pilotage_server.train.config.types import ConfigError


class QualityFailed(ConfigError):
    """Data that would make every figure lie; `findings` are the sentences that say why."""

    def __init__(self, findings: Sequence[str]) -> None:
        self.findings = tuple(findings)
        super().__init__("data checks failed:\n" + "\n".join(findings))


class FairnessFailed(ConfigError):
    """A model that breaks a declared fairness limit; `verdicts` as `evaluate.fairness` gives them."""

    def __init__(self, verdicts: Sequence[Mapping[str, Any]]) -> None:
        self.verdicts = tuple(verdicts)
        sentences = [
            f"{v['metric']}{' of ' + v['class'] if v['class'] else ''} by {v['attribute']}: {v['problem']}"
            for v in verdicts
        ]
        super().__init__("fairness limits broken:\n" + "\n".join(sentences))
