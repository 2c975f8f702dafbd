"""Columns that know the answer: how well one column alone tells the classes, and columns from after the fact.

A column's power is the mean one-vs-rest AUC of class shares per bin of its values, learned on one half of the
rows and judged on the other, both ways: it sees any shape, also a missing value that gives the label away, and a
column of unique values cannot look good by memory. The plain
AUC of the values counts if it is larger. Knows neither limits nor remedies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pilotage_server.train.evaluate.counts import macro
from pilotage_server.train.evaluate.ranking import roc_auc

_BINS = 64
_PRIOR = 0.5


def single_column_auc(values: NDArray[np.float64], labels: NDArray[np.int64], classes: int, seed: int) -> float:
    """Mean one-vs-rest AUC in [0, 1] of one column alone; NaN if no half holds two classes."""
    bins = _bin(values, max(4, min(_BINS, len(values) // 16)))
    half = np.random.default_rng(seed).permutation(len(labels)) % 2
    found = np.full((2, classes), np.nan)
    for side in (0, 1):
        learn, judge = half == side, half != side
        table = np.zeros((int(bins.max()) + 1, classes))
        np.add.at(table, (bins[learn], labels[learn]), 1.0)
        shares = table + _PRIOR * np.bincount(labels[learn], minlength=classes) / max(1, learn.sum())
        shares = shares / shares.sum(axis=1, keepdims=True)
        for label in range(classes):
            found[side, label] = roc_auc(shares[bins[judge], label], labels[judge] == label)
    return max(float(macro(found.ravel())), _monotone(values, labels, classes))


def _monotone(values: NDArray[np.float64], labels: NDArray[np.int64], classes: int) -> float:
    """Mean one-vs-rest AUC of the values as they are, in whichever direction: exact where order is all there is."""
    known = np.nan_to_num(values, nan=float(np.nanmin(values, initial=0.0)) - 1.0)
    areas = np.array([roc_auc(known, labels == label) for label in range(classes)])
    return float(macro(np.maximum(areas, 1 - areas)))


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
