"""Enumeration of small cases: on every point of the null the expected e-value is at most 1, for every exact family."""

from collections.abc import Iterator, Sequence
from functools import cache, reduce
from itertools import product
from math import comb, exp, factorial, prod
from typing import Any

import numpy as np
import pytest

from pilotage.gate import Analysis, hypotheses
from pilotage.gate.arm import ArmCounts
from pilotage.gate.counts import Counts
from pilotage.gate.engine import Arms, Look, Opening, start_share
from pilotage.gate.exact import CLOSES_AT, ExactState, ExactTest
from pilotage.gate.functional import Functional
from pilotage.gate.jaccard import f1_of, jaccard_of
from pilotage.gate.pairs import PairedTest
from pilotage.gate.seeding import divided

N = CLOSES_AT
GRID = (0.02, 0.2, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98)
ONE = {"aws": 1.0}
OF_A: dict[str, Any] = {"class": "a"}


def a_test(shares: dict[str, float] = ONE, classes: Sequence[str] = ("a", "b"), **fields: Any) -> ExactTest:
    gates = Analysis.from_spec({"gates": [{"name": "g", **fields}]}).gates
    (test,) = hypotheses.tests_of(gates, list(classes), shares)["g"]
    found = test.apart if isinstance(test, PairedTest) else test
    assert isinstance(found, ExactTest)
    return found


def cells_of(trials: int, width: int) -> list[tuple[int, ...]]:
    """Every way in which that many trials can fall into the categories."""
    if width == 1:
        return [(trials,)]
    return [(n, *rest) for n in range(trials + 1) for rest in cells_of(trials - n, width - 1)]


def chances(probabilities: Sequence[float], trials: int) -> np.ndarray:
    """Of ``cells_of`` in its order."""
    coefficient = factorial(trials)
    return np.array(
        [
            coefficient / prod(map(factorial, cells)) * prod(p**n for p, n in zip(probabilities, cells, strict=True))
            for cells in cells_of(trials, len(probabilities))
        ]
    )


class Enumerated:
    """Every result of one block of a test's mix, and what each multiplies the evidence by.

    ``past``: hits and misses of stable's history for every seed, so that margins can bet.
    """

    def __init__(self, test: ExactTest, trials: Sequence[int], past: Sequence[tuple[int, int]]) -> None:
        self.test, self.trials = test, trials
        part, family = test.parts[0], test.family
        base = [(s + 0.5) / (s + m + 1) for s, m in past] or None
        bursts = test.opened(Opening(history={})).bursts
        width, scale = family.tally.width, 0.1
        self.values = {}
        single = [cells_of(n, width) for n in trials]
        for side in (1, -1):
            effects = family.stakes(scale, side)
            found = []
            for result in product(*single):
                block = Counts(width=width, cells=tuple(n for cells in result for n in cells))
                gains = family.gains(part, block, base, effects, side, bursts)
                found.append(sum(share * exp(gain) for (_, share), gain in zip(effects, gains, strict=True)))
            self.values[side] = np.array(found)
        assert self.values[1].max() > 1.1  # it does bet
        assert self.values[-1].max() > 1.1

    def expectation(self, side: int, point: Sequence[Sequence[float]]) -> float:
        """``point``: the probabilities of every stratum's categories."""
        single = [chances(p, n) for p, n in zip(point, self.trials, strict=True)]
        return float(self.values[side] @ reduce(np.multiply.outer, single).ravel())


def binomials(rates: Sequence[float]) -> list[tuple[float, float]]:
    return [(p, 1 - p) for p in rates]


def half_space(coefficients: Sequence[float], bound: float, side: int) -> Iterator[tuple[float, ...]]:
    """Rates on the boundary of the null ``sum a p <= bound`` (side +1, else >=) and inside it, over the unit cube."""
    for rates in product(GRID, repeat=len(coefficients) - 1):
        level = sum(x * p for x, p in zip(coefficients, rates, strict=False))
        last = (bound - level) / coefficients[-1]
        if 0 <= last <= 1:
            yield (*rates, last)
        for p in (0.0, 0.3, 0.7, 1.0):
            if (level + coefficients[-1] * p - bound) * side <= 0:
                yield (*rates, p)


