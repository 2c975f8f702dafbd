"""Who validates whom: folds that respect groups and time.

Random splits are stratified by class; grouped ones keep a group in one fold; with times, a fold is a stretch of
time, so that rows of one afternoon do not vouch for each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

from pilotage_server.train.config import ConfigError

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows [n, F] with class indices [n]; `groups` [n] when no group may be in two folds.

    `in_time`: the rows stand in order of time.
    """

    values: NDArray[np.float64]
    labels: Indices
    groups: NDArray[np.int64] | None = None
    in_time: bool = False

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.labels)

    def take(self, indices: Indices) -> Rows:
        """Some of the rows, in the order of `indices`."""
        groups = None if self.groups is None else self.groups[indices]
        return Rows(values=self.values[indices], labels=self.labels[indices], groups=groups, in_time=self.in_time)


def folds(rows: Rows, count: int, seed: int) -> list[tuple[Indices, Indices]]:
    """Split into `count` pairs (training, validation) whose validation parts cover every row once."""
    smallest = int(np.bincount(rows.labels)[np.unique(rows.labels)].min())
    if rows.in_time:
        pairs = list(KFold(count).split(rows.values))
    elif rows.groups is not None:
        found = len(np.unique(rows.groups))
        if found < count:
            raise ConfigError(f"search.folds: {found} groups cannot fill {count} folds; use fewer")
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        pairs = list(splitter.split(rows.values, rows.labels, rows.groups))
    else:
        if smallest < count:
            raise ConfigError(
                f"search.folds: the smallest class has {smallest} rows, fewer than {count} folds; use fewer"
            )
        pairs = list(StratifiedKFold(count, shuffle=True, random_state=seed).split(rows.values, rows.labels))
    return _with_every_class(rows, pairs)


def _with_every_class(rows: Rows, pairs: list[tuple[Indices, Indices]]) -> list[tuple[Indices, Indices]]:
    everything = set(np.unique(rows.labels).tolist())
    for number, (train, _) in enumerate(pairs):
        lacking = everything - set(np.unique(rows.labels[train]).tolist())
        if lacking:
            raise ConfigError(
                f"split: class number {min(lacking)} is in no training row of fold {number}; use fewer folds, or "
                "leave out classes that only one group or stretch of time has"
            )
    return pairs
