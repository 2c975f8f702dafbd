"""The mean of a bounded value per label against a bound: expected cost, F-beta and F1 floors, pairs.

A betting score: every label multiplies the evidence by ``1 + stake · x``, x its value's distance to the bound. For one
cluster that is a pure function of cumulative counts. Over several clusters the null is about the mix,
``sum_k W_k E_k[x] <= 0``: cluster k stakes in proportion to ``W_k / n_k`` of the block. Why that is valid: given the
n's, the expectation of the product is ``prod_k (1 + c_k E_k[x])^n_k`` with c_k = c W_k / n_k, by AM–GM at most
``(1 + c sum_k W_k E_k[x] / n)^n <= 1``; rates that differ within a cluster's labels are covered the same way.
Source: statistics.md §2.6, §2.7; Waudby-Smith, Ramdas 2024 (JRSSB).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p
from typing import Final

from pilotage.gate.counts import Counts
from pilotage.gate.families import Bursts, Part
from pilotage.gate.grids import Grid
from pilotage.gate.tallies import Both, Groups

_STAKES: Final = 9
_BOLDEST: Final = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class Functional:
    """``values``: per group of the tally, how far above the boundary one such label lies: the gate is violated if their
    mean over the mix is at or below 0. Some are negative, some positive.
    """

    tally: Groups | Both
    values: tuple[float, ...]

    @property
    def needs_past(self) -> bool:
        """It bets from the first label on."""
        return False

    def part(self, weights: Sequence[tuple[int, float]]) -> Part:
        """One stratum per cluster."""
        return Part(strata=tuple(k for k, _ in weights), coefficients=tuple(weight for _, weight in weights))

    def stakes(self, scale: float, side: int) -> Grid:
        """Shares of what can be lost on one label: from nearly all of it, halved eight times, staked on evenly."""
        worst = max(-side * value for value in self.values)
        return tuple((_BOLDEST / 2**k / worst, 1 / _STAKES) for k in range(_STAKES))

    def gains(
        self, part: Part, block: Counts, base: Sequence[float] | None, effects: Grid, side: int, bursts: Bursts
    ) -> list[float]:
        """Betting scores; the cluster with most weight per label stakes all, the others less."""
        pulls = [weight / n for weight, n in zip(part.coefficients, block.n, strict=True)]
        most = max(pulls)
        found = [0.0] * len(effects)
        width = block.width
        for k, pull in enumerate(pulls):
            for value, n in zip(self.values, block.cells[k * width : (k + 1) * width], strict=True):
                if n and value:
                    unit = side * value * pull / most
                    found = [total + n * log1p(stake * unit) for total, (stake, _) in zip(found, effects, strict=True)]
        return found
