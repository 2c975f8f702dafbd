"""Is there a reason to retrain? Drifted inputs, or quality below what the champion's test set promised.

Drift is the population stability index of labelled rows against the manifest's reference bins, as servers count it;
above 0.2 is called a shift by those who coined the rule (Siddiqi 2006). Quality is accuracy: a reason when
the upper end of its interval lies below the lower end of the baseline's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pilotage_server.bundle.manifest import Manifest
from pilotage_server.quality.drift import psi
from pilotage_server.train.evaluate.metrics import Answers
from pilotage_server.train.evaluate.resample import proportion

PSI_LIMIT = 0.2
LEAST_ROWS = 100
REASONS = ("drift", "quality")


def reasons(manifest: Manifest, answers: Answers, rows: Any, wanted: Sequence[str]) -> list[str]:
    """Sentences, one per reason found; empty when nothing has changed, or too few rows could tell."""
    if len(answers.actual) < LEAST_ROWS:
        return []
    found = []
    if "drift" in wanted:
        names = [feature.name for feature in manifest.features]
        for bins in manifest.reference:
            index = psi(np.array(bins.counts), bins.count(rows[:, names.index(bins.feature)]))
            if index > PSI_LIMIT:
                found.append(f"drift: {bins.feature} has a stability index of {index:.2f}, above {PSI_LIMIT:g}")
    if "quality" in wanted:
        promised = manifest.baseline["accuracy"]
        seen = proportion(int((answers.actual == answers.predicted).sum()), len(answers.actual))
        if seen["high"] < promised["low"]:
            found.append(
                f"quality: accuracy {seen['value']:.3f} [{seen['low']:.3f}, {seen['high']:.3f}] on {seen['n']} "
                f"labelled rows, below the test set's {promised['value']:.3f} [{promised['low']:.3f}, "
                f"{promised['high']:.3f}]"
            )
    return found
