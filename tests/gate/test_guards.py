"""Guards without labels: they may fail a rollout, never pass one, and seldom fail a good one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import comb, exp, log
from typing import Any

import numpy as np
import pytest

from pilotage.gate.blocks import decode_block
from pilotage.gate.engine import Arms, Look, Opening, Scope, plus, start_share
from pilotage.gate.guards import CLOSES_AT, CONFIDENCES, GuardTest, guard_test
from pilotage.gate.spec_reader import decode

CLASSES = ("a", "b", "c")
ONE = (Scope(name="", weights=(("aws", 1.0),), fail_share=1.0),)
TWO = (
    Scope(name="", weights=(("aws", 0.7), ("gcp", 0.3)), fail_share=0.5),
    Scope(name="aws", weights=(("aws", 1.0),), fail_share=0.25),
    Scope(name="gcp", weights=(("gcp", 1.0),), fail_share=0.25),
)


def a_guard(metric: str, margin: float, scopes: Sequence[Scope] = ONE, classes: Sequence[str] = CLASSES) -> GuardTest:
    gates, _ = decode({"gates": [{"name": "guard", "metric": metric, "margin": margin}]})
    return guard_test(gates[0], classes, scopes)


def arms(clusters: dict[str, dict[str, Any]], classes: Sequence[str] = CLASSES) -> Arms:
    raw = {"at": 0, "clusters": clusters}
    return decode_block(raw, classes=classes, clusters=tuple(clusters)).clusters


def served(*rows: int, classes: Sequence[str] = CLASSES) -> dict[str, Any]:
    return {"served": dict(zip(classes, map(int, rows), strict=True))}


def confidence(**buckets: int) -> dict[str, Any]:
    return {"confidence": [int(buckets.get(f"b{k}", 0)) for k in range(20)]}


def after(test: GuardTest, blocks: Sequence[Arms], state: Any = None, before: Arms | None = None) -> tuple[Any, Arms]:
    sums = before or {}
    state = test.opened(Opening(history={})) if state is None else state
    for block in blocks:
        state = test.absorb(state, Look(added=block, before=sums, turned={}))
        sums = plus(sums, block)
    return state, sums


def evidence(test: GuardTest, state: Any, scope: int = 0) -> float:
    return exp(test.log_e_fail(state, scope)) / start_share(1)


def chances(rate: float, trials: int = CLOSES_AT) -> np.ndarray:
    return np.array([comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(trials + 1)])


def outcomes(test: GuardTest, taught: Sequence[Arms], block: Any) -> np.ndarray:
    """Evidence after every result of one more block of twenty rows an arm, by (canary's hits, stable's)."""
    state, sums = after(test, taught)
    found = np.zeros((CLOSES_AT + 1, CLOSES_AT + 1))
    for canary, stable in product(range(CLOSES_AT + 1), repeat=2):
        found[canary, stable] = evidence(test, after(test, [block(canary, stable)], state, sums)[0])
    return found


def null_rates(margin: float) -> Iterator[tuple[float, float]]:
    """Rates of canary and stable that differ by no more than the margin."""
    grid = [k / 20 for k in range(21)]
    yield from ((min(1.0, q + margin), q) for q in grid)
    yield from ((p, q) for p in grid for q in grid if p - q <= margin)


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.2])
def test_a_shift_within_the_margin_earns_nothing_in_expectation(margin):
    """Two classes; the block before has taught that the canary predicts "a" more often."""
    two = ("a", "b")
    test = a_guard("predictionShift", margin, classes=two)
    taught = arms({"aws": {"canary": served(30, 20, classes=two), "stable": served(20, 30, classes=two)}}, two)

    def block(canary: int, stable: int) -> Arms:
        rows = {"canary": served(canary, 20 - canary, classes=two), "stable": served(stable, 20 - stable, classes=two)}
        return arms({"aws": rows}, two)

    found = outcomes(test, [taught], block)
    assert found.max() > 2
    for p, q in null_rates(margin):
        assert chances(p) @ found @ chances(q) <= 1 + 1e-9


def test_a_promise_that_falls_within_the_margin_earns_nothing_in_expectation():
    """Rows have one of two confidences; what counts is their mean, and no share of them is forbidden."""
    margin, low, high = 0.05, 1 - CONFIDENCES[6], 1 - CONFIDENCES[12]
    test = a_guard("confidenceShift", margin)
    taught = arms({"aws": {"canary": confidence(b6=20, b12=20), "stable": confidence(b6=10, b12=30)}})

    def block(canary: int, stable: int) -> Arms:
        rows = {arm: confidence(b6=n, b12=20 - n) for arm, n in (("canary", canary), ("stable", stable))}
        return arms({"aws": rows})

    found = outcomes(test, [taught], block)
    assert found.max() > 1.2
    for p in np.linspace(0, 1, 41):
        for q in np.linspace(0, 1, 41):
            if (p - q) * (low - high) <= margin:
                assert chances(float(p)) @ found @ chances(float(q)) <= 1 + 1e-9


def test_the_first_block_only_teaches():
    test = a_guard("predictionShift", 0.01)
    state, _ = after(test, [arms({"aws": {"canary": served(500, 0, 0), "stable": served(0, 500, 0)}})])
    assert evidence(test, state) == pytest.approx(1.0)
    assert test.bets(state) == 1


def run(
    test: GuardTest, rng: np.random.Generator, shares: Mapping[str, Sequence[Sequence[float]]], looks: int
) -> float:
    """The largest evidence at any look, with the shares of the budget in it."""
    state: Any = None
    sums: Arms | None = None
    most = 0.0
    for look in range(looks):
        drawn = {
            name: {
                arm: served(*rng.multinomial(rows, shares[name][at]))
                for at, (arm, rows) in enumerate((("canary", 30), ("stable", 120)))
            }
            for name in shares
        }
        block = arms(drawn)
        if look == looks // 2:
            state = test.turn(state, Look(added={}, before=sums or {}, turned={}), 2)
        state, sums = after(test, [block], state, sums)
        most = max(most, sum(s.fail_share * exp(test.log_e_fail(state, i)) for i, s in enumerate(test.scopes)))
    return most


def test_canaries_at_the_margin_are_seldom_failed_and_shifted_ones_nearly_always():
    test = a_guard("predictionShift", 0.05, TWO)
    stable, boundary, shifted = (0.5, 0.3, 0.2), (0.5, 0.25, 0.25), (0.4, 0.3, 0.3)
    rng = np.random.default_rng(1)

    def failed(canary: Sequence[float], runs: int) -> int:
        shares = {"aws": (canary, stable), "gcp": (canary, stable)}
        return sum(run(test, rng, shares, 40) >= 20 for _ in range(runs))

    assert failed(boundary, 25) <= 3
    assert failed(shifted, 6) >= 5


def test_a_cluster_that_shifts_alone_is_found_in_its_own_scope():
    test = a_guard("predictionShift", 0.05, TWO)
    equal, other = (0.5, 0.3, 0.2), (0.1, 0.3, 0.6)
    rng = np.random.default_rng(2)
    assert run(test, rng, {"aws": (equal, equal), "gcp": (other, equal)}, 20) >= 20


def test_confidence_that_falls_fails_and_confidence_that_rises_does_not():
    test = a_guard("confidenceShift", 0.02)
    sure, unsure = confidence(b14=90, b8=10), confidence(b14=40, b8=60)
    fallen, _ = after(test, [arms({"aws": {"canary": unsure, "stable": sure}})] * 12)
    risen, _ = after(test, [arms({"aws": {"canary": sure, "stable": unsure}})] * 12)
    assert test.log_e_fail(fallen, 0) > log(20)
    assert test.log_e_fail(risen, 0) < 0


def test_splitting_a_block_that_does_not_close_changes_nothing():
    test = a_guard("predictionShift", 0.05)
    taught = arms({"aws": {"canary": served(10, 20, 5), "stable": served(60, 40, 30)}})
    parts = [arms({"aws": {"canary": served(3, 5, 1), "stable": served(20, 10, 9)}})] * 3
    at_once = arms({"aws": {"canary": served(9, 15, 3), "stable": served(60, 30, 27)}})
    assert after(test, [taught, *parts])[0] == after(test, [taught, at_once])[0]


def test_an_empty_block_changes_nothing_and_the_state_survives_json():
    test = a_guard("confidenceShift", 0.02, TWO)
    rows = arms({"aws": {"canary": confidence(b3=12, b9=30), "stable": confidence(b9=70)}})
    state, sums = after(test, [rows])
    assert test.absorb(state, Look(added={}, before=sums, turned={})) is state
    assert test.decode(json.loads(json.dumps(test.encode(state)))) == state
    assert test.log_e_pass(state) == 0.0


def test_what_it_shows_is_the_total_variation_and_the_fall_of_the_promise():
    test = a_guard("predictionShift", 0.05)
    found = test.shift(ONE[0], arms({"aws": {"canary": served(50, 25, 25), "stable": served(60, 30, 10)}}))
    assert found == pytest.approx(0.15)
    assert test.shift(ONE[0], arms({"aws": {"canary": served(50, 25, 25)}})) is None
    two = {"canary": served(50, 25, 25), "stable": served(60, 30, 10)}
    assert test.described(ONE[0], arms({"aws": two})) == (
        "0.150 of the predictions moved, most of them 'c': 25.0%, stable's 10.0%"
    )
    promise = a_guard("confidenceShift", 0.05)
    fallen = promise.shift(ONE[0], arms({"aws": {"canary": confidence(b6=10), "stable": confidence(b12=10)}}))
    assert fallen == pytest.approx(CONFIDENCES[12] - CONFIDENCES[6])
    below = promise.described(ONE[0], arms({"aws": {"canary": confidence(b6=10), "stable": confidence(b12=10)}}))
    assert below == "promised accuracy 0.777 is 0.209 below stable's 0.986"


def test_the_set_that_is_bet_on_never_looks_at_the_block_it_is_judged_by():
    test = a_guard("predictionShift", 0.0)
    first = arms({"aws": {"canary": served(30, 0, 0), "stable": served(0, 30, 0)}})
    second = arms({"aws": {"canary": served(0, 0, 30), "stable": served(30, 0, 0)}})
    once, again, reversed_ = (
        test.log_e_fail(after(test, blocks)[0], 0) for blocks in ([first], [first, first], [first, second])
    )
    assert again > once > reversed_
