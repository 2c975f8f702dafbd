"""The Gaussian engine through time: strata, fail starts, retries, splits that move by themselves; and its validity."""

import json
from math import exp, log
from typing import Any, TypeVar

import numpy as np
import pytest

from pilotage.gate import Analysis
from pilotage.gate.arm import ArmCounts, Moments
from pilotage.gate.composite import CompositeTest
from pilotage.gate.composite_interval import metric_interval, pooled_difference, weighed_difference
from pilotage.gate.composites import composite_test
from pilotage.gate.engine import Arms, Kind, Look, Opening, Scope, plus, start_share
from pilotage.gate.estimates import estimate
from pilotage.gate.gaussian import Weighed, grid, log_e_fail, log_e_pass, reach_below
from pilotage.gate.packing import pack, unpack
from pilotage.gate.spec import Average, GateSpec, Metric
from pilotage.gate.split import NOTHING_SPLIT, has_moved, watched

CLASSES = ["a", "b", "c"]
NEEDED = log(20)
T = TypeVar("T")


def some(found: T | None) -> T:
    assert found is not None
    return found


def a_test(
    kind: Kind = Kind.MARGIN, shares: dict[str, float] | None = None, classes: list[str] = CLASSES, **fields: Any
) -> CompositeTest:
    defaults: dict[str, Any] = {"metric": Metric.F1, "average": Average.MACRO, "margin": 0.05, "floor": 0.85}
    shares = shares or {"aws": 1.0}
    scopes = [Scope(name="", weights=tuple(shares.items()), fail_share=0.5)]
    if len(shares) > 1:
        scopes += [Scope(name=name, weights=((name, 1.0),), fail_share=0.5 / len(shares)) for name in shares]
    return composite_test(GateSpec(name="g", **(defaults | fields)), kind, classes=classes, scopes=scopes)


class Course:
    """A test fed block by block, as an analysis would feed it."""

    def __init__(self, test: CompositeTest, earlier: Any = None) -> None:
        self.test = test
        self.state = test.opened(Opening(history={}, earlier=earlier))
        self.before: Arms = {}
        self.turned: Arms = {}
        self.starts = 1

    def sees(self, added: Arms) -> "Course":
        self.state = self.test.absorb(self.state, Look(added=added, before=self.before, turned=self.turned))
        self.before = plus(self.before, added)
        return self

    def turns(self) -> "Course":
        self.starts += 1
        self.state = self.test.turn(self.state, Look(added={}, before=self.before, turned=self.turned), self.starts)
        self.turned = self.before
        return self

    @property
    def passing(self) -> float:
        return self.test.log_e_pass(self.state)

    def failing(self, scope: int = 0) -> float:
        return self.test.log_e_fail(self.state, scope)


def labels(rng: np.random.Generator, n: int, right: float, classes: list[str] = CLASSES) -> ArmCounts:
    """``n`` labels, evenly over the classes; errors go to the next class."""
    table = {}
    for k, (name, m) in enumerate(zip(classes, rng.multinomial(n, [1 / len(classes)] * len(classes)), strict=True)):
        hits = int(rng.binomial(m, right))
        table[name] = {name: hits, classes[(k + 1) % len(classes)]: int(m) - hits}
    return ArmCounts(confusion=table)


def arms(rng: np.random.Generator, n: int, canary: float, stable: float, clusters: tuple[str, ...] = ("aws",)) -> Arms:
    return {name: {"canary": labels(rng, n, canary), "stable": labels(rng, 2 * n, stable)} for name in clusters}


def test_a_mixture_of_known_distance_and_variance_is_what_the_formula_says():
    effects = grid(0.02, 1.0, passing=True)
    weighed = Weighed(distance=300.0, information=9000.0)
    expected = log(sum(stake * exp(d * 300 - d * d * 9000 / 2) for d, stake in effects))
    assert log_e_pass(weighed, effects) == pytest.approx(expected, abs=1e-5)
    worse = Weighed(distance=-300.0, information=9000.0)
    fails = grid(0.02, 1.0, passing=False)
    expected = log(sum(0.75 * stake * exp(d * 300 - d * d * 9000 / 2) for d, stake in fails))
    assert log_e_fail((log(0.75),) * len(fails), worse, fails) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("passing", [True, False])