TWO = {"aws": 0.7, "gcp": 0.3}
HISTORY = [(17, 3), (12, 8), (15, 5), (18, 2)]
CONTRASTS: dict[str, tuple[ExactTest, float]] = {
    "floor": (a_test(metric="accuracy", floor=0.8), 0.8),
    "floor, two clusters": (a_test(TWO, metric="accuracy", floor=0.8), 0.8),
    "macro floor": (a_test(metric="balancedAccuracy", floor=0.7), 0.7),
    "ceiling": (a_test(metric="errorRate", ceiling=0.2), 0.8),
    "F1 floor": (a_test(metric="f1", **OF_A, floor=0.8), jaccard_of(0.8)),
    "margin": (a_test(metric="accuracy", margin=0.1), -0.1),
    "margin zero": (a_test(metric="accuracy", margin=0.0), 0.0),
    "margin, two clusters": (a_test(TWO, metric="accuracy", margin=0.05), -0.05),
    "macro margin": (a_test(metric="recall", average="macro", margin=0.05), -0.05),
}


@pytest.mark.parametrize("case", CONTRASTS)
def test_a_contrast_has_expectation_at_most_one_on_the_whole_null(case):
    test, bound = CONTRASTS[case]
    coefficients = test.parts[0].coefficients
    block = Enumerated(test, [N] * len(coefficients), HISTORY[: len(test.parts[0].teachers)])
    for side in (1, -1):
        points = half_space(coefficients, bound, side)
        assert max(block.expectation(side, binomials(point)) for point in points) <= 1 + 1e-9


@pytest.mark.parametrize(("n1", "n0"), [(5, 5), (5, 12), (11, 6)])
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.2])
def test_f1_against_stable_bets_against_the_whole_curve_and_beyond_the_whole_chord(margin, n1, n0):
    """The fail side is tested on its true null, J1 >= h(J0), which the half plane above the chord contains."""
    test = a_test(metric="f1", **OF_A, margin=margin)
    block = Enumerated(test, [n1, n0], [(17, 3), (16, 4)])
    for stable in np.linspace(0.01, 0.99, 50):
        worse = f1_of(stable) - margin
        curve = jaccard_of(worse) if worse > 0 else 0.0
        if worse >= 0:
            for canary in {curve, curve / 2, 0.0}:
                assert block.expectation(1, binomials((canary, stable))) <= 1 + 1e-9
        for canary in {curve, (1 + curve) / 2, 1.0}:
            assert block.expectation(-1, binomials((canary, stable))) <= 1 + 1e-9


def simplex(width: int, steps: int = 12) -> Iterator[tuple[float, ...]]:
    return (tuple(n / steps for n in cells) for cells in cells_of(steps, width))


FUNCTIONALS = {
    "cost": a_test(metric="expectedCost", ceiling=0.5, costs={"a": {"b": 3}, "b": {"a": 1}}),
    "F-beta": a_test(metric="fBeta", beta=2, **OF_A, floor=0.7),
    "cost, two clusters": a_test(TWO, metric="expectedCost", ceiling=0.5, costs={"a": {"b": 3}, "b": {"a": 1}}),
    "F1, two clusters": a_test(TWO, metric="f1", **OF_A, floor=0.7),
}


@pytest.mark.parametrize("case", FUNCTIONALS)
def test_a_functional_has_expectation_at_most_one_wherever_its_mean_is_on_the_wrong_side(case):
    test = FUNCTIONALS[case]
    family, weights = test.family, test.parts[0].coefficients
    assert isinstance(family, Functional)
    width, clusters = family.tally.width, len(weights)
    block = Enumerated(test, (4, 3)[:clusters], [])
    means = {
        p: sum(x * v for x, v in zip(p, family.values, strict=True)) for p in simplex(width, 6 if clusters > 1 else 12)
    }
    checked = 0
    for point in product(means, repeat=clusters):
        mean = sum(weight * means[p] for weight, p in zip(weights, point, strict=True))
        for side in (1, -1):
            if mean * side <= 1e-12:
                checked += 1
                assert block.expectation(side, point) <= 1 + 1e-9
    assert checked > 50


