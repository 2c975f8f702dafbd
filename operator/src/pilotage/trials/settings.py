"""The traffic that a simulation assumes: rates, shares, steps, delays. Numbers only; draws nothing.

`Pace.EVEN` spends the same time at every weight; `Pace.READY` leaves a step when every gate has `minSamples` labels of
it, as the operator does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pilotage.trials.models import Model

AUDIT_SHARE: Final = 0.05
"""Where audited labels are gated on and nobody says how many there are."""


class Pace(StrEnum):
    """When a step ends."""

    EVEN = "even"
    READY = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """`stable`: the model in production; `shares`: its traffic's classes, adding up to 1; `clusters`: their shares of
    the traffic. `requests_per_s` in all clusters and arms; `label_share`: part of them whose truth is told. `weights`:
    the canary's share at each step, in (0, 1). `looks` at equal distances until `duration_s`. `history`: labelled
    predictions of stable before the rollout. `audit_share`: part of the requests picked at random for labelling.
    """

    stable: Model
    shares: Mapping[str, float]
    clusters: Mapping[str, float] = field(default_factory=lambda: {"main": 1.0})
    requests_per_s: float = 50.0
    label_share: float = 0.1
    weights: tuple[float, ...] = (0.1, 0.5)
    duration_s: float = 21_600.0
    looks: int = 360
    label_delay_s: float = 0.0
    history: int = 1000
    audit_share: float = AUDIT_SHARE
    pace: Pace = Pace.EVEN

    @property
    def interval_s(self) -> float:
        """Seconds between two looks."""
        return self.duration_s / self.looks

    @property
    def labels_per_s(self) -> float:
        """Labelled predictions of both arms."""
        return self.requests_per_s * self.label_share

    def step_of(self, look: int) -> int:
        """The step under way at a look when each takes the same time."""
        return look * len(self.weights) // self.looks