def test_a_brownian_motion_on_the_boundary_rarely_reaches_the_threshold(passing):
    """The law behind the engine: with true variances, distances over variances are a Brownian motion in information."""
    rng = np.random.default_rng(1)
    effects = np.array(grid(0.02, 1.0, passing=passing))
    information = np.geomspace(50, 5e5, 400)
    steps = rng.normal(0, np.sqrt(np.diff(information, prepend=0)), (2000, 400))
    walk = np.cumsum(steps, axis=1)
    logs = np.logaddexp.reduce([np.log(w) + d * walk - d * d * information / 2 for d, w in effects], axis=0)
    assert (logs.max(axis=1) >= NEEDED).mean() <= 0.05
    assert np.exp(logs[:, 100]).mean() <= 1.1


def test_the_bound_below_is_where_the_evidence_reaches_the_threshold():
    effects = grid(0.02, 1.0, passing=True)
    weighed = Weighed(distance=300.0, information=9000.0)
    bound = reach_below(weighed, effects, NEEDED)
    assert bound < 300 / 9000
    shifted = Weighed(distance=300 - bound * 9000, information=9000.0)
    assert log_e_pass(shifted, effects) == pytest.approx(NEEDED, abs=1e-3)
    assert reach_below(Weighed(), effects, NEEDED) == float("-inf")


@pytest.mark.parametrize("kind", [Kind.MARGIN, Kind.FLOOR])
def test_nothing_is_bet_before_anything_ripened(kind):
    course = Course(a_test(kind))
    assert course.passing == 0.0
    assert course.failing() == pytest.approx(log(start_share(1)), abs=1e-5)
    opened = course.state
    course.sees(arms(np.random.default_rng(2), 12, 0.9, 0.9))
    assert course.state is opened
    assert course.passing == 0.0
    assert course.failing() == pytest.approx(log(start_share(1)), abs=1e-5)
    assert course.test.bets(course.state) == 0


def test_an_equal_canary_passes_and_a_bad_one_fails():
    rng = np.random.default_rng(3)
    good, bad = Course(a_test()), Course(a_test())
    for _ in range(40):
        good.sees(arms(rng, 60, 0.92, 0.92))
        bad.sees(arms(rng, 60, 0.75, 0.92))
    assert good.passing > NEEDED > good.failing()
    assert bad.failing() > NEEDED > bad.passing


def test_evidence_depends_on_what_was_counted_not_on_how_often_anyone_looked():
    rng = np.random.default_rng(4)
    blocks = [arms(rng, 5, 0.9, 0.9) for _ in range(60)]
    often, once = Course(a_test()), Course(a_test())
    total: Arms = {}
    for block in blocks:
        often.sees(block)
        total = plus(total, block)
    often.turns()
    once.sees(total).turns()
    assert often.passing == once.passing
    assert often.failing() == once.failing()
    assert often.test.bets(often.state) > once.test.bets(once.state) == 1


def test_a_block_of_nothing_or_of_too_little_returns_the_same_state():
    rng = np.random.default_rng(5)
    course = Course(a_test()).sees(arms(rng, 1000, 0.9, 0.9))
    held = course.state
    assert course.sees({}).state is held
    assert course.sees({"aws": {"canary": labels(rng, 7, 0.5)}}).state is held


def test_strata_of_different_weights_are_not_pooled():
    """Base rate and split change together: the canary is 8 points worse in both steps, pooled it looks 2 better."""
    rng = np.random.default_rng(6)
    course = Course(a_test())
    course.sees({"aws": {"canary": labels(rng, 100, 0.72), "stable": labels(rng, 1900, 0.80)}}).turns()
    course.sees({"aws": {"canary": labels(rng, 1000, 0.90), "stable": labels(rng, 1000, 0.98)}})
    assert course.passing < 0 < course.failing()
    settled, standing = course.state.settled, course.state.standing
    assert settled.information > 0
    assert standing.information > 0
    total = settled + standing
    assert total.distance / total.information == pytest.approx(0.05 - 0.08, abs=0.02)


