"""Who learns from which rows: hold back first, then test, then learn; what is done to training rows comes last.

The held-back rows depend on data, seed and `holdback` alone, so models trained with different knobs hold back the
same rows: that is what makes them comparable on one stream of requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from pilotage_server.document import nearest
from pilotage_server.train.config import ConfigError, Data, SplitShares
from pilotage_server.train.data.table import Table

LEAST_ROWS = 5
"""A class needs that many training rows: the least that 5-fold calibration can work with."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows [n, F] with their class indices [n], and what is known beside them."""

    rows: NDArray[np.float64]
    labels: Indices
    indices: Indices
    groups: Indices | None = None
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The three parts; `holdback` may be empty. No row is in two of them. `in_time`: rows are sorted by time."""

    train: Part
    test: Part
    holdback: Part
    in_time: bool = False


def split(table: Table, shares: SplitShares, data: Data) -> Split:
    """Split a table; raises `ConfigError` if a class is unknown or left with too few rows."""
    everything = np.arange(len(table.rows))
    _check_sizes(table)
    if shares.by == "time" and table.times is not None:
        everything = np.argsort(table.times, kind="stable")
    rest, holdback = _draw(everything, table, shares.holdback, shares)
    learn, test = _draw(rest, table, shares.test / (1.0 - shares.holdback), shares)
    rows, labels = _alter(learn, table, data, shares.seed)
    counts = np.bincount(labels, minlength=len(table.classes))
    for label, count in zip(table.classes, counts, strict=True):
        if count < LEAST_ROWS:
            raise ConfigError(
                f"data: class {label!r} has {count} training rows, fewer than {LEAST_ROWS}; collect or keep more"
            )
    return Split(
        train=part(table, rows, labels),
        test=part(table, test),
        holdback=part(table, holdback),
        in_time=shares.by == "time",
    )


def _check_sizes(table: Table) -> None:
    """Raise for classes that no split can put on both sides."""
    counts = np.bincount(table.labels, minlength=len(table.classes))
    alone = [label for label, count in zip(table.classes, counts, strict=True) if count < 2]
    if alone:
        shown = ", ".join(map(repr, alone[:5])) + (", …" if len(alone) > 5 else "")
        raise ConfigError(
            f"data: one row only of class {shown}, which cannot both teach and test; collect more, merge it with "
            "another class, or remove it"
        )


def part(table: Table, indices: Indices, labels: Indices | None = None) -> Part:
    """Take rows out of a table, with other labels if given."""
    return Part(
        rows=table.rows[indices],
        labels=table.labels[indices] if labels is None else labels,
        indices=indices,
        groups=None if table.groups is None else table.groups[indices],
        attributes={name: tuple(values[i] for i in indices) for name, values in table.attributes.items()},
    )


def _draw(indices: Indices, table: Table, share: float, shares: SplitShares) -> tuple[Indices, Indices]:
    """Draw a share of the rows; both results in the order of `indices`."""
    if share <= 0.0:
        return indices, indices[:0]
    match shares.by:
        case "time":
            count = max(1, round(len(indices) * share))
            return indices[:-count], indices[-count:]
        case "group":
            return _draw_groups(indices, table, share, shares.seed)
    labels = table.labels[indices]
    try:
        rest, drawn = train_test_split(indices, test_size=share, stratify=labels, random_state=shares.seed)
    except ValueError as error:
        raise ConfigError(f"split: {error}; use larger data or another share") from error
    return np.sort(rest), np.sort(drawn)


def _draw_groups(indices: Indices, table: Table, share: float, seed: int) -> tuple[Indices, Indices]:
    """Draw whole groups, about `share` of the rows, with about the classes of the whole."""
    assert table.groups is not None
    groups, labels = table.groups[indices], table.labels[indices]
    count = min(max(2, round(1.0 / share)), len(np.unique(groups)))
    if count < 2:
        raise ConfigError("split.by: group needs at least 2 groups; name another column, or split at random")
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    rest, drawn = next(splitter.split(table.rows[indices], labels, groups))
    return indices[rest], indices[drawn]


def _alter(learn: Indices, table: Table, data: Data, seed: int) -> tuple[Indices, Indices]:
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
