"""One block against a linear contrast of proportions: the exact engine under every test.

Strata are independent binomials (arm × cluster, or arm × cluster × class row); the null is a half space
``sum a_i p_i <= c`` (pass side) or ``>= c`` (fail side). A likelihood ratio of any fixed alternative against the
*closest* null point has expectation at most 1 on the whole null. Two proportions with a margin, one proportion
against a bound, mixes over clusters and macro averages are all this one engine with other coefficients.
Knows no gate, no cluster, no time. Source: statistics.md §2.1, §2.3, §2.5 (Turner, Ly, Grünwald 2024, JSPI 230).
"""

from collections.abc import Sequence
from math import log, sqrt
from typing import Final

_TOLERANCE: Final = 1e-12
_TINY: Final = 1e-300
_ALL_BUT_ONE: Final = 1 - 2**-53  # a rate of 1 would make any failure infinitely surprising
_ROUNDS: Final = 100


def projection(n: Sequence[float], t: Sequence[float], a: Sequence[float], bound: float) -> tuple[list[float], float]:
    """Nearest point to ``t`` with ``sum a_i q_i = bound``, in KL divergence weighted by ``n``.

    Returns (q, multiplier). Every ``n_i >= 1``, ``t_i`` in (0, 1), ``a_i != 0``, and the bound is reachable inside the
    unit cube. Newton on the multiplier, kept inside a bracket; the sum falls as the multiplier grows.
    """
    if len(n) == 1:
        q = bound / a[0]
        return [q], n[0] * (t[0] - q) / (a[0] * q * (1 - q))
    gap = sum(x * y for x, y in zip(a, t, strict=True)) - bound
    slope = sum(x * x * y * (1 - y) / m for x, y, m in zip(a, t, n, strict=True))
    multiplier = gap / slope
    low, high = (0.0, float("inf")) if gap > 0 else (float("-inf"), 0.0)
    point: list[float] = []
    for _ in range(_ROUNDS):
        point, value, slope = tilt(n, t, a, multiplier)
        gap = value - bound
        if abs(gap) < _TOLERANCE:
            break
        if gap > 0:
            low = multiplier
        else:
            high = multiplier
        multiplier = _next(multiplier, gap / slope if slope > 0 else float("inf"), low, high)
    return point, multiplier


def tilt(
    n: Sequence[float], t: Sequence[float], a: Sequence[float], multiplier: float
) -> tuple[list[float], float, float]:
    """The point where ``n_i (t_i - q_i) = multiplier a_i q_i (1 - q_i)``; returns (q, sum a q, minus its slope)."""
    point: list[float] = []
    value = slope = 0.0
    for m, x, y in zip(n, a, t, strict=True):
        pull = multiplier * x
        both = m + pull
        square = both * both - 4 * pull * m * y
        root = sqrt(square) if square > 0 else 0.0
        # Two forms of one root: each is free of cancellation where the other is not.
        q = 2 * m * y / (both + root) if both + root > 0 else (both - root) / (2 * pull)
        if q < _TINY:
            q = _TINY
        elif q > _ALL_BUT_ONE:
            q = _ALL_BUT_ONE
        point.append(q)
        value += x * q
        if root:
            slope += x * x * q * (1 - q) / root
    return point, value, slope


def log_ratio(s: Sequence[float], n: Sequence[float], t: Sequence[float], q: Sequence[float]) -> float:
    """Log likelihood ratio of rates ``t`` against ``q`` for ``s`` successes among ``n`` trials per stratum."""
    total = 0.0
    for hits, trials, x, y in zip(s, n, t, q, strict=True):
        if hits:
            total += hits * log(x / y)
        if trials > hits:
            total += (trials - hits) * log((1 - x) / (1 - y))
    return total


def divergence(t: float, q: float) -> float:
    """Nats that one trial at rate ``t`` says against rate ``q``; both in (0, 1)."""
    return t * log(t / q) + (1 - t) * log((1 - t) / (1 - q))


def _next(multiplier: float, step: float, low: float, high: float) -> float:
    proposed = multiplier + step
    if low < proposed < high:
        return proposed
    if high == float("inf"):
        return 2 * max(multiplier, 1.0)
    if low == float("-inf"):
        return 2 * min(multiplier, -1.0)
    return (low + high) / 2
