"""A simple law of scores, so that AUC and log loss can be simulated: binormal log-odds in buckets.

Log-odds of members of a class are normal around +d²/2, of others around −d²/2, both with standard deviation d: then
the score is calibrated for even odds and ROC-AUC = Φ(d/√2). Chances per bucket, not draws. Knows no gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import erf, exp, log, log1p, sqrt
from typing import Final

BUCKETS: Final = 50
CONFIDENCE_BUCKETS: Final = 20
CLIP: Final = 1e-3
"""Probabilities are clipped here before the logarithm (design §11)."""
_SCORE_EDGES: Final = tuple(-7.2 + 0.3 * b for b in range(BUCKETS - 1))
_CONFIDENCE_EDGES: Final = tuple(-1.5 + 0.5 * b for b in range(CONFIDENCE_BUCKETS - 1))


@lru_cache(maxsize=512)
def bucket_chances(d: float, member: bool) -> tuple[float, ...]:
    """Chance of each of the 50 log-odds buckets, ascending: the scale that servers count on."""
    return _normal(d * d / 2 if member else -d * d / 2, d, _SCORE_EDGES)


@lru_cache(maxsize=512)
def confidence_chances(right: float) -> tuple[float, ...]:
    """Chance of each of the 20 log-odds buckets of the top probability, for a model that is right so often."""
    right = min(max(right, 0.02), 0.995)
    return _normal(log(right / (1 - right)), 1.0, _CONFIDENCE_EDGES)


@lru_cache(maxsize=1)
def losses() -> tuple[float, ...]:
    """Loss in nats at the middle of each bucket of the true class's log-odds."""
    middles = (_SCORE_EDGES[0] - 0.15 + 0.3 * b for b in range(BUCKETS))
    return tuple(min(log1p(exp(-odds)), -log(CLIP)) for odds in middles)


def roc_auc(members: Sequence[float], others: Sequence[float]) -> float:
    """Chance that a member scores above another, ties half; from chances (or counts) per bucket."""
    below, found = 0.0, 0.0
    for one, zero in zip(members, others, strict=True):
        found += one * (below + zero / 2)
        below += zero
    return found / sum(members) / below


def average_precision(members: Sequence[float], others: Sequence[float]) -> float:
    """Area under precision over recall as a sum over buckets: weights in one scale, so prevalence counts."""
    hits, all_, found = 0.0, 0.0, 0.0
    for one, zero in zip(reversed(members), reversed(others), strict=True):
        hits, all_ = hits + one, all_ + one + zero
        found += one * hits / all_ if all_ > 0 else 0.0
    return found / sum(members)


def _normal(mean: float, deviation: float, edges: Sequence[float]) -> tuple[float, ...]:
    below = [0.0, *(_phi((edge - mean) / max(deviation, 1e-6)) for edge in edges), 1.0]
    return tuple(b - a for a, b in pairwise(below))


def _phi(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2
