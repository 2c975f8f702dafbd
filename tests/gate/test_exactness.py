"""Enumeration of small cases: on every point of the null the expected e-value is at most 1."""

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import product
from math import comb, exp

import numpy as np
import pytest

from pilotage.gate.counts import Counts
from pilotage.gate.hypotheses import Hypothesis, Kind, hypotheses_of
from pilotage.gate.process import CLOSES_AT, ProcessState, absorb, opened, turn
from pilotage.gate.spec import Average, GateSpec, Metric

N = CLOSES_AT
GRID = (0.02, 0.2, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98)


def a_gate(*, floor: float | None = None, margin: float | None = None, average: Average | None = None) -> GateSpec:
    return GateSpec(
        name="g",
        metric=Metric.RECALL if average else Metric.ACCURACY,
        class_name=None,
        average=average,
        floor=floor,
        margin=margin,
    )


def a_test(gate: GateSpec, shares: dict[str, float]) -> Hypothesis:
    return hypotheses_of([gate], ["a", "b"], shares)["g"][0]


def vector(test: Hypothesis, strata: Sequence[int], successes: Sequence[int], trials: int, size: int) -> Counts:
    s, n = [0] * size, [0] * size
    for index, hits in zip(strata, successes, strict=True):
        s[index], n[index] = hits, trials
    return Counts(s=tuple(s), n=tuple(n))


def outcomes(test: Hypothesis, size: int, scale: float, seed: Counts) -> Iterator[tuple[tuple[int, ...], ProcessState]]:
    """Every result of one block of five trials per stratum of the mix, with the state after it."""
    start, nothing = opened(test, scale), Counts.zero(size)
    strata = test.scopes[0].strata
    for successes in product(range(N + 1), repeat=len(strata)):
        yield successes, absorb(test, start, vector(test, strata, successes, N, size), nothing, seed)


def weights(rates: Sequence[float], trials: int = N) -> np.ndarray:
    """Probabilities of all results, in the order of ``outcomes``."""
    single = [np.array([comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(trials + 1)]) for p in rates]
    return reduce(np.multiply.outer, single).ravel()


def null_points(test: Hypothesis, side: int) -> Iterator[tuple[float, ...]]:
    """Rates on the boundary of the null and inside it, spread over the unit cube."""
    a, bound = test.scopes[0].coefficients, test.bound
    for rates in product(GRID, repeat=len(a) - 1):
        last = (bound - sum(x * p for x, p in zip(a, rates, strict=False))) / a[-1]
        if 0 <= last <= 1:
            yield (*rates, last)
        for p in (0.0, 0.3, 0.7, 1.0):
            if (sum(x * q for x, q in zip(a, (*rates, p), strict=True)) - bound) * side <= 0:
                yield (*rates, p)


CASES = {
    "floor, one cluster": (a_gate(floor=0.8), {"aws": 1.0}, 0.05),
    "floor, two clusters": (a_gate(floor=0.8), {"aws": 0.7, "gcp": 0.3}, 0.05),
    "macro floor": (a_gate(floor=0.7, average=Average.MACRO), {"aws": 1.0}, 0.05),
    "margin, one cluster": (a_gate(margin=0.1), {"aws": 1.0}, 0.1),
    "margin zero": (a_gate(margin=0.0), {"aws": 1.0}, 0.02),
    "margin, two clusters": (a_gate(margin=0.05), {"aws": 0.8, "gcp": 0.2}, 0.05),
    "macro margin": (a_gate(margin=0.05, average=Average.MACRO), {"aws": 1.0}, 0.05),
}


