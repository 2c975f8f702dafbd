"""Is one model better than another on the same rows? Both are judged on every bootstrap draw together.

What makes a draw easy makes it easy for both, so the interval of the difference is much narrower than those of the two
values suggest. Rows that came in one request are drawn together. Source: Efron & Tibshirani 1993, ch. 16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pilotage_server.train.evaluate import counts as of
from pilotage_server.train.evaluate.metrics import Answers, row_brier, row_log_loss
from pilotage_server.train.evaluate.ranking import aucs
from pilotage_server.train.evaluate.resample import draw_weights

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """How much better the challenger is, in the metric's units; positive is better whatever the metric's direction.

    `low` and `high`: 95 % percentile interval of the paired bootstrap.
    """

    metric: str
    champion: float
    challenger: float
    value: float
    low: float
    high: float
    rows: int

    @property
    def is_proven(self) -> bool:
        """Whether the lower bound is above zero."""
        return self.low > 0


def improvement(metric: str, champion: Answers, challenger: Answers, *, seed: int, draws: int = 2_000) -> Improvement:
    """Compare two models' answers to the same rows."""
    once = np.ones((1, len(champion.actual)))
    sign = -1.0 if metric in ("logLoss", "brier", "expectedCost") else 1.0
    values = [float(drawn_values(metric, answers, once)[0]) for answers in (champion, challenger)]
    differences = np.concatenate(
        [
            drawn_values(metric, challenger, weights) - drawn_values(metric, champion, weights)
            for weights in draw_weights(len(champion.actual), draws, seed, champion.groups)
        ]
    )
    low, high = np.nanquantile(sign * differences, [0.025, 0.975])
    return Improvement(
        metric=metric,
        champion=values[0],
        challenger=values[1],
        value=sign * (values[1] - values[0]),
        low=float(low),
        high=float(high),
        rows=len(champion.actual),
    )


def drawn_values(metric: str, answers: Answers, weights: Floats) -> Floats:
    """The metric on each draw [b] of weights [b, n]; NaN where a draw leaves it undefined."""
    if metric in ("logLoss", "brier"):
        per_row = (row_log_loss if metric == "logLoss" else row_brier)(answers.actual, answers.probabilities)
        return of.ratio(weights @ per_row, weights.sum(axis=1))
    k = len(answers.classes)
    if metric in ("rocAuc", "prAuc"):
        which = 0 if metric == "rocAuc" else 1
        per_class = [aucs(answers.probabilities[:, c], answers.actual == c, weights)[which] for c in range(k)]
        return of.macro(np.array(per_class).T)
    cells = answers.actual * k + answers.predicted
    counts = np.stack([np.bincount(cells, weights=row, minlength=k * k) for row in weights]).reshape(-1, k, k)
    match metric:
        case "accuracy":
            return of.accuracy(counts)
        case "balancedAccuracy":
            return of.balanced_accuracy(counts)
        case "macroF1":
            return of.macro(of.f1(counts))
    assert answers.costs is not None
    return of.expected_cost(counts, answers.costs)
