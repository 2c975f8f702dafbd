"""The projection and the log ratio against independent references."""

from math import log

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import binom

from pilotage.gate.contrast import log_ratio, projection, tilt


def divergence(n: np.ndarray, t: np.ndarray, q: np.ndarray) -> float:
    return float(np.sum(n * (t * np.log(t / q) + (1 - t) * np.log((1 - t) / (1 - q)))))


def two_proportions(n1: int, n0: int, t1: float, t0: float, margin: float) -> tuple[float, float]:
    """statistics.md §2.1, as written there: bisection over q0 with q1 = q0 − margin."""
    low, high = max(0.0, margin), min(1.0, 1 + margin)
    for _ in range(200):
        q0 = (low + high) / 2
        q1 = q0 - margin
        slope = n1 * (t1 - q1) / (q1 * (1 - q1)) + n0 * (t0 - q0) / (q0 * (1 - q0))
        low, high = (q0, high) if slope > 0 else (low, q0)
    return q1, q0


@pytest.mark.parametrize("seed", range(40))
def test_two_proportions_project_as_the_specification_says(seed):
    rng = np.random.default_rng(seed)
    n1, n0 = (int(x) for x in rng.integers(1, 3000, 2))
    t1, t0 = (float(x) for x in rng.uniform(1e-4, 1 - 1e-4, 2))
    margin = float(rng.choice([0.0, 0.01, 0.05, 0.3]))
    q, _ = projection([n1, n0], [t1, t0], [1.0, -1.0], -margin)
    assert q == pytest.approx(two_proportions(n1, n0, t1, t0, margin), abs=1e-9)


@pytest.mark.parametrize("seed", range(25))
def test_no_point_on_the_boundary_is_nearer(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 7))
    n = rng.integers(1, 200, size)
    t = rng.uniform(0.05, 0.95, size)
    a = rng.choice([-1.0, 1.0], size) * rng.uniform(0.1, 1, size)
    inside = rng.uniform(0.2, 0.8, size)
    bound = float(a @ inside)
    q, _ = projection(n.tolist(), t.tolist(), a.tolist(), bound)
    assert a @ np.array(q) == pytest.approx(bound, abs=1e-10)
    best = minimize(
        lambda x: divergence(n, t, x),
        inside,
        bounds=[(1e-6, 1 - 1e-6)] * size,
        constraints={"type": "eq", "fun": lambda x: a @ x - bound},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert divergence(n, t, np.array(q)) <= best.fun + 1e-6


@pytest.mark.parametrize(
    ("n", "t", "a", "bound"),
    [
        ([5, 100_000], [1e-4, 1 - 1e-4], [1.0, -1.0], -0.01),
        ([100_000, 5], [1 - 1e-4, 1e-4], [1.0, -1.0], -0.01),
        ([5] * 60, [1 - 1e-4] * 60, [0.1] * 30 + [-0.1] * 30, -2.9),
        ([7, 9], [0.5, 0.5], [0.5, 0.5], 0.9999),
        ([7, 9], [0.5, 0.5], [0.999, 0.001], 0.0001),
    ],
)
def test_extreme_cases_converge(n, t, a, bound):
    q, _ = projection(n, t, a, bound)
    assert sum(x * y for x, y in zip(a, q, strict=True)) == pytest.approx(bound, abs=1e-9)
    assert all(0 < y <= 1 for y in q)


def test_the_multiplier_solves_its_own_equation():
    n, t, a = [30, 80, 12], [0.9, 0.4, 0.99], [0.6, -1.0, 0.4]
    q, value, slope = tilt(n, t, a, 13.0)
    for m, p, x, y in zip(n, t, a, q, strict=True):
        assert m * (p - y) == pytest.approx(13.0 * x * y * (1 - y))
    assert value == pytest.approx(sum(x * y for x, y in zip(a, q, strict=True)))
    nearby = tilt(n, t, a, 13.001)[1]
    assert (value - nearby) / 0.001 == pytest.approx(slope, rel=1e-3)


def test_the_log_ratio_is_that_of_binomial_likelihoods():
    s, n, t, q = (3, 9), (10, 9), (0.4, 0.95), (0.3, 0.9)
    expected = sum(
        binom.logpmf(hits, trials, x) - binom.logpmf(hits, trials, y)
        for hits, trials, x, y in zip(s, n, t, q, strict=True)
    )
    assert log_ratio(s, n, t, q) == pytest.approx(expected)
    assert log_ratio((0,), (4,), (0.5,), (0.25,)) == pytest.approx(4 * log(0.5 / 0.75))
