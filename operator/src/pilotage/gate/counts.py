"""From confusion counts to the successes and trials a gate asks about.

A gate's metric becomes *rows*: one binomial proportion, or one per class for a macro average, each entering the
metric with the same coefficient. 0/0 stays 0 trials: an absent class is absent, never a rate of 0 or 1.
Knows no cluster, arm or test. The vectors below are laid out cluster by cluster: canary's rows, then stable's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pilotage.gate.arm import Confusion
from pilotage.gate.spec import Average, GateSpec, Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Successes and trials per stratum; equal lengths."""

    s: tuple[int, ...]
    n: tuple[int, ...]

    @classmethod
    def zero(cls, size: int) -> "Counts":
        """Nothing counted yet."""
        return cls(s=(0,) * size, n=(0,) * size)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(s=_plus(self.s, other.s), n=_plus(self.n, other.n))

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(s=_minus(self.s, other.s), n=_minus(self.n, other.n))

    def at(self, indices: Iterable[int]) -> "Counts":
        """The counts of some strata."""
        chosen = tuple(indices)
        return Counts(s=tuple(self.s[i] for i in chosen), n=tuple(self.n[i] for i in chosen))


def rows(gate: GateSpec, classes: Sequence[str]) -> tuple[str | None, ...]:
    """The classes whose rows make up the metric; ``(None,)`` for the proportion of all correct predictions.

    Micro-averaged precision and recall and weighted recall are accuracy (statistics.md §4).
    """
    if gate.average is Average.MACRO:
        return tuple(classes)
    if gate.class_name is not None:
        return (gate.class_name,)
    return (None,)


def count(gate: GateSpec, about: Sequence[str | None], confusion: Confusion) -> Counts:
    """Successes and trials of each row of ``about`` in one confusion matrix."""
    if about == (None,):
        pairs = [_all_of(confusion)]
    elif gate.metric is Metric.RECALL:
        pairs = [(_cell(confusion, name, name), sum(confusion.get(name or "", {}).values())) for name in about]
    else:
        pairs = [
            (_cell(confusion, name, name), sum(row.get(name or "", 0) for row in confusion.values())) for name in about
        ]
    return Counts(s=tuple(hits for hits, _ in pairs), n=tuple(trials for _, trials in pairs))


def _all_of(confusion: Confusion) -> tuple[int, int]:
    return sum(row.get(actual, 0) for actual, row in confusion.items()), sum(
        sum(row.values()) for row in confusion.values()
    )


def _cell(confusion: Confusion, actual: str | None, predicted: str | None) -> int:
    return confusion.get(actual or "", {}).get(predicted or "", 0)


def _plus(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(int.__add__, left, right))


def _minus(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(int.__sub__, left, right))