def test_a_canary_that_turns_bad_is_caught_by_the_start_at_its_step():
    rng = np.random.default_rng(7)
    with_start, without = Course(a_test()), Course(a_test())
    for course in (with_start, without):
        for _ in range(100):
            course.sees(arms(rng, 60, 0.95, 0.92))
    with_start.turns()
    for _ in range(6):
        block = arms(rng, 60, 0.75, 0.92)
        with_start.sees(block)
        without.sees(block)
    assert with_start.failing() > NEEDED > without.failing()


def test_fail_starts_spend_no_more_than_their_shares():
    course = Course(a_test())
    for _ in range(100):
        course.turns()
    assert 0.99 < exp(course.failing()) <= 1


def test_a_canary_against_a_floor_loses_nothing_at_a_change_of_weight():
    rng = np.random.default_rng(8)
    turned, straight = Course(a_test(Kind.FLOOR)), Course(a_test(Kind.FLOOR))
    for look in range(20):
        block = arms(rng, 30, 0.9, 0.9)
        turned.sees(block)
        straight.sees(block)
        if look in (4, 11):
            turned.turns()
    turned.turns()
    straight.turns()
    assert turned.passing == straight.passing > 1


@pytest.mark.parametrize("kind", [Kind.MARGIN, Kind.FLOOR])
def test_a_retry_continues_the_pass_side_and_nothing_else(kind):
    rng = np.random.default_rng(9)
    first = Course(a_test(kind))
    first.sees(arms(rng, 200, 0.92, 0.92)).turns().sees(arms(rng, 200, 0.92, 0.92))
    again = Course(a_test(kind), earlier=first.state)
    assert again.passing == first.passing > 0
    assert again.failing() == pytest.approx(log(start_share(1)), abs=1e-5)
    block = arms(rng, 200, 0.92, 0.92)
    fresh = Course(a_test(kind)).sees(block)
    again.sees(block)
    assert (again.state.settled + again.state.standing).information == pytest.approx(
        (first.state.settled + first.state.standing + fresh.state.standing).information
    )


def test_a_split_that_moves_by_itself_begins_another_stratum():
    rng = np.random.default_rng(10)
    course = Course(a_test())
    for _ in range(20):
        course.sees({"aws": {"canary": labels(rng, 10, 0.72), "stable": labels(rng, 190, 0.80)}})
    assert course.state.base is None
    for _ in range(20):
        course.sees({"aws": {"canary": labels(rng, 100, 0.90), "stable": labels(rng, 100, 0.98)}})
    assert course.state.base is not None
    assert course.state.settled.information > 0
    assert course.passing < 0
    assert course.state.passing.estimate < 0
    course.turns()
    assert course.state.base is None


def test_an_even_split_is_left_alone():
    rng = np.random.default_rng(11)
    split, total = NOTHING_SPLIT, np.zeros(2, dtype=int)
    for _ in range(5000):
        total += rng.poisson([3, 9])
        now = {"aws": (int(total[0]), int(total[1]))}
        assert not has_moved(split, now)
        split = watched(split, now)


@pytest.mark.parametrize("kind", [Kind.MARGIN, Kind.FLOOR])
def test_a_state_survives_json(kind):
    rng = np.random.default_rng(12)
    test = a_test(kind, {"aws": 0.5, "gcp": 0.5})
    course = Course(test)
    for weight in (30, 30, 90):
        block = arms(rng, weight, 0.92, 0.92, ("aws", "gcp"))
        course.sees(block).sees(block)
        if weight == 30:
            course.turns()
    course.sees({"gcp": {"canary": labels(rng, 400, 0.9), "stable": labels(rng, 30, 0.9)}})
    read = test.decode(json.loads(json.dumps(test.encode(course.state))))
    assert read == course.state
    assert test.log_e_pass(read) == course.passing
    assert [test.log_e_fail(read, scope) for scope in range(3)] == [course.failing(scope) for scope in range(3)]


def test_packed_counts_come_back_as_they_were():
    rng = np.random.default_rng(13)
    counts = tuple(int(n) for n in rng.geometric(0.001, 5000) * (rng.random(5000) < 0.5))
    assert unpack(pack(counts)) == counts
    assert len(pack(counts)) < 2 * len(counts)
    assert unpack(json.loads(json.dumps(pack((3, 1.25, 0.5))))) == (3, 1.25, 0.5)
    assert unpack(pack(())) == ()
    with pytest.raises(ValueError, match="packed"):
        unpack("0" * 8)


