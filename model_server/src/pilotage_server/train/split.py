"""Who learns from which rows: hold back first, then test, then train; what is done to training rows comes
last.

The held-back rows depend on data, seed and `holdback` alone, so models trained with different knobs hold back
the same rows: that is what makes them comparable on one stream of requests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from pilotage_server.document import nearest
from pilotage_server.train.config import ConfigError, Data, SplitShares
from pilotage_server.train.data import Table

LEAST_ROWS = 5
"""A class needs that many training rows: the least that 5-fold calibration can work with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows [n, F] with their class indices [n]."""

    rows: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The three parts; `holdback` may be empty. No row is in two of them."""

    train: Part
    test: Part
    holdback: Part


def split(table: Table, shares: SplitShares, data: Data) -> Split:
    """Split a table; raises `ConfigError` if a class is unknown or left with too few rows."""
    everything = np.arange(len(table.rows))
    rest, holdback = _draw(everything, table.labels, shares.holdback, shares.seed)
    learn, test = _draw(rest, table.labels, shares.test / (1.0 - shares.holdback), shares.seed)
    rows, labels = _alter(learn, table, data, shares.seed)
    counts = np.bincount(labels, minlength=len(table.classes))
    for label, count in zip(table.classes, counts, strict=True):
        if count < LEAST_ROWS:
            raise ConfigError(f"data: class {label!r} has {count} training rows, fewer than {LEAST_ROWS}; keep more")
    return Split(
        train=Part(rows=table.rows[rows], labels=labels),
        test=Part(rows=table.rows[test], labels=table.labels[test]),
        holdback=Part(rows=table.rows[holdback], labels=table.labels[holdback]),
    )


def _draw(
    indices: NDArray[np.int64], labels: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw a share of the rows, stratified; both results in the table's order."""
    if share <= 0.0:
        return indices, indices[:0]
    try:
        rest, drawn = train_test_split(indices, test_size=share, stratify=labels[indices], random_state=seed)
    except ValueError as error:
        raise ConfigError(f"split: {error}; use larger data or another share") from error
    return np.sort(rest), np.sort(drawn)


def _alter(
    learn: NDArray[np.int64], table: Table, data: Data, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Apply `data.subsample`, then `data.relabel`, to the training rows: which rows, with which labels."""
    rng = np.random.default_rng(seed)
    original = table.labels[learn]
    kept = np.ones(len(learn), dtype=bool)
    for i, rule in enumerate(data.subsample):
        classes = range(len(table.classes)) if rule.label is None else [_index(table, rule.label, f"subsample[{i}]")]
        for index in classes:
            members = np.flatnonzero(kept & (original == index))
            gone = len(members) - round(len(members) * rule.keep)
            kept[rng.permutation(members)[:gone]] = False
    labels = original.copy()
    for i, change in enumerate(data.relabel):
        members = np.flatnonzero(kept & (original == _index(table, change.label, f"relabel[{i}]")))
        chosen = rng.permutation(members)[: round(len(members) * change.share)]
        labels[chosen] = _index(table, change.to, f"relabel[{i}]")
    return learn[kept], labels[kept]


def _index(table: Table, label: str, where: str) -> int:
    if label not in table.classes:
        raise ConfigError(f"data.{where}: {label!r} is no class of {table.name}; {nearest(label, table.classes)}")
    return table.classes.index(label)
