"""How surprising it is that two groups of rows differ: an any-time-valid score for "drawn alike, block by block".

A block holds two groups. If what is counted has nothing to do with the grouping, then, given the block's totals, the
hits of one group are hypergeometric with the block's own rate; rates may move from block to block as they like. A
hypergeometric sum is never more spread than the binomial one of the same mean (Hoeffding 1963, theorem 4), and the
binomial's log moment generating function is concave in the rate. So with N trials, O hits and E = Σ n·rate expected,

    exp(θ O − N ln(1 + (E/N)(exp(θ) − 1)))

has expectation at most 1 after any number of blocks and for every θ; the score is its mean over a fixed grid of
log odds ratios, both ways. Three numbers are all that is remembered. Knows neither arms nor labels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, expm1, inf, log, log1p
from typing import Final

LEVEL: Final = 0.001
"""A condition that holds is called broken at most this often, over all looks."""
SURE: Final = log(1 / LEVEL)

_TILTS: Final = tuple(sign * size for size in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2) for sign in (1, -1))
_DECIMALS: Final = 4
_UNIT: Final = 10**_DECIMALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """``trials`` and ``hits`` of one group; ``expected``: hits if it were like the whole, block by block."""

    trials: int = 0
    hits: int = 0
    expected: float = 0.0

    def __add__(self, other: "Draws") -> "Draws":
        return Draws(
            trials=self.trials + other.trials,
            hits=self.hits + other.hits,
            expected=round(self.expected + other.expected, _DECIMALS),
        )

    @property
    def rate(self) -> float:
        """Hits per trial, 0 without trials."""
        return self.hits / self.trials if self.trials else 0.0

    def log_e(self, clump: float = 1.0) -> float:
        """Log e-value against "like the whole". ``clump``: rows that come in one piece count as one."""
        if not 0 < self.expected < self.trials:
            return 0.0
        p, hits, trials = self.expected / self.trials, self.hits / clump, self.trials / clump
        return log_mean([tilt * hits - trials * log1p(p * expm1(tilt)) for tilt in _TILTS])

    def to_list(self) -> list[int]:
        """Whole numbers, to be packed: trials, hits, expected in ten-thousandths."""
        return [self.trials, self.hits, round(self.expected * _UNIT)]

    @classmethod
    def from_list(cls, raw: Sequence[float]) -> "Draws":
        """What ``to_list`` wrote."""
        trials, hits, expected = map(int, raw)
        return cls(trials=trials, hits=hits, expected=expected / _UNIT)


NONE: Final = Draws()
"""Nothing drawn yet."""


def within(trials: int, hits: int, all_trials: int, all_hits: int) -> Draws:
    """One block: a group against the whole that it is part of. Nothing if the group is empty or is the whole."""
    if not 0 < trials < all_trials:
        return NONE
    return Draws(trials=trials, hits=hits, expected=trials * all_hits / all_trials)


def log_mean(values: Iterable[float]) -> float:
    """Log of the mean of e-values given as logs: itself an e-value, however they depend on each other."""
    found = list(values)
    top = max(found, default=-inf)
    if top == -inf:
        return 0.0
    return top + log(sum(exp(value - top) for value in found) / len(found))
