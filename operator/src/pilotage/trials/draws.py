"""Exact random counts from a seeded `random.Random`: binomial, Poisson, multinomial. Knows no model and no traffic.

`random.binomialvariate` exists from Python 3.12 only, and a seed must give the same labels on every version.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import exp, log
from random import Random

_FEW = 16
_SMALL_MEAN = 12.0


def binomial(rng: Random, n: int, p: float) -> int:
    """Successes of `n` trials with chance `p`. Halves the trials by their median's law (Devroye 1986, X.4.3)."""
    found = 0
    while n > _FEW and 0 < p < 1:
        middle = (n + 1) // 2
        at = rng.betavariate(middle, n + 1 - middle)  # the middle one of n uniform draws
        if at <= p:
            found, n, p = found + middle, n - middle, (p - at) / (1 - at)
        else:
            n, p = middle - 1, p / at
    if p >= 1:
        return found + n
    if p <= 0:
        return found
    return found + sum(rng.random() < p for _ in range(n))


def poisson(rng: Random, mean: float) -> int:
    """Events of a Poisson law. Large means are cut by a gamma waiting time (Ahrens and Dieter 1974)."""
    found = 0
    while mean > _SMALL_MEAN:
        events = int(mean * 7 / 8)
        waited = rng.gammavariate(events, 1.0)
        if waited > mean:
            return found + binomial(rng, events - 1, mean / waited)
        found, mean = found + events, mean - waited
    limit, product = exp(-mean), rng.random()
    while product > limit:
        found, product = found + 1, product * rng.random()
    return found


def multinomial(rng: Random, n: int, weights: Sequence[float]) -> list[int]:
    """How many of `n` draws fall into each cell; weights in any positive scale."""
    found = [0] * len(weights)
    if n <= 0:
        return found
    edges = list(accumulate(weights))
    if n <= len(weights) * log(n + 2):
        total, last = edges[-1], len(weights) - 1
        for _ in range(n):
            found[min(bisect_right(edges, rng.random() * total), last)] += 1
        return found
    left, mass, last = n, edges[-1], 0
    for cell, weight in enumerate(weights):
        if weight > 0 and left > 0:
            found[cell] = binomial(rng, left, min(1.0, weight / mass))
            left, mass, last = left - found[cell], mass - weight, cell
    found[last] += left  # what rounding left over
    return found