def test_f_beta_is_at_its_floor_where_the_functional_is_nought():
    family = a_test(metric="fBeta", beta=2, **OF_A, floor=0.7).family
    assert isinstance(family, Functional)
    for tp, fn, fp, _ in simplex(4, 20):
        if tp + fn + fp:
            score = 5 * tp / (5 * tp + 4 * fn + fp)
            mean = sum(x * v for x, v in zip((tp, fn, fp), family.values[:3], strict=True))
            assert (mean > 1e-12) == (score > 0.7 + 1e-9) or abs(score - 0.7) < 1e-9


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.3])
def test_pairs_have_expectation_at_most_one_wherever_the_canary_is_that_much_worse(margin):
    gates = Analysis.from_spec({"gates": [{"name": "g", "metric": "accuracy", "margin": margin}]}).gates
    (test,) = hypotheses.tests_of(gates, ["a", "b"], ONE)["g"]
    assert isinstance(test, PairedTest)
    block = Enumerated(test.together, [8], [])
    for better, worse, same in simplex(3, 20):
        for side in (1, -1):
            if (better - worse + margin) * side <= 1e-12:
                assert block.expectation(side, [(better, worse, same)]) <= 1 + 1e-9


def test_deflated_counts_keep_the_expectation_where_outcomes_are_independent():
    """Bursts that are not there only cost power."""
    history = [ArmCounts(proportions={"g": proportion(n)}) for n in (20, 12) * 15]
    test = a_test(metric="errorRate", margin=0.1)
    state = test.opened(Opening(history={"aws": history}))
    assert state.bursts.factor > 2
    effects = test.family.stakes(0.1, 1)
    values = []
    for canary, stable in product(range(N + 1), repeat=2):
        counts = Counts.of([canary, stable], [N, N])
        gains = test.family.gains(test.parts[0], counts, [0.8], effects, 1, state.bursts)
        values.append(sum(share * exp(gain) for (_, share), gain in zip(effects, gains, strict=True)))
    for stable in np.linspace(0.1, 1, 19):
        chance = np.multiply.outer(binomial(stable - 0.1), binomial(stable)).ravel()
        assert np.array(values) @ chance <= 1 + 1e-9


def proportion(hits: int) -> Any:
    from pilotage.gate.arm import Proportion

    return Proportion(successes=hits, trials=20)


def binomial(p: float, trials: int = N) -> np.ndarray:
    return np.array([comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(trials + 1)])


def labels(canary: tuple[int, int], stable: tuple[int, int]) -> Arms:
    arms = {"canary": canary, "stable": stable}
    return {"aws": {arm: ArmCounts(confusion={"a": {"a": hits, "b": n - hits}}) for arm, (hits, n) in arms.items()}}


@cache
def after_two_blocks(margin: bool) -> tuple[np.ndarray, np.ndarray]:
    """E-values after every pair of results of two blocks with a weight change between, without any history."""
    boundary: dict[str, Any] = {"margin": 0.1} if margin else {"floor": 0.8}
    test = a_test(metric="accuracy", **boundary)
    start = test.opened(Opening(history={}))
    results = list(product(range(N + 1), range(2 * N + 1)))
    passing, failing = [], []
    for canary, stable in results:
        first = labels((canary, N), (stable, 2 * N))
        one = test.absorb(start, Look(added=first, before={}, turned={}))
        one = test.turn(one, Look(added={}, before=first, turned={}), 2)
        for later, base in results if margin else product(range(N + 1), (0,) * (2 * N + 1)):
            two = test.absorb(one, Look(added=labels((later, N), (base, 2 * N)), before=first, turned=first))
            passing.append(exp(test.log_e_pass(two)))
            failing.append(exp(test.log_e_fail(two, 0)))
    return np.array(passing), np.array(failing)


