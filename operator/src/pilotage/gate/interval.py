"""The interval to show: an always-valid mixture over the profile likelihood of a linear contrast.

For display only; verdicts come from the e-processes. Asymptotic: simulated any-time miss rates 2.1–3.7 % below and
1.6–2.1 % above. Undefined (None) while a stratum has no trial. Source: statistics.md §2.8.

The profile likelihood is traced once, through its multiplier: every multiplier gives a point (contrast, drop in log
likelihood) whose slope is the multiplier itself, so cubic pieces between a few points are exact to plotting accuracy.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, inf, log, sqrt
from typing import Final

from pilotage.gate.contrast import log_ratio, tilt
from pilotage.gate.counts import Counts
from pilotage.gate.grids import Grid

_POINTS: Final = 14
_DEPTH: Final = 45.0
_HALVINGS: Final = 20
_SAME: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """``lower <= estimate <= upper``, in the contrast's units."""

    estimate: float
    lower: float
    upper: float

    def to_dict(self) -> dict[str, float]:
        """As it appears in statuses and reports."""
        return {"estimate": self.estimate, "lower": self.lower, "upper": self.upper}

    def consistent_with(self, bound: float, *, passed: bool, below: bool = False) -> "Interval":
        """The same interval, never contradicting the verdict: its end towards ``bound`` is beyond it only after a pass.

        ``below``: the bound is a ceiling.
        """
        if below:
            upper = min(self.upper, bound) if passed else max(self.upper, bound)
            return Interval(estimate=self.estimate, lower=self.lower, upper=max(upper, self.estimate))
        lower = max(self.lower, bound) if passed else min(self.lower, bound)
        return Interval(estimate=self.estimate, lower=min(lower, self.estimate), upper=self.upper)

    def mapped(self, to: Callable[[float], float]) -> "Interval":
        """In other units; ``to`` is monotone."""
        ends = sorted((to(self.lower), to(self.upper)))
        return Interval(estimate=to(self.estimate), lower=ends[0], upper=ends[1])

    def around(self, estimate: float) -> "Interval":
        """The same interval about the estimate that is shown, which it always holds.

        Over several clusters a class's metric is shown as of the mixed traffic, and tested as the mean of the
        clusters' own: they differ where the class is more frequent in one of them.
        """
        lower, upper = min(self.lower, estimate), max(self.upper, estimate)
        return Interval(estimate=estimate, lower=lower, upper=upper)


@dataclass(frozen=True, slots=True)
class _Point:
    value: float
    drop: float
    slope: float


def interval(
    counts: Counts,
    coefficients: Sequence[float],
    *,
    below: Grid,
    above: Grid,
    alpha: float,
    beta: float,
    span: tuple[float, float],
) -> Interval | None:
    """Estimate and always-valid bounds of ``sum a_i p_i``, clipped to ``span``; None if a stratum was never tried."""
    if not counts.n or min(counts.n) < 1:
        return None
    rates = [s / n for s, n in zip(counts.s, counts.n, strict=True)]
    estimate = sum(a * rate for a, rate in zip(coefficients, rates, strict=True))
    profile = _Profile(counts, rates, coefficients, estimate)
    low, high = span
    return Interval(
        estimate=estimate,
        lower=_end(profile, estimate, low, [(effect, share) for effect, share in below], log(1 / alpha)),
        upper=_end(profile, estimate, high, [(-effect, share) for effect, share in above], log(1 / beta)),
    )


class _Profile:
    """Drop of the profile log likelihood by the contrast's value; 0 at the estimate, negative elsewhere."""

    def __init__(self, counts: Counts, rates: Sequence[float], coefficients: Sequence[float], estimate: float) -> None:
        smooth = [(s + 0.5) / (n + 1) for s, n in zip(counts.s, counts.n, strict=True)]
        spread = sum(a * a * p * (1 - p) / n for a, p, n in zip(coefficients, smooth, counts.n, strict=True))
        unit = sqrt(2 * _DEPTH / spread)
        left = _traced(counts, rates, coefficients, _Point(estimate, 0.0, 0.0), unit)
        right = _traced(counts, rates, coefficients, _Point(estimate, 0.0, 0.0), -unit)
        self._pieces = [*reversed([*pairwise(left)]), *((far, near) for far, near in pairwise(right))]
        self._pieces = [(a, b) if a.value < b.value else (b, a) for a, b in self._pieces]
        self._starts = [piece[0].value for piece in self._pieces]

    def __call__(self, value: float) -> float:
        index = bisect_right(self._starts, value) - 1
        if index < 0 or value > self._pieces[index][1].value:
            return -inf
        return _cubic(*self._pieces[index], value)


def _traced(
    counts: Counts, rates: Sequence[float], coefficients: Sequence[float], top: _Point, unit: float
) -> list[_Point]:
    """Points of the profile from its top outwards, until it has dropped far enough to be negligible."""
    points = [top]
    for step in range(1, 8 * _POINTS):
        # Even steps near the estimate, longer ones far out, where the profile is nearly straight.
        multiplier = unit * step / _POINTS * max(1.0, step / _POINTS) ** 2
        q, value, _ = tilt(counts.n, rates, coefficients, multiplier)
        last = points[-1]
        if abs(value - last.value) > _SAME:
            points.append(_Point(value, log_ratio(counts.s, counts.n, q, rates), multiplier))
        else:  # at the edge of the unit cube the slope jumps while the value stays
            points[-1] = _Point(last.value, last.drop, multiplier)
        if points[-1].drop < -_DEPTH:
            break
    return points


def _cubic(near: _Point, far: _Point, value: float) -> float:
    width = far.value - near.value
    u = (value - near.value) / width
    v = 1 - u
    ends = v * v * (1 + 2 * u) * near.drop + u * u * (3 - 2 * u) * far.drop
    return min(ends + u * v * width * (v * near.slope - u * far.slope), 0.0)


def _end(profile: _Profile, estimate: float, limit: float, grid: Sequence[tuple[float, float]], needed: float) -> float:
    """The value nearest the estimate that the mixture can no longer exclude, seen from ``limit``."""
    out, inside = limit, estimate
    if not _excluded(profile, out, grid, needed):
        return limit
    for _ in range(_HALVINGS):
        middle = (out + inside) / 2
        if _excluded(profile, middle, grid, needed):
            out = middle
        else:
            inside = middle
    return out


def _excluded(profile: _Profile, value: float, grid: Sequence[tuple[float, float]], needed: float) -> bool:
    here = profile(value)
    if here == -inf:
        return True
    mixture = sum(share * exp(min(profile(value + effect) - here, 700.0)) for effect, share in grid)
    return mixture > 0 and log(mixture) >= needed
