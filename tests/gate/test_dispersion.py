"""Requests that fail in bursts say less than their number: stable's history says by how much."""

from typing import Any

import numpy as np
import pytest

from pilotage.gate import Analysis
from pilotage.gate.dispersion import bursts_of
from pilotage.gate.families import Bursts

ERRORS = {"name": "errors", "metric": "errorRate", "margin": 0.01}


def parts(
    rng: np.random.Generator, blocks: int, *, rate: float = 0.95, size: int = 400, spread: float = 0.0
) -> list[tuple[int, int]]:
    """Good requests of every block; ``spread``: correlation inside a block."""
    found = []
    for _ in range(blocks):
        p = rate if not spread else rng.beta(rate * (1 / spread - 1), (1 - rate) * (1 / spread - 1))
        found.append((int(rng.binomial(size, p)), size))
    return found


def test_independent_requests_are_hardly_dispersed():
    rng = np.random.default_rng(1)
    factors = [bursts_of([parts(rng, 60)]).factor for _ in range(20)]
    assert np.mean(factors) < 1.15


def test_bursts_are_measured():
    """Beta-binomial blocks: variance is 1 + (n − 1)·correlation times the binomial one, 5 for n = 400 and .01."""
    rng = np.random.default_rng(2)
    found = bursts_of([parts(rng, 2000, spread=0.01)])
    assert found.factor == pytest.approx(5, rel=0.15)
    assert found.size == 400


def test_clusters_of_different_rates_are_not_dispersed():
    rng = np.random.default_rng(3)
    assert bursts_of([parts(rng, 30, rate=0.99), parts(rng, 30, rate=0.7)]).factor < 1.6


@pytest.mark.parametrize(
    "clusters",
    [[], [[]], [[(400, 400)] * 50], [[(0, 400)] * 50], [[(390, 400), (300, 400)] * 9], [[(0, 0)] * 50]],
    ids=["nothing", "no blocks", "never failed", "always failed", "too few blocks", "no requests"],
)
def test_what_cannot_be_known_changes_nothing(clusters):
    assert bursts_of(clusters) == Bursts()


def promoted(rng: np.random.Generator, *, history_blocks: int, runs: int) -> float:
    """How often a canary on the boundary passes when both arms fail in bursts of their own (.01, 100 + 400 a block)."""
    analysis = Analysis.from_spec({"gates": [ERRORS], "analysis": {"minSamples": 0}})
    passed = 0
    for _ in range(runs):
        history = [
            {"proportions": {"errors": {"successes": s, "trials": n}}}
            for s, n in parts(rng, history_blocks, spread=0.01)
        ]
        state = analysis.start(["a", "b"], {"aws": 1.0}, {"aws": history})
        for look in range(60):
            (s1, n1), (s0, n0) = parts(rng, 1, rate=0.94, size=100, spread=0.01)[0], parts(rng, 1, spread=0.01)[0]
            arms: dict[str, Any] = {
                "canary": {"proportions": {"errors": {"successes": s1, "trials": n1}}},
                "stable": {"proportions": {"errors": {"successes": s0, "trials": n0}}},
            }
            state = analysis.update(state, {"at": 60.0 * look, "clusters": {"aws": arms}})
        passed += "margin" in state["gates"]["errors"]["latched"]
    return passed / runs


def test_bursts_do_not_promote_a_canary_on_the_boundary():
    """Without the correction one in five passes."""
    rng = np.random.default_rng(4)
    assert promoted(rng, history_blocks=40, runs=24) <= 0.05 + 3 * (0.05 * 0.95 / 24) ** 0.5
