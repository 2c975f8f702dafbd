"""Vectors of counts: independent strata, each with the same few categories of outcomes.

A proportion's stratum has two categories (hits, misses), a linear functional's as many as it has values. 0/0 stays 0
trials: what is absent is absent, never a rate of 0 or 1. Knows no metric, cluster, arm or test.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from pilotage.gate.packing import pack, unpack

_MANY: Final = 32  # cells, above which a list of numbers is longer than it is readable


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """``cells``: ``width`` categories of the first stratum, then of the second, and so on."""

    width: int
    cells: tuple[int, ...]

    @classmethod
    def zero(cls, strata: int, width: int = 2) -> "Counts":
        """Nothing counted yet."""
        return cls(width=width, cells=(0,) * (strata * width))

    @classmethod
    def of(cls, s: Sequence[int], n: Sequence[int]) -> "Counts":
        """Successes among trials, stratum by stratum."""
        return cls(
            width=2, cells=tuple(chain.from_iterable((hits, all_ - hits) for hits, all_ in zip(s, n, strict=True)))
        )

    @property
    def strata(self) -> int:
        """How many strata there are."""
        return len(self.cells) // self.width

    @property
    def s(self) -> tuple[int, ...]:
        """The first category of every stratum: successes, of proportions."""
        return self.cells[:: self.width]

    @property
    def n(self) -> tuple[int, ...]:
        """Trials of every stratum."""
        if self.width == 2:
            return tuple(map(int.__add__, self.cells[::2], self.cells[1::2]))
        return tuple(sum(self.cells[first : first + self.width]) for first in range(0, len(self.cells), self.width))

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(width=self.width, cells=tuple(map(int.__add__, self.cells, other.cells)))

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(width=self.width, cells=tuple(map(int.__sub__, self.cells, other.cells)))

    def __bool__(self) -> bool:
        return any(self.cells)

    def at(self, strata: Iterable[int]) -> "Counts":
        """The counts of some strata."""
        width = self.width
        return Counts(
            width=width, cells=tuple(chain.from_iterable(self.cells[i * width : (i + 1) * width] for i in strata))
        )

    def to_json(self) -> list[Any]:
        """``[width, strata]`` and the cells: one by one without the zeros at the end, or packed if there are many."""
        if len(self.cells) > _MANY:
            return [self.width, self.strata, pack(self.cells)]
        end = len(self.cells)
        while end and not self.cells[end - 1]:
            end -= 1
        return [self.width, self.strata, *self.cells[:end]]

    @classmethod
    def from_json(cls, raw: Sequence[Any]) -> "Counts":
        """Inverse of ``to_json``."""
        width, strata, *cells = raw
        if cells and isinstance(cells[0], str):
            cells = [int(n) for n in unpack(cells[0])]
        return cls(width=width, cells=(*cells, *(0,) * (width * strata - len(cells))))