@pytest.mark.parametrize("margin", [False, True], ids=["floor", "margin"])
def test_two_blocks_and_a_weight_change_keep_the_expectation(margin):
    """The second block bets with rates learnt from the first; null points differ between the blocks."""
    passing, failing = after_two_blocks(margin)
    spent = start_share(1) + start_share(2)
    points = (
        [((0.6, 0.7), (0.8, 0.9)), ((0.9, 1.0), (0.3, 0.4)), ((0.5, 0.6), (0.5, 0.6))]
        if margin
        else [((0.8, 0.9), (0.8, 0.3))]
    )
    for (canary, stable), (later, base) in points:
        single = [binomial(canary), binomial(stable, 2 * N), binomial(later), binomial(base, 2 * N)]
        chance = reduce(np.multiply.outer, single).ravel()
        assert passing @ chance <= 1 + 1e-9
        assert failing @ chance <= spent + 1e-9


@pytest.mark.parametrize(("question", "stable_rate"), [("recall-of-8", 0.5), ("quality", 0.9)])
def test_a_first_block_divided_by_chance_keeps_the_expectation(stable_rate, question):
    """For every seed there is: the draws of one seed stand for all of them to within a part in a hundred."""
    test = a_test(metric="accuracy", margin=0.1)
    part, family, bursts = test.parts[0], test.family, test.opened(Opening(history={})).bursts
    n1, n0 = 5, 20
    for side in (1, -1):
        effects, expected = family.stakes(0.1, side), 0.0
        for stable, chance in enumerate(binomial(stable_rate, n0)):
            for taught, bet in divided(Counts.of([0, stable], [n1, n0]), part.teachers, question):
                base = [(taught.s[0] + 0.5) / (taught.n[0] + 1)]
                for canary, also in enumerate(binomial(stable_rate - 0.1, n1)):
                    rest = Counts.of([canary, bet.s[1]], bet.n)
                    gains = family.gains(part, rest, base, effects, side, bursts)
                    value = sum(share * exp(gain) for (_, share), gain in zip(effects, gains, strict=True))
                    expected += chance * also * value / 16
        assert expected <= 1.01


def test_what_teaches_is_half_of_stables_labels_but_never_more_than_history():
    block = Counts.of([3000, 60], [3000, 61])
    draws = divided(block, [1], "seed")
    assert len(draws) == 16
    for taught, bet in draws:
        assert (taught.n, bet.n) == ((30,), (3000, 31))
        assert taught.s[0] + bet.s[1] == 60
    assert divided(block, [1], "seed") == draws != divided(block, [1], "another")
    assert divided(Counts.of([5, 9000], [5, 10_000]), [1], "seed")[0][0].n == (500,)
    assert len(divided(Counts.of([9] * 60, [10] * 60), range(30, 60), "seed")) == 2


def test_a_clusters_own_fail_process_has_expectation_at_most_one():
    test = a_test({"aws": 0.6, "gcp": 0.4}, metric="accuracy", margin=0.1)
    part, effects = test.parts[2], test.family.stakes(0.1, -1)
    values = []
    for pair in product(range(N + 1), repeat=2):
        gains = test.family.gains(
            part, Counts.of(pair, (N, N)), [0.9], effects, -1, test.opened(Opening(history={})).bursts
        )
        values.append(sum(share * exp(gain) for (_, share), gain in zip(effects, gains, strict=True)))
    assert max(values) > 1.2
    for stable in np.linspace(0.1, 1, 19):
        chance = np.multiply.outer(binomial(stable - 0.1), binomial(stable)).ravel()
        assert np.array(values) @ chance <= 1 + 1e-9


