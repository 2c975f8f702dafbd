"""Metrics of confusion counts [..., K, K] (rows actual, columns predicted). Pure; 0/0 is NaN.

Macro averages leave out a class whose metric is undefined; precision of a class nobody predicted is undefined.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[Any]
Floats = NDArray[np.float64]


def confusion(actual: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts [K, K] of n rows."""
    cells = np.bincount(actual * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes)


def precision(counts: Counts) -> Floats:
    """Right among predicted, per class [..., K]."""
    return ratio(_hits(counts), counts.sum(axis=-2))


def recall(counts: Counts) -> Floats:
    """Right among actual, per class [..., K]."""
    return ratio(_hits(counts), counts.sum(axis=-1))


def f1(counts: Counts) -> Floats:
    """Harmonic mean of precision and recall, per class [..., K]: 2tp / (2tp + fp + fn)."""
    return ratio(2 * _hits(counts), counts.sum(axis=-2) + counts.sum(axis=-1))


def accuracy(counts: Counts) -> Floats:
    """Right among all [...]; equal to micro precision, recall and F1."""
    return ratio(_hits(counts).sum(axis=-1), counts.sum(axis=(-2, -1)))


def balanced_accuracy(counts: Counts) -> Floats:
    """Mean recall of the classes that occur [...]."""
    return macro(recall(counts))


def matthews(counts: Counts) -> Floats:
    """Matthews' correlation of truth and prediction in [−1, 1] [...]; 0 for a constant answer. Gorodkin 2004."""
    rows, right, called, occurring = _margins(counts)
    spread = (rows**2 - (called**2).sum(axis=-1)) * (rows**2 - (occurring**2).sum(axis=-1))
    found = ratio(right * rows - (called * occurring).sum(axis=-1), np.sqrt(np.maximum(spread, 0.0)))
    return np.nan_to_num(found)


def kappa(counts: Counts) -> Floats:
    """Cohen's kappa [...]: agreement beyond what the margins alone would give, in [−1, 1]."""
    rows, right, called, occurring = _margins(counts)
    by_chance = ratio((called * occurring).sum(axis=-1), rows**2)
    return ratio(ratio(right, rows) - by_chance, 1 - by_chance)


def entropy(counts: Counts) -> Floats:
    """Log loss of whoever knows the class shares of these very rows only [...], nats."""
    shares = ratio(counts.sum(axis=-1), counts.sum(axis=(-2, -1))[..., None])
    found: Floats = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=-1)
    return found


def _margins(counts: Counts) -> tuple[Floats, Floats, Floats, Floats]:
    """Rows, right answers [...], and how often each class was called and occurred [..., K]."""
    whole = np.asarray(counts, dtype=np.float64)
    return whole.sum(axis=(-2, -1)), _hits(whole).sum(axis=-1), whole.sum(axis=-2), whole.sum(axis=-1)


def macro(per_class: Floats) -> Floats:
    """Mean over the classes where the metric is defined [...]."""
    defined = ~np.isnan(per_class)
    return ratio(np.where(defined, per_class, 0.0).sum(axis=-1), defined.sum(axis=-1))


def weighted(per_class: Floats, counts: Counts) -> Floats:
    """Mean weighted by how often a class occurs, over the classes where the metric is defined [...]."""
    support = np.where(np.isnan(per_class), 0, counts.sum(axis=-1))
    return ratio((np.nan_to_num(per_class) * support).sum(axis=-1), support.sum(axis=-1))


def expected_cost(counts: Counts, costs: Floats) -> Floats:
    """Mean cost per row [...]; `costs` [K, K] like the counts."""
    return ratio((counts * costs).sum(axis=(-2, -1)), counts.sum(axis=(-2, -1)))


def ratio(part: Any, whole: Any) -> Floats:
    """Divide; 0/0 is NaN."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    out = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    found: Floats = np.divide(part, whole, out=out, where=whole > 0)
    return found


def _hits(counts: Counts) -> Counts:
    return np.diagonal(counts, axis1=-2, axis2=-1)
