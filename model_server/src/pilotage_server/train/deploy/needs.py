"""How many labels a gate will need to pass, before anything is rolled out.

Wald's limit at the expected rates times a simulated price: canary labels = 1.2 · ln(1/alpha) / D, D = the least
Σ nᵢ KL(pᵢ‖qᵢ) over rates q on the gate's boundary Σ aᵢ qᵢ = bound, n labels per canary label. For means (cost, log
loss) the same with the variance in place of KL. A plan, not a promise. Source: statistics.md §8 of the gate's
specification; the gate's own planning is the oracle in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PRICE = 1.2
"""Simulated mean labels over Wald's limit, for a pass."""
_EDGE = 1e-9
_STEPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Labels of one kind: `share` per canary label, expected `rate` of success, `weight` of the rate in the metric."""

    share: float
    rate: float
    weight: float


def labels_to_pass(strata: Sequence[Stratum], bound: float, *, alpha: float) -> float:
    """Canary labels of any class until a gate on Σ weight·rate > bound passes; infinite at or below the bound."""
    value = sum(stratum.weight * stratum.rate for stratum in strata)
    if value <= bound:
        return math.inf
    information = _information(strata, bound)
    return PRICE * math.log(1 / alpha) / information if information > 0 else math.inf


def labels_for_mean(distance: float, variances: tuple[float, float], ratio: float, *, alpha: float) -> float:
    """Canary labels until a gate on a mean passes.

    distance: from the expected mean to the boundary, above 0; variances: of one label on canary and stable; ratio:
    stable labels per canary label (0 for a bound that needs no stable).
    """
    if distance <= 0:
        return math.inf
    spread = variances[0] + (variances[1] / ratio if ratio else 0.0)
    return PRICE * 2 * math.log(1 / alpha) * spread / distance**2


def _information(strata: Sequence[Stratum], bound: float) -> float:
    """Least divergence, nats per canary label, from the expected rates to rates on the boundary."""
    low, high = -1.0, 1.0
    while _value(strata, low) > bound and low > -1e12:
        low *= 4
    while _value(strata, high) < bound and high < 1e12:
        high *= 4
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _value(strata, middle) > bound:
            high = middle
        else:
            low = middle
    nearest = [_tilted(stratum, (low + high) / 2) for stratum in strata]
    return sum(s.share * _divergence(s.rate, q) for s, q in zip(strata, nearest, strict=True))


def _value(strata: Sequence[Stratum], multiplier: float) -> float:
    return sum(stratum.weight * _tilted(stratum, multiplier) for stratum in strata)


def _tilted(stratum: Stratum, multiplier: float) -> float:
    """The rate q with share · (q − rate) = multiplier · weight · q (1 − q): where the Lagrangian is level."""
    n, p, c = stratum.share, min(max(stratum.rate, _EDGE), 1 - _EDGE), multiplier * stratum.weight
    if abs(c) < 1e-12 * n:
        return p
    root = math.sqrt((n - c) ** 2 + 4 * c * n * p)
    # Of the two forms the one that does not subtract two nearly equal numbers.
    q = 2 * n * p / (n - c + root) if n > c else (c - n + root) / (2 * c)
    return min(max(q, _EDGE), 1 - _EDGE)


def _divergence(p: float, q: float) -> float:
    """KL(p‖q) of two coins, nats."""
    first = p * math.log(p / q) if p > 0 else 0.0
    second = (1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0
    return first + second