@pytest.mark.parametrize("case", CASES)
def test_one_block_has_expectation_at_most_one_on_the_whole_null(case):
    gate, shares, scale = CASES[case]
    test = a_test(gate, shares)
    size = 2 * len(shares) * test.rows
    seed = Counts(s=(17, 12, 15, 18)[: size // 2], n=(20,) * (size // 2))
    states = [state for _, state in outcomes(test, size, scale, seed)]
    first_start = exp(opened(test, scale).log_e_fail(0))
    passing = np.array([exp(state.log_e_pass) for state in states])
    failing = np.array([exp(state.log_e_fail(0)) for state in states]) / first_start
    assert passing.max() > 1.2  # it does bet
    assert failing.max() > 1.2
    assert max(passing @ weights(rates) for rates in null_points(test, 1)) <= 1 + 1e-9
    assert max(failing @ weights(rates) for rates in null_points(test, -1)) <= 1 + 1e-9


def test_a_clusters_own_fail_process_has_expectation_at_most_one():
    test = a_test(a_gate(margin=0.1), {"aws": 0.6, "gcp": 0.4})
    seed = Counts(s=(17, 12), n=(20, 20))
    start, nothing = opened(test, 0.1), Counts.zero(4)
    pairs = list(product(range(N + 1), repeat=2))
    states = [absorb(test, start, vector(test, (2, 3), pair, N, 4), nothing, seed) for pair in pairs]
    values = np.array([exp(state.log_e_fail(2) - start.log_e_fail(2)) for state in states])
    assert values.max() > 1.2
    for stable in np.linspace(0.1, 1, 19):
        assert values @ weights((stable - 0.1, stable)) <= 1 + 1e-9


@pytest.mark.parametrize("gate", [a_gate(floor=0.8), a_gate(margin=0.1)], ids=["floor", "margin"])
def test_two_blocks_and_a_weight_change_keep_the_expectation(gate):
    """The second block bets with rates learnt from the first; null points differ between the blocks."""
    test = a_test(gate, {"aws": 1.0})
    seed, strata = Counts(s=(18,), n=(20,)), test.scopes[0].strata
    results = list(product(range(N + 1), repeat=len(strata)))
    passing, failing = [], []
    for first in results:
        block = vector(test, strata, first, N, 2)
        one = turn(test, absorb(test, opened(test, 0.1), block, Counts.zero(2), seed), block, seed, 2)
        for second in results:
            two = absorb(test, one, vector(test, strata, second, N, 2), block, seed)
            passing.append(exp(two.log_e_pass))
            failing.append(exp(two.log_e_fail(0)))
    spent = 1 / 2 + 1 / 6  # the two starts' shares
    on_the_boundary: list[tuple[tuple[float, ...], tuple[float, ...]]] = [((0.8,), (0.8,))]
    if gate.margin is not None:
        on_the_boundary = [((0.6, 0.7), (0.8, 0.9)), ((0.9, 1.0), (0.3, 0.4)), ((0.5, 0.6), (0.5, 0.6))]
    for rates, later in on_the_boundary:
        chance = np.multiply.outer(weights(rates), weights(later)).ravel()
        assert np.array(passing) @ chance <= 1 + 1e-9
        assert np.array(failing) @ chance <= spent + 1e-9


def test_rates_that_differ_within_a_block_stay_under_the_null_of_their_average():
    """Five requests of each arm, each with its own rate: only the block's averages lie on the boundary."""
    test = a_test(a_gate(margin=0.1), {"aws": 1.0})
    seed = Counts(s=(18,), n=(20,))
    values = {pair: exp(state.log_e_pass) for pair, state in outcomes(test, 2, 0.1, seed)}
    canary, stable = np.array([0.3, 0.5, 0.7, 0.9, 0.95]), np.array([0.99, 0.5, 0.6, 0.8, 0.96])
    canary -= canary.mean() - (stable.mean() - 0.1)
    chance = np.multiply.outer(poisson_binomial(canary), poisson_binomial(stable))
    assert sum(values[pair] * chance[pair] for pair in values) <= 1 + 1e-9


def poisson_binomial(rates: np.ndarray) -> np.ndarray:
    return reduce(np.convolve, [np.array([1 - p, p]) for p in rates])


def test_the_shares_of_the_fail_budget_add_up_to_at_most_one():
    gates = [a_gate(floor=0.8, margin=0.1), a_gate(margin=0.02, average=Average.MACRO)]
    gates[1] = GateSpec(name="h", metric=Metric.RECALL, class_name=None, average=Average.MACRO, floor=0.9, margin=0.02)
    for shares in ({"aws": 1.0}, {"aws": 0.5, "gcp": 0.3, "azure": 0.2}):
        tests = [test for found in hypotheses_of(gates, ["a", "b"], shares).values() for test in found]
        assert sum(scope.fail_share for test in tests for scope in test.scopes) == pytest.approx(1)
    state = opened(tests[0], 0.05)
    for start in range(2, 200):
        state = turn(tests[0], state, Counts.zero(6), Counts.zero(3), start)
    assert 0.99 < exp(state.log_e_fail(0)) <= 1


def test_kinds_are_floor_then_margin():
    found = hypotheses_of([a_gate(floor=0.8, margin=0.1)], ["a", "b"], {"aws": 1.0})["g"]
    assert [test.kind for test in found] == [Kind.FLOOR, Kind.MARGIN]
