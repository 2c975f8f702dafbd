"""What was counted of one arm in one cluster: a sum that can be added to, and nothing else.

Every part is optional: empty means that nothing of the kind was counted or told. Knows no gate, cluster or test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TypeVar

Confusion = Mapping[str, Mapping[str, int]]
"""``{actual: {predicted: n}}``; missing cells are zero."""

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportion:
    """Good requests among all requests."""

    successes: int
    trials: int

    def __add__(self, other: "Proportion") -> "Proportion":
        return Proportion(successes=self.successes + other.successes, trials=self.trials + other.trials)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Labels by bucket of the class's score, ascending: those of other classes, and those of the class itself."""

    negatives: tuple[int, ...]
    positives: tuple[int, ...]

    def __add__(self, other: "Scores") -> "Scores":
        return Scores(
            negatives=_longer(self.negatives, other.negatives), positives=_longer(self.positives, other.positives)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Count, sum and sum of squares of a quantity per label."""

    count: int
    sum: float
    sumsq: float

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(count=self.count + other.count, sum=self.sum + other.sum, sumsq=self.sumsq + other.sumsq)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Labelled requests that both arms answered: canary right × stable right; ``n10``: only the canary was right."""

    n11: int
    n10: int
    n01: int
    n00: int

    @property
    def total(self) -> int:
        """Labels of either arm."""
        return self.n11 + self.n10 + self.n01 + self.n00

    def __add__(self, other: "Pairs") -> "Pairs":
        return Pairs(
            n11=self.n11 + other.n11, n10=self.n10 + other.n10, n01=self.n01 + other.n01, n00=self.n00 + other.n00
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCounts:
    """One arm in one cluster.

    ``confusion``: matured labels (one row per request). ``served``: ``{predicted: rows}`` of the same age.
    ``proportions`` and ``means`` by gate; ``buckets`` by class; ``pairs`` by class, "" for all labels. ``audit``: the
    part of ``confusion`` that the server picked at random for labelling. ``late``: labels that came after labelDelay,
    by upper bound of their delay. ``inputs``: rows per bin of a feature; ``confidence``: rows per bucket of the score.
    """

    confusion: Confusion = field(default_factory=dict)
    served: Mapping[str, int] = field(default_factory=dict)
    proportions: Mapping[str, Proportion] = field(default_factory=dict)
    buckets: Mapping[str, Scores] = field(default_factory=dict)
    means: Mapping[str, Moments] = field(default_factory=dict)
    pairs: Mapping[str, Pairs] = field(default_factory=dict)
    audit: Confusion = field(default_factory=dict)
    late: Mapping[str, int] = field(default_factory=dict)
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    confidence: tuple[int, ...] = ()

    @property
    def labels(self) -> int:
        """Matured labels in these counts."""
        return sum(sum(row.values()) for row in self.confusion.values())

    @property
    def served_rows(self) -> int:
        """Served rows, 0 when not told."""
        return sum(self.served.values())

    @property
    def is_empty(self) -> bool:
        """Nothing was counted."""
        return not (
            self.confusion
            or self.served
            or self.audit
            or self.late
            or any(self.confidence)
            or any(part.trials for part in self.proportions.values())
            or any(part.count for part in self.means.values())
            or any(part.total for part in self.pairs.values())
            or any(any(part.positives) or any(part.negatives) for part in self.buckets.values())
            or any(any(bins) for bins in self.inputs.values())
        )

    def for_sums(self) -> "ArmCounts":
        """Without what conditions remember for themselves."""
        return replace(self, late={}, inputs={}) if self.late or self.inputs else self

    def for_conditions(self) -> "ArmCounts":
        """Without what only gates read."""
        return replace(self, proportions={}, buckets={}, means={}, pairs={}, confidence=())

    def __add__(self, other: "ArmCounts") -> "ArmCounts":
        return ArmCounts(
            confusion=_joined(self.confusion, other.confusion, _plain),
            served=_plain(self.served, other.served),
            proportions=_joined(self.proportions, other.proportions, Proportion.__add__),
            buckets=_joined(self.buckets, other.buckets, Scores.__add__),
            means=_joined(self.means, other.means, Moments.__add__),
            pairs=_joined(self.pairs, other.pairs, Pairs.__add__),
            audit=_joined(self.audit, other.audit, _plain),
            late=_plain(self.late, other.late),
            inputs=_joined(self.inputs, other.inputs, _longer),
            confidence=_longer(self.confidence, other.confidence),
        )

    def __sub__(self, earlier: "ArmCounts") -> "ArmCounts":
        """What was counted since ``earlier``, a part of these counts."""
        return self + earlier.negated()

    def negated(self) -> "ArmCounts":
        """Every number with its sign turned: a help to subtract, never counts of anything."""
        return ArmCounts(
            confusion={actual: _turned(row) for actual, row in self.confusion.items()},
            served=_turned(self.served),
            proportions={k: Proportion(successes=-p.successes, trials=-p.trials) for k, p in self.proportions.items()},
            buckets={
                k: Scores(negatives=tuple(-n for n in s.negatives), positives=tuple(-n for n in s.positives))
                for k, s in self.buckets.items()
            },
            means={k: Moments(count=-m.count, sum=-m.sum, sumsq=-m.sumsq) for k, m in self.means.items()},
            pairs={k: Pairs(n11=-p.n11, n10=-p.n10, n01=-p.n01, n00=-p.n00) for k, p in self.pairs.items()},
            audit={actual: _turned(row) for actual, row in self.audit.items()},
            late=_turned(self.late),
            inputs={k: tuple(-n for n in bins) for k, bins in self.inputs.items()},
            confidence=tuple(-n for n in self.confidence),
        )


def _joined(
    left: Mapping[str, _Part], right: Mapping[str, _Part], add: Callable[[_Part, _Part], _Part]
) -> Mapping[str, _Part]:
    if not right or not left:
        return left or right
    return {**left, **{name: add(left[name], part) if name in left else part for name, part in right.items()}}


def _plain(left: Mapping[str, int], right: Mapping[str, int]) -> Mapping[str, int]:
    return _joined(left, right, int.__add__)


def _turned(counts: Mapping[str, int]) -> Mapping[str, int]:
    return {name: -n for name, n in counts.items()}


def _longer(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    if not right or not left:
        return left or right
    return tuple(a + b for a, b in zip_longest(left, right, fillvalue=0))