def test_one_clusters_fail_process_sees_that_cluster_alone():
    rng = np.random.default_rng(14)
    course = Course(a_test(shares={"aws": 0.9, "gcp": 0.1}))
    for _ in range(10):
        course.sees({**arms(rng, 60, 0.93, 0.92), **arms(rng, 60, 0.70, 0.92, ("gcp",))})
    assert course.failing(2) > NEEDED > course.failing(1)
    assert course.failing(0) < NEEDED


def on_boundary(test: CompositeTest, seed: int, runs: int, draw: Any, looks: int = 30) -> tuple[float, float]:
    """Shares of runs in which the pass side, and the fail side, ever reached the threshold of 1/0.05."""
    passed = failed = 0
    for run in range(runs):
        rng = np.random.default_rng((seed, run))
        course = Course(test)
        for look in range(looks):
            course.sees(draw(rng, look))
            if course.passing >= NEEDED:
                passed += 1
                break
            if course.failing() >= NEEDED:
                failed += 1
                break
    return passed / runs, failed / runs


BOUNDARY = {
    "macro f1, margin": (a_test(), lambda rng, look: arms(rng, 40, 0.90, 0.95)),
    "macro f1, floor": (a_test(Kind.FLOOR, floor=0.9), lambda rng, look: arms(rng, 40, 0.90, 0.95)),
    "weighted precision, two clusters": (
        a_test(metric=Metric.PRECISION, average=Average.WEIGHTED, shares={"aws": 0.8, "gcp": 0.2}),
        lambda rng, look: {**arms(rng, 40, 0.90, 0.95), **arms(rng, 40, 0.75, 0.80, ("gcp",))},
    ),
}


@pytest.mark.parametrize("name", BOUNDARY)
def test_on_the_boundary_neither_side_speaks_too_often(name):
    test, draw = BOUNDARY[name]
    passed, failed = on_boundary(test, 20, 40, draw)
    assert passed <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)
    assert failed <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)


def interval_misses(seed: int, runs: int) -> tuple[int, ...]:
    """Of canary .90 and stable .95: how often an interval ever lay above, below the truth; of metric and difference."""
    gate = GateSpec(name="g", metric=Metric.F1, average=Average.MACRO, margin=0.05)
    missed = [0, 0, 0, 0]
    for run in range(runs):
        rng = np.random.default_rng((seed, run))
        course, ever = Course(a_test()), [False] * 4
        for _ in range(25):
            course.sees(arms(rng, 40, 0.90, 0.95))
            mix = [(1.0, course.before["aws"]["canary"])]
            found = metric_interval(gate, CLASSES, mix, alpha=0.05, beta=0.05)
            apart = weighed_difference(gate, course.test, course.state, alpha=0.05, beta=0.05)
            for at, (interval, truth) in enumerate(((found, 0.90), (apart, -0.05))):
                if interval is not None:
                    assert interval.lower <= interval.estimate <= interval.upper
                    ever[2 * at] |= interval.lower > truth
                    ever[2 * at + 1] |= interval.upper < truth
        missed = [count + miss for count, miss in zip(missed, ever, strict=True)]
    return tuple(missed)


def test_intervals_hold_the_truth_at_every_look():
    assert max(interval_misses(30, 30)) <= 30 * (0.05 + 3 * np.sqrt(0.05 * 0.95 / 30))


def test_an_interval_agrees_with_the_evidence_and_shows_the_estimate():
    rng = np.random.default_rng(31)
    gate = GateSpec(name="g", metric=Metric.F1, average=Average.MACRO, margin=0.05)
    course = Course(a_test())
    assert weighed_difference(gate, course.test, course.state, alpha=0.05, beta=0.05) is None
    passed = False
    for _ in range(40):
        course.sees(arms(rng, 40, 0.92, 0.92))
        apart = weighed_difference(gate, course.test, course.state, alpha=0.05, beta=0.05)
        if apart is not None:
            assert (apart.lower > -0.05) == (course.passing > NEEDED)
            passed |= apart.lower > -0.05
    assert passed
    mix = [(1.0, course.before["aws"]["canary"])]
    found = some(metric_interval(gate, CLASSES, mix, alpha=0.05, beta=0.05))
    assert found.estimate == estimate(gate, CLASSES, mix)
    assert 0.85 < found.lower < found.estimate < found.upper < 0.97
    canary, stable = (([(1.0, course.before["aws"][arm])]) for arm in ("canary", "stable"))
    pooled = some(pooled_difference(gate, CLASSES, canary, stable, alpha=0.05, beta=0.05))
    apart = some(weighed_difference(gate, course.test, course.turns().state, alpha=0.05, beta=0.05))
    assert pooled.estimate == pytest.approx(apart.estimate)
    assert apart.lower <= pooled.lower + 1e-6  # bursts, if any, widen
    assert apart.upper >= pooled.upper - 1e-6


