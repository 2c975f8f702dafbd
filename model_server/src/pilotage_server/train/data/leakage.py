"""Columns that know the answer: how well one column alone tells the classes, and columns from after the fact.

A column's power is the mean one-vs-rest AUC of class shares per bin of its values, learned on one half of the
rows and judged on the other, both ways: it sees any shape, also a missing value that gives the label away, and a
column of unique values cannot look good by memory. The plain AUC of the values counts if it is larger. Knows neither
limits nor remedies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pilotage_server.train.evaluate.counts import macro
from pilotage_server.train.evaluate.ranking import roc_auc

_BINS = 64
_PRIOR = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """How well one column alone tells the classes: mean one-vs-rest AUC, and the lower end of its 90 % interval.

    A column is called a leak by the lower end: on few rows a good feature reaches 0.99 by luck, a leak by nature.
    """

    auc: float
    low: float


def column_power(values: NDArray[np.float64], labels: NDArray[np.int64], classes: int, seed: int) -> Power:
    """The larger of the power by bins (out of sample) and by order alone; NaN if no half holds two classes."""
    bins = _bin(values, max(4, min(_BINS, len(values) // 16)))
    half = np.random.default_rng(seed).permutation(len(labels)) % 2
    found = np.full((2, classes, 2), np.nan)
    for side in (0, 1):
        learn, judge = half == side, half != side
        table = np.zeros((int(bins.max()) + 1, classes))
        np.add.at(table, (bins[learn], labels[learn]), 1.0)
        shares = table + _PRIOR * np.bincount(labels[learn], minlength=classes) / max(1, learn.sum())
        shares = shares / shares.sum(axis=1, keepdims=True)
        for label in range(classes):
            found[side, label] = _area(shares[bins[judge], label], labels[judge] == label)
    by_bins, by_order = _mean(found.reshape(-1, 2)), _monotone(values, labels, classes)
    return by_bins if by_bins.auc >= by_order.auc else by_order


def _monotone(values: NDArray[np.float64], labels: NDArray[np.int64], classes: int) -> Power:
    """Power of the values as they are, in whichever direction: exact where order is all there is."""
    known = np.nan_to_num(values, nan=float(np.nanmin(values, initial=0.0)) - 1.0)
    areas = [_area(sign * known, labels == label) for label in range(classes) for sign in (1, -1)]
    best = np.array(areas).reshape(classes, 2, 2).max(axis=1)
    return _mean(best)


def _mean(areas: NDArray[np.float64]) -> Power:
    return Power(auc=float(macro(areas[:, 0])), low=float(macro(areas[:, 1])))


def _area(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[float, float]:
    """AUC and the lower end of its 90 % interval (Hanley & McNeil 1982)."""
    a, hits, rest = roc_auc(scores, positive), int(positive.sum()), int((~positive).sum())
    if np.isnan(a):
        return a, a
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (hits - 1) * (q1 - a * a) + (rest - 1) * (q2 - a * a)) / (hits * rest)
    return a, a - 1.645 * float(np.sqrt(max(0.0, variance)))


def _bin(values: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Codes from 0 on: one per value when there are few, quantile bins otherwise; missing is a bin of its own."""
    missing = np.isnan(values)
    known = values[~missing]
    if not len(known):
        return np.zeros(len(values), dtype=np.int64)
    edges = np.unique(known)
    if len(edges) > most:
        edges = np.unique(np.quantile(known, np.arange(1, most) / most))
    found = np.searchsorted(edges, values, side="right")
    found[missing] = len(edges) + 1
    return found.astype(np.int64)
