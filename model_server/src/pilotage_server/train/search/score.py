"""The yardstick of selection: one number per set of rows, larger is better. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pilotage_server.train.evaluate import counts as of
from pilotage_server.train.evaluate.metrics import row_brier, row_log_loss
from pilotage_server.train.evaluate.ranking import aucs

LOSSES: Final = frozenset({"logLoss", "brier", "expectedCost"})


def measure(
    metric: str,
    actual: NDArray[np.int64],
    predicted: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    costs: NDArray[np.float64] | None,
) -> float:
    """Value of a metric in its own direction; NaN when undefined."""
    classes = probabilities.shape[1]
    match metric:
        case "logLoss":
            return float(row_log_loss(actual, probabilities).mean())
        case "brier":
            return float(row_brier(actual, probabilities).mean())
        case "rocAuc" | "prAuc":
            once = np.ones((1, len(actual)))
            which = 0 if metric == "rocAuc" else 1
            found = [aucs(probabilities[:, c], actual == c, once)[which][0] for c in range(classes)]
            return float(of.macro(np.array(found)))
    counts = of.confusion(actual, predicted, classes)
    match metric:
        case "accuracy":
            return float(of.accuracy(counts))
        case "balancedAccuracy":
            return float(of.balanced_accuracy(counts))
        case "macroF1":
            return float(of.macro(of.f1(counts)))
    assert costs is not None, "the configuration's reader asks for costs with expectedCost"
    return float(of.expected_cost(counts, costs))


def goodness(metric: str, value: float) -> float:
    """Turn a value so that larger is better; undefined is worst."""
    if np.isnan(value):
        return -np.inf
    return -value if metric in LOSSES else value
