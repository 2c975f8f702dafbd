"""Metrics out of counts: what every number called precision, AUC or kappa means here. Pure, no NumPy.

Laws: 0/0 is NaN, never 0 and never 1; a mean over classes is over those that occur among the labels, without those
whose own value is undefined. scikit-learn and river give the same numbers (tests/server/test_formulas.py).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pilotage_server.quality.buckets import SCORE_EDGES

_STEP: Final = SCORE_EDGES[1] - SCORE_EDGES[0]
_CENTRES: Final = (SCORE_EDGES[0] - _STEP / 2, *(edge + _STEP / 2 for edge in SCORE_EDGES))
CENTRE_P: Final = tuple(1 / (1 + math.exp(-centre)) for centre in _CENTRES)
"""The probability at the middle of each score bucket in log-odds; the open ones as wide as the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Labelled rows seen from one class: true and false positives, false and true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def support(self) -> int:
        """Rows that are of the class."""
        return self.tp + self.fn

    @property
    def precision(self) -> float:
        """Of the rows predicted as the class, the share that is of it."""
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Of the rows of the class, the share predicted as it."""
        return ratio(self.tp, self.support)

    @property
    def specificity(self) -> float:
        """Of the rows of other classes, the share not predicted as this one."""
        return ratio(self.tn, self.tn + self.fp)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn)."""
        return ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


class Matrix:
    """A confusion matrix of `classes` classes, rows by (actual, predicted); absent cells are 0."""

    def __init__(self, cells: Mapping[tuple[int, int], int], classes: int) -> None:
        self._actual = [0] * classes
        self._predicted = [0] * classes
        self._hits = [0] * classes
        for (actual, predicted), rows in cells.items():
            self._actual[actual] += rows
            self._predicted[predicted] += rows
            if actual == predicted:
                self._hits[actual] += rows
        self.rows = sum(self._actual)

    @property
    def outcomes(self) -> list[Outcomes]:
        """Each class against the rest."""
        return [
            Outcomes(tp=hits, fp=predicted - hits, fn=actual - hits, tn=self.rows - actual - predicted + hits)
            for actual, predicted, hits in zip(self._actual, self._predicted, self._hits, strict=True)
        ]

    @property
    def accuracy(self) -> float:
        """The share of right rows; micro precision, recall and F1 are the same number."""
        return ratio(sum(self._hits), self.rows)

    @property
    def mcc(self) -> float:
        """Matthews' correlation of truth and prediction, in [−1, 1] (Gorodkin 2004 for more than two classes)."""
        together = sum(actual * predicted for actual, predicted in zip(self._actual, self._predicted, strict=True))
        truth = self.rows**2 - sum(actual**2 for actual in self._actual)
        said = self.rows**2 - sum(predicted**2 for predicted in self._predicted)
        return ratio(sum(self._hits) * self.rows - together, math.sqrt(truth) * math.sqrt(said))

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond what the margins alone would give, at most 1."""
        together = sum(actual * predicted for actual, predicted in zip(self._actual, self._predicted, strict=True))
        return ratio(sum(self._hits) * self.rows - together, self.rows**2 - together)


@dataclass(frozen=True, slots=True)
class Ranking:
    """One class's rows by score bucket, ascending: those of other classes, and those of it."""

    negative: Sequence[int]
    positive: Sequence[int]

    @property
    def auc(self) -> float:
        """Area under the ROC curve; a tie within a bucket counts half."""
        below = area = 0
        for negative, positive in zip(self.negative, self.positive, strict=True):
            area += positive * (2 * below + negative)
            below += negative
        return ratio(area, 2 * sum(self.positive) * below)

    @property
    def pr_auc(self) -> float:
        """Average precision: precision at each bucket times the recall it adds."""
        hits = rows = 0
        area = 0.0
        for negative, positive in zip(reversed(self.negative), reversed(self.positive), strict=True):
            hits += positive
            rows += positive + negative
            area += positive * ratio(hits, rows) if positive else 0.0
        return ratio(area, hits)

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance of a bucket's centre and its share of positives, in [0, 1]."""
        off = sum(
            abs(positive - centre * (positive + negative))
            for centre, negative, positive in zip(CENTRE_P, self.negative, self.positive, strict=True)
        )
        return ratio(off, sum(self.negative) + sum(self.positive))


def ratio(part: float, whole: float) -> float:
    """Divide; NaN where there is nothing to divide by."""
    return part / whole if whole else math.nan


def mean(values: Iterable[tuple[float, int]], *, weighted: bool = False) -> float:
    """Mean of the defined among (value, support) with any support: each class alike, or by its support."""
    counted = [(value, support if weighted else 1) for value, support in values if support and not math.isnan(value)]
    return ratio(sum(value * weight for value, weight in counted), sum(weight for _, weight in counted))
