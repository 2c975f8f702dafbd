"""F1 of one class against stable's: the contrast of two Jaccard indices along a curve.

F1 = 2J/(1+J) with J = TP/(TP+FP+FN), a proportion among the labels that are of the class or predicted as it. So
"F1 lower than stable's by at least m" is ``J1 <= h(J0)`` with a concave h: the null of the pass side is convex, and a
likelihood ratio against its nearest point has expectation at most 1 on all of it. The null of the fail side,
``J1 >= h(J0)``, is not convex; the half plane above the *chord* of h contains it and is: the linear contrast again.
The chord lies below h by about m/8 at most, which costs the fail side that much sharpness and no validity.
Source: statistics.md §2.4, design.md §7.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pilotage.gate.contrast import log_ratio, projection
from pilotage.gate.counts import Counts
from pilotage.gate.families import Bursts, Part, inside
from pilotage.gate.grids import Grid, fail_grid, pass_grid
from pilotage.gate.tallies import Rows

_HALVINGS: Final = 60
_SAME: Final = 1e-13


def f1_of(jaccard: float) -> float:
    """F1 of a Jaccard index."""
    return 2 * jaccard / (1 + jaccard)


def jaccard_of(f1: float) -> float:
    """Jaccard index of an F1."""
    return f1 / (2 - f1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Jaccard:
    """The canary's F1 against stable's minus ``margin``, in one cluster; ``tally`` counts ``Row.EITHER`` of a class."""

    tally: Rows
    margin: float

    @property
    def needs_past(self) -> bool:
        """It needs to know where stable stands."""
        return True

    def part(self, weights: Sequence[tuple[int, float]]) -> Part:
        """Canary and stable of the one cluster."""
        ((k, _),) = weights
        return Part(strata=(2 * k, 2 * k + 1), coefficients=(1.0, -self._slope), teachers=(1,), seeds=(k,))

    def stakes(self, scale: float, side: int) -> Grid:
        """Differences of F1."""
        return pass_grid(scale) if side > 0 else fail_grid(scale)

    def gains(
        self, part: Part, block: Counts, base: Sequence[float] | None, effects: Grid, side: int, bursts: Bursts
    ) -> list[float]:
        """Likelihood of each alternative against the nearest point of the curve, or of its chord."""
        assert base is not None
        s, n, stable = block.s, block.n, base[0]
        found = []
        for effect, _ in effects:
            canary = inside(jaccard_of(min(max(f1_of(stable) - self.margin + side * effect, 0.0), 1.0)))
            rates = (canary, stable)
            line = self._curve(stable) if side > 0 else self._bound + self._slope * stable
            beyond = (canary - line) * side > 0
            found.append(log_ratio(s, n, rates, self.nearest(part, n, rates, side)) if beyond else 0.0)
        return found

    def nearest(self, part: Part, n: Sequence[float], rates: Sequence[float], side: int) -> Sequence[float]:
        """The point of the curve (pass side) or its chord that is hardest to tell from these rates."""
        if side < 0:
            return projection(n, rates, part.coefficients, self._bound)[0]
        return self._on_curve(n, rates[0], rates[1])

    @property
    def _least(self) -> float:
        """Stable's index at which the curve starts: below, no canary is too bad."""
        return jaccard_of(self.margin)

    @property
    def _slope(self) -> float:
        """Of the chord from (least, 0) to (1, h(1))."""
        return jaccard_of(1 - self.margin) / (1 - self._least)

    @property
    def _bound(self) -> float:
        return -self._slope * self._least

    def _curve(self, stable: float) -> float:
        return jaccard_of(max(f1_of(stable) - self.margin, 0.0))

    def _on_curve(self, n: Sequence[float], canary: float, stable: float) -> list[float]:
        """The point of the curve nearest to (canary, stable), which lies above it: the divergence falls, then rises
        along the curve between the points straight below and straight beside.
        """
        low = max(stable, self._least)
        high = min(jaccard_of(min(f1_of(canary) + self.margin, 1.0)), 1.0)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if self._falls(n, canary, stable, middle):
                low = middle
            else:
                high = middle
            if high - low < _SAME:
                break
        q0 = inside_open((low + high) / 2)
        return [inside_open(self._curve(q0)), q0]

    def _falls(self, n: Sequence[float], canary: float, stable: float, q0: float) -> bool:
        """Whether the divergence still falls as the curve is followed upwards at stable's index ``q0``."""
        q1 = self._curve(q0)
        if q1 <= 0 or q0 >= 1:
            return q1 <= 0
        f1 = f1_of(q0) - self.margin
        steepness = 4 / ((2 - f1) ** 2 * (1 + q0) ** 2)  # h' = ginv'(F) g'(q0)
        return n[0] * (canary - q1) / (q1 * (1 - q1)) * steepness > n[1] * (q0 - stable) / (q0 * (1 - q0))


def inside_open(rate: float) -> float:
    """Kept off 0 and 1 by less than any count can notice."""
    return min(max(rate, 1e-300), 1 - 2**-53)
