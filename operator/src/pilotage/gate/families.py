"""The exact families: what one block says about a boundary, per alternative.

A family looks at some strata of a gate's vector and bets on effects of given sizes with a likelihood ratio (or a
betting score) whose expectation is at most 1 wherever its null holds. ``exact`` runs any of them through time.
Here: the linear contrast of proportions, which is most of them. Source: statistics.md §2.1, §2.3, §2.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pilotage.gate.contrast import log_ratio, projection
from pilotage.gate.counts import Counts
from pilotage.gate.grids import Grid, fail_grid, pass_grid
from pilotage.gate.tallies import Rows, Tally

_EDGE: Final = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Where one scope finds its strata: in the gate's vector, with its coefficients.

    ``teachers``: the strata (places in ``strata``) whose past sets the base rates: stable's for a margin, the canary's
    own for a floor, none for a functional. ``seeds``: the same strata in stable's history.
    """

    strata: tuple[int, ...]
    coefficients: tuple[float, ...]
    teachers: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """How much outcomes come in bursts: variance over the binomial one, of stable's blocks of ``size`` trials each.

    Counts are divided by it before they are weighed (statistics.md §6.3); 1 for independent outcomes.
    """

    factor: float = 1.0
    size: float = 1.0


class Family(Protocol):
    """What a block says. ``side``: +1 for the pass side, −1 for the fail side."""

    @property
    def tally(self) -> Tally:
        """The vector this family looks at."""

    @property
    def needs_past(self) -> bool:
        """Without base rates from the past it cannot bet, only learn."""

    def part(self, weights: Sequence[tuple[int, float]]) -> Part:
        """The strata of some clusters (index, weight)."""

    def stakes(self, scale: float, side: int) -> Grid:
        """(effect, share of the stake) of every alternative; fixed when the test starts."""

    def gains(
        self, part: Part, block: Counts, base: Sequence[float] | None, effects: Grid, side: int, bursts: Bursts
    ) -> list[float]:
        """Log of what the block multiplies each alternative's evidence by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Rows of proportions, averaged over rows and mixed over clusters: the canary's against ``bound``, or its
    difference to stable's (``against_stable``) against ``bound`` = −margin. Exact: statistics.md §2.5.
    """

    tally: Rows
    bound: float
    against_stable: bool

    @property
    def needs_past(self) -> bool:
        """A floor may start from its own bound; a margin needs to know where stable stands."""
        return self.against_stable

    def part(self, weights: Sequence[tuple[int, float]]) -> Part:
        """The strata of some clusters."""
        size = len(self.tally.about)
        strata: list[int] = []
        coefficients: list[float] = []
        for k, weight in weights:
            first = 2 * size * k
            strata += range(first, first + size)
            coefficients += [weight / size] * size
            if self.against_stable:
                strata += range(first + size, first + 2 * size)
                coefficients += [-weight / size] * size
        return Part(
            strata=tuple(strata),
            coefficients=tuple(coefficients),
            teachers=tuple(p for p, a in enumerate(coefficients) if (a < 0) == self.against_stable),
            seeds=tuple(k * size + row for k, _ in weights for row in range(size)),
        )

    def stakes(self, scale: float, side: int) -> Grid:
        """Multiples of the scale."""
        return pass_grid(scale) if side > 0 else fail_grid(scale)

    def gains(
        self, part: Part, block: Counts, base: Sequence[float] | None, effects: Grid, side: int, bursts: Bursts
    ) -> list[float]:
        """Likelihood of each alternative against the nearest point of the null."""
        if base is None:
            base = [self.bound] * len(part.strata)
        s, n = self._deflated(part, block, bursts)
        found = []
        for effect, _ in effects:
            rates = self._alternative(part, base, side * effect)
            distance = sum(a * t for a, t in zip(part.coefficients, rates, strict=True)) - self.bound
            if distance * side <= 0:
                found.append(0.0)
                continue
            found.append(log_ratio(s, n, rates, self.nearest(part, n, rates, side)))
        return found

    def nearest(self, part: Part, n: Sequence[float], rates: Sequence[float], side: int) -> Sequence[float]:
        """The point on the boundary that is hardest to tell from these rates by these numbers of trials."""
        return projection(n, rates, part.coefficients, self.bound)[0]

    def _alternative(self, part: Part, base: Sequence[float], effect: float) -> list[float]:
        """Rates of all strata if the contrast lay ``effect`` away from its bound, base rates as they were."""
        if not self.against_stable:
            shift = self.bound + effect - sum(a * rate for a, rate in zip(part.coefficients, base, strict=True))
            return [inside(rate + shift) for rate in base]
        rates: list[float] = []
        size = len(self.tally.about)
        for first in range(0, len(base), size):
            stable = base[first : first + size]
            rates += [inside(rate + self.bound + effect) for rate in stable]
            rates += stable
        return rates

    def _deflated(self, part: Part, block: Counts, bursts: Bursts) -> tuple[Sequence[float], Sequence[float]]:
        s, n = block.s, block.n
        if bursts.factor <= 1:
            return s, n
        size, over = len(self.tally.about), bursts.factor - 1
        factors: list[float] = []
        if self.against_stable:
            for first in range(0, len(n), 2 * size):
                canary, stable = n[first : first + size], n[first + size : first + 2 * size]
                factors += [1 + over * n1 / n0 for n1, n0 in zip(canary, stable, strict=True)]
                factors += [bursts.factor] * size
        else:
            factors = [1 + over * n1 / bursts.size for n1 in n]
        return [x / f for x, f in zip(s, factors, strict=True)], [x / f for x, f in zip(n, factors, strict=True)]


def inside(rate: float) -> float:
    """A rate that no single outcome can rule out."""
    return min(max(rate, _EDGE), 1 - _EDGE)
