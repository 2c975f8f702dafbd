"""From what was counted of the arms of a cluster to the vector a test bets on.

Proportions: one stratum per row (all labels, or those of one class) and arm, canary's rows first. Functionals: the
canary's cells, grouped by the value they have. Pairs: who was right alone. Knows no test and no bound.
Source: statistics.md §4.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Final, Protocol

from pilotage.gate.arm import ArmCounts, Confusion
from pilotage.gate.counts import Counts
from pilotage.gate.engine import Arms

_NOTHING: Final = ArmCounts()


class Row(StrEnum):
    """Which labels are the trials of a proportion, seen from one class; and which of them are hits."""

    ALL = "all"  # hits: predicted right
    ACTUAL = "actual"  # recall
    PREDICTED = "predicted"  # precision
    OTHERS = "others"  # specificity: of other classes; hits: not predicted as this one
    EITHER = "either"  # Jaccard: of the class or predicted as it; hits: both
    REQUESTS = "requests"  # good requests among all requests


class Tally(Protocol):
    """What of a cluster's counts a test looks at."""

    @property
    def width(self) -> int:
        """Categories per stratum."""

    @property
    def strata(self) -> int:
        """Strata per cluster, both arms."""

    def cells(self, arms: Mapping[str, ArmCounts]) -> list[int]:
        """``width * strata`` counts of one cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Proportions: hits and misses of every row, of the canary and then of stable.

    ``about``: the classes whose rows these are, ("",) for ``ALL`` and ``REQUESTS``. ``gate``: whose proportions.
    """

    row: Row
    about: tuple[str, ...]
    gate: str
    audit: bool = False

    @property
    def width(self) -> int:
        """Hits and misses."""
        return 2

    @property
    def strata(self) -> int:
        """Rows of both arms."""
        return 2 * len(self.about)

    def cells(self, arms: Mapping[str, ArmCounts]) -> list[int]:
        """Of one cluster."""
        return [*self.arm(arms.get("canary", _NOTHING)), *self.arm(arms.get("stable", _NOTHING))]

    def arm(self, counts: ArmCounts) -> list[int]:
        """Of one arm."""
        if self.row is Row.REQUESTS:
            found = counts.proportions.get(self.gate)
            return [0, 0] if found is None else [found.successes, found.trials - found.successes]
        table = counts.audit if self.audit else counts.confusion
        if not table:
            return [0] * (2 * len(self.about))
        return list(chain.from_iterable(_ROWS[self.row](table, self.about)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The canary's labels by group of cells; ``groups``: ``{actual: {predicted: group}}`` of every pair of classes."""

    groups: Mapping[str, Mapping[str, int]]
    width: int
    audit: bool = False

    @property
    def strata(self) -> int:
        """One."""
        return 1

    def cells(self, arms: Mapping[str, ArmCounts]) -> list[int]:
        """Of one cluster."""
        counts = arms.get("canary", _NOTHING)
        found = [0] * self.width
        for actual, row in (counts.audit if self.audit else counts.confusion).items():
            group = self.groups[actual]
            for predicted, n in row.items():
                found[group[predicted]] += n
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Both:
    """Requests that both arms answered: only the canary right, only stable right, no difference. ``about``: a class,
    or "" for all labels.
    """

    about: str

    @property
    def width(self) -> int:
        """Three outcomes."""
        return 3

    @property
    def strata(self) -> int:
        """One."""
        return 1

    def cells(self, arms: Mapping[str, ArmCounts]) -> list[int]:
        """Of one cluster; pairs belong to both arms and are handed in with either."""
        for arm in ("canary", "stable"):
            pairs = arms[arm].pairs.get(self.about) if arm in arms else None
            if pairs is not None:
                return [pairs.n10, pairs.n01, pairs.n11 + pairs.n00]
        return [0, 0, 0]


def tally(of: Tally, clusters: Sequence[str], arms: Arms) -> Counts:
    """The vector of a test: cluster by cluster."""
    none: list[int] = [0] * (of.width * of.strata)
    parts = (of.cells(arms[name]) if name in arms else none for name in clusters)
    return Counts(width=of.width, cells=tuple(chain.from_iterable(parts)))


def _all(table: Confusion, _: Sequence[str]) -> Iterator[tuple[int, int]]:
    hits = sum(row.get(actual, 0) for actual, row in table.items())
    yield hits, sum(sum(row.values()) for row in table.values()) - hits


def _actual(table: Confusion, about: Sequence[str]) -> Iterator[tuple[int, int]]:
    for name in about:
        row = table.get(name, {})
        hits = row.get(name, 0)
        yield hits, sum(row.values()) - hits


def _predicted(table: Confusion, about: Sequence[str]) -> Iterator[tuple[int, int]]:
    for name in about:
        hits = table.get(name, {}).get(name, 0)
        yield hits, sum(row.get(name, 0) for row in table.values()) - hits


def _others(table: Confusion, about: Sequence[str]) -> Iterator[tuple[int, int]]:
    for name in about:
        others = [row for actual, row in table.items() if actual != name]
        misses = sum(row.get(name, 0) for row in others)
        yield sum(sum(row.values()) for row in others) - misses, misses


def _either(table: Confusion, about: Sequence[str]) -> Iterator[tuple[int, int]]:
    for name in about:
        row = table.get(name, {})
        hits = row.get(name, 0)
        column = sum(cells.get(name, 0) for cells in table.values())
        yield hits, sum(row.values()) + column - 2 * hits


_ROWS: Final[Mapping[Row, Callable[[Confusion, Sequence[str]], Iterator[tuple[int, int]]]]] = {
    Row.ALL: _all,
    Row.ACTUAL: _actual,
    Row.PREDICTED: _predicted,
    Row.OTHERS: _others,
    Row.EITHER: _either,
}
