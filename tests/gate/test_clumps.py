"""Labels that come in clumps weigh less, labels that do not weigh what they did."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.gate import Analysis, Outcome
from pilotage.gate.clumps import NO_CLUMPS, Clumps

SPEC = {
    "gates": [{"name": "quality", "metric": "accuracy", "margin": 0.02}],
    "analysis": {"minSamples": 0, "minDuration": "0s"},
}


def clumped(draw: random.Random, clients: int, *, worse: float = 0.0, harder: float = 2.5) -> dict[str, dict[str, int]]:
    """Ten labels of each client; every fifth client gets ``harder`` times the errors of the others."""
    right = 0
    for _ in range(clients):
        error = (0.1 + worse) / (0.8 + 0.2 * harder) * (harder if draw.random() < 0.2 else 1.0)
        right += sum(draw.random() > error for _ in range(10))
    return {"a": {"a": right, "b": 10 * clients - right}, "b": {}}


def factor_after(seed: int, blocks: int, harder: float) -> float:
    draw, clumps = random.Random(seed), NO_CLUMPS
    for _ in range(blocks):
        counts = clumped(draw, 20, harder=harder)["a"]
        n = counts["a"] + counts["b"]
        clumps = clumps.after(counts["a"] / n, 0.09 / n)
    return clumps.factor(30)


def test_clumps_are_seen_after_some_dozens_of_blocks() -> None:
    found = [factor_after(seed, 120, harder=4.0) for seed in range(10)]

    # The design effect: 1 + 9 × the correlation of two labels of one client.
    assert sum(found) / 10 == pytest.approx(1 + 9 * 0.2 * 0.8 * (0.3 / 1.6) ** 2 / 0.09, rel=0.25)


def test_independent_labels_keep_nearly_all_their_weight() -> None:
    found = [factor_after(seed, 120, harder=1.0) for seed in range(20)]

    assert sum(found) / 20 < 1.12


def test_a_single_jump_is_no_clump() -> None:
    clumps = NO_CLUMPS
    for level in [0.9] * 20 + [0.2] * 20:
        clumps = clumps.after(level, 0.0009)

    assert clumps.factor(30) == 1.0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1e-6, 0.1)), max_size=30))
def test_never_adds_weight_and_survives_being_written(blocks: list[tuple[float, float]]) -> None:
    clumps = NO_CLUMPS
    for level, variance in blocks:
        clumps = clumps.after(level, variance)

    assert clumps.factor(30) >= 1.0
    assert Clumps.from_list(clumps.to_list()) == clumps


def test_a_model_at_its_limit_is_seldom_promoted_by_clients_that_stick() -> None:
    analysis = Analysis.from_spec(SPEC)

    def outcome(seed: int) -> str:
        draw = random.Random(seed)
        history = {"one": [{"confusion": clumped(draw, 50, harder=4.0)}]}
        state = analysis.start(classes=["a", "b"], shares={"one": 1.0}, history=history)
        for look in range(80):
            arms = {
                "stable": {"confusion": clumped(draw, 30, harder=4.0)},
                "canary": {"confusion": clumped(draw, 10, worse=0.02, harder=4.0)},
            }
            state = analysis.update(state, {"at": 60.0 * look, "clusters": {"one": arms}})
            verdict = analysis.verdict(state)
            if verdict.state in (Outcome.PASS, Outcome.FAIL):
                return str(verdict.state)
        return "undecided"

    outcomes = [outcome(seed) for seed in range(40)]

    assert outcomes.count("Pass") <= 4
    assert outcomes.count("Fail") <= 4
