"""Watches whether the arms' shares of the labels stay what they were, cluster by cluster, in numbers of labels only.

A weight change is announced; a replica that dies, an autoscaler or a proxy moves the split without a word. Evidence
that adds counts up over such a change compares different times of the two arms. The watch compares the labels since a
checkpoint with those before it and moves the checkpoint when they are a fifth of them.
Knows no outcome, no metric and no test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_SURPRISE: Final = 25.0
"""Chi-square of one degree of freedom, five standard errors: chance alone gets there once in two million looks."""
_LEAST: Final = 5.0
"""Expected labels per arm below which chi-square is no chi-square."""

Labels = Mapping[str, Sequence[int]]
"""``{cluster: (canary, stable)}`` since the stratum began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """``before``: labels when the checkpoint was set."""

    before: Labels

    def to_list(self) -> list[Any]:
        """JSON."""
        return [[name, *labels] for name, labels in self.before.items()]

    @classmethod
    def from_list(cls, raw: Sequence[Sequence[Any]]) -> "Split":
        """Inverse of ``to_list``."""
        return cls(before={name: (canary, stable) for name, canary, stable in raw})


NOTHING_SPLIT: Final = Split(before={})


def has_moved(split: Split, now: Labels) -> bool:
    """Whether in some cluster the labels since the checkpoint are split otherwise than those before it."""
    return any(_surprise(old, now[name]) > _SURPRISE for name, old in split.before.items())


def watched(split: Split, now: Labels) -> Split:
    """The checkpoint where it was, or here once enough has come since."""
    before = sum(sum(labels) for labels in split.before.values())
    if sum(sum(labels) for labels in now.values()) - before < max(1, before // 5):
        return split
    return Split(before={name: tuple(labels) for name, labels in now.items()})


def _surprise(old: Sequence[int], now: Sequence[int]) -> float:
    """Pearson's chi-square of (before, since) × (canary, stable); 0 where too little is expected in a cell."""
    new = [b - a for a, b in zip(old, now, strict=True)]
    total, before, since = sum(now), sum(old), sum(new)
    if total == 0:
        return 0.0
    found = 0.0
    for arm in (0, 1):
        for seen, whole in ((old[arm], before), (new[arm], since)):
            expected = now[arm] * whole / total
            if expected < _LEAST:
                return 0.0
            found += (seen - expected) ** 2 / expected
    return found