def test_rates_that_differ_within_a_block_stay_under_the_null_of_their_average():
    """Five requests of each arm, each with its own rate: only the block's averages lie on the boundary."""
    block = Enumerated(a_test(metric="accuracy", margin=0.1), [N, N], [(18, 2)])
    canary, stable = np.array([0.3, 0.5, 0.7, 0.9, 0.95]), np.array([0.99, 0.5, 0.6, 0.8, 0.96])
    canary -= canary.mean() - (stable.mean() - 0.1)
    chance = np.multiply.outer(poisson_binomial(canary), poisson_binomial(stable)).ravel()
    assert block.values[1] @ chance <= 1 + 1e-9


def poisson_binomial(rates: np.ndarray) -> np.ndarray:
    return reduce(np.convolve, [np.array([1 - p, p]) for p in rates])


def test_the_shares_of_the_fail_budget_add_up_to_at_most_one():
    gates = Analysis.from_spec(
        {
            "gates": [
                {"name": "g", "metric": "accuracy", "floor": 0.8, "margin": 0.1},
                {"name": "h", "metric": "recall", "average": "macro", "floor": 0.9, "margin": 0.02},
                {"name": "i", "metric": "f1", "average": "macro", "margin": 0.02},
                {"name": "j", "metric": "predictionShift", "margin": 0.05},
                {"name": "k", "metric": "accuracy", "floor": 0.9, "mode": "Advisory"},
            ]
        }
    ).gates
    deciding = [gate.name for gate in gates if gate.blocking]
    for shares in (ONE, {"aws": 0.5, "gcp": 0.3, "azure": 0.2}, {"aws": 1.0, "gcp": 0.0}):
        found = hypotheses.tests_of(gates, ["a", "b"], shares)
        assert sum(
            scope.fail_share for name in deciding for test in found[name] for scope in test.scopes
        ) == pytest.approx(1)
        assert sum(scope.fail_share for test in found["k"] for scope in test.scopes) == pytest.approx(1)


def test_any_number_of_starts_weighs_at_most_one():
    assert start_share(1) == 0.75
    assert 0.999 < sum(start_share(start) for start in range(1, 1000)) <= 1
    test = a_test(metric="accuracy", margin=0.1)
    state: ExactState = test.opened(Opening(history={}))
    for start in range(2, 100):
        state = test.turn(state, Look(added={}, before={}, turned={}), start)
    assert 0.99 < exp(test.log_e_fail(state, 0)) <= 1


@pytest.mark.parametrize("looks", [(10,), (5, 5), (3, 4, 3), (1,) * 10, (1, 9)], ids=str)
def test_however_often_anyone_looks_a_high_score_stays_as_rare(looks):
    """Every outcome of ten labels on the boundary: the e-value's mean is at most 1, and it ever reaches 2 at most every
    other time (Ville), whether the labels come one by one or all at once."""
    test, rate = a_test(metric="accuracy", floor=0.7), 0.7
    reached = {1: 0.0, -1: 0.0}

    def walk(state: ExactState, seen: Arms, left: tuple[int, ...], chance: float, best: tuple[float, float]) -> float:
        passing, failing = exp(test.log_e_pass(state)), exp(test.log_e_fail(state, 0)) / start_share(1)
        best = (max(best[0], passing), max(best[1], failing))
        if not left:
            reached[1] += chance * (best[0] >= 2)
            reached[-1] += chance * (best[1] >= 2)
            return chance * passing
        total = 0.0
        for hits, likely in enumerate(binomial(rate, left[0])):
            added = labels((hits, left[0]), (0, 0))
            look = Look(added=added, before=seen, turned={})
            total += walk(test.absorb(state, look), look.after, left[1:], chance * likely, best)
        return total

    history = {"aws": [ArmCounts(confusion={"a": {"a": 95, "b": 5}})]}  # a long way off: the bets are bold
    assert walk(test.opened(Opening(history=history)), {}, looks, 1.0, (0.0, 0.0)) <= 1 + 1e-9
    assert 0 < reached[1] <= 1 / 2
    assert 0 < reached[-1] <= 1 / 2