def test_the_interval_of_a_loss_stands_in_its_own_sign():
    rng = np.random.default_rng(32)
    gate = GateSpec(name="g", metric=Metric.LOG_LOSS, ceiling=0.5, margin=0.1)
    course = Course(composite_test(gate, Kind.MARGIN, classes=CLASSES, scopes=a_test().scopes))

    def losses(mean: float) -> ArmCounts:
        x = rng.gamma(1.0, mean, 400)
        return ArmCounts(means={"g": Moments(count=400, sum=float(x.sum()), sumsq=float((x**2).sum()))})

    for _ in range(10):
        course.sees({"aws": {"canary": losses(0.35), "stable": losses(0.30)}})
    mix = [(1.0, course.before["aws"]["canary"])]
    found = some(metric_interval(gate, CLASSES, mix, alpha=0.05, beta=0.05))
    apart = some(weighed_difference(gate, course.test, course.state, alpha=0.05, beta=0.05))
    assert 0.25 < found.lower < found.estimate < found.upper < 0.45
    assert found.estimate == pytest.approx(0.35, abs=0.03)
    assert -0.1 < apart.lower < apart.estimate < apart.upper < 0.2
    assert apart.estimate == pytest.approx(0.05, abs=0.04)
    assert course.passing > 0


def test_too_few_labels_show_the_estimate_and_the_whole_span():
    gate = GateSpec(name="g", metric=Metric.F1, average=Average.MACRO, floor=0.9)
    mix = [(1.0, ArmCounts(confusion={"a": {"a": 3}, "b": {"b": 2, "a": 1}, "c": {"c": 4}}))]
    found = some(metric_interval(gate, CLASSES, mix, alpha=0.05, beta=0.05))
    assert (found.lower, found.upper) == (0.0, 1.0)
    assert found.estimate == estimate(gate, CLASSES, mix)
    assert metric_interval(gate, CLASSES, [(1.0, ArmCounts())], alpha=0.05, beta=0.05) is None


def test_a_verdict_says_what_a_smooth_metric_waits_for():
    analysis = Analysis.from_spec(
        {"gates": [{"name": "g", "metric": "f1", "average": "macro", "floor": 0.8}], "analysis": {"minSamples": 0}}
    )
    table = {a: {a: 9} for a in CLASSES}
    state = analysis.start(CLASSES, {"aws": 1.0})
    state = analysis.update(state, {"at": 0, "clusters": {"aws": {"canary": {"confusion": table}}}})
    verdict = analysis.verdict(state).gates["g"]
    assert verdict.state == "InsufficientData"
    assert "fewer than 10 matured labels of some class" in verdict.reason
    assert (verdict.estimate, verdict.lower, verdict.upper) == (1.0, 0.0, 1.0)


def test_a_boundary_canary_that_is_tried_again_and_again_keeps_one_alpha():
    analysis = Analysis.from_spec(
        {"gates": [{"name": "g", "metric": "f1", "average": "macro", "margin": 0.05}], "analysis": {"minSamples": 0}}
    )
    passed, runs = 0, 25
    state: Any
    for run in range(runs):
        rng, state, verdict = np.random.default_rng((40, run)), None, None
        for look in range(20):
            if look % 5 == 0 and verdict != "Pass":
                state = analysis.start(CLASSES, {"aws": 1.0}, resume=state)
            block = {
                arm: {"confusion": labels(rng, n, right).confusion}
                for arm, n, right in (("canary", 60, 0.90), ("stable", 120, 0.95))
            }
            state = analysis.update(state, {"at": 60.0 * look, "clusters": {"aws": block}})
            verdict = analysis.verdict(state).state
            if verdict == "Pass":
                passed += 1
                break
    assert passed / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
