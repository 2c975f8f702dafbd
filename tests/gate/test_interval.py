"""The interval to show, against a direct profile likelihood with scipy, and against what it promises."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binom

from pilotage.gate.counts import Counts
from pilotage.gate.grids import fail_grid, pass_grid
from pilotage.gate.interval import interval

SCALE = 0.02


def bounds(s: list[int], n: list[int], a: list[float], span: tuple[float, float] = (-1.0, 1.0)):
    return interval(
        Counts.of(s, n),
        a,
        below=pass_grid(SCALE),
        above=fail_grid(SCALE),
        alpha=0.05,
        beta=0.05,
        span=span,
    )


def profile(s: list[int], n: list[int], difference: float) -> float:
    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    best = minimize_scalar(
        lambda p: -(binom.logpmf(s[0], n[0], p + difference) + binom.logpmf(s[1], n[1], p)),
        bounds=(low + 1e-9, high - 1e-9),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return -float(best.fun)


def reference_lower(s: list[int], n: list[int]) -> float:
    def evidence(value: float) -> float:
        here = profile(s, n, value)
        return log(
            sum(w * exp(min(profile(s, n, min(value + d, 1.0)) - here, 700.0)) for d, w in pass_grid(SCALE))
        ) - log(20)

    return float(brentq(evidence, -0.95, s[0] / n[0] - s[1] / n[1]))


@pytest.mark.parametrize(
    ("s", "n"), [([90, 180], [100, 200]), ([990, 1950], [1000, 2000]), ([37, 95], [50, 100]), ([480, 300], [500, 500])]
)
def test_the_lower_bound_is_that_of_the_profile_likelihood(s, n):
    assert bounds(s, n, [1.0, -1.0]).lower == pytest.approx(reference_lower(s, n), abs=2e-4)


def test_one_proportion_without_errors_has_a_closed_form():
    """All 60 right: the lower end solves sum w_j ((x + d_j)/x)^60 = 20 by itself."""
    grid = [(d, w) for d, w in pass_grid(SCALE)]

    def evidence(x: float) -> float:
        return log(sum(w * (min(x + d, 1.0) / x) ** 60 for d, w in grid if x + d <= 1)) - log(20)

    found = bounds([60], [60], [1.0], (0.0, 1.0))
    assert (found.estimate, found.upper) == (1.0, 1.0)
    assert evidence(found.lower) == pytest.approx(0.0, abs=0.35)  # the grid's steps meet the edge at 1 here
    assert 0.85 < found.lower < 0.97


def test_more_labels_give_a_shorter_interval_around_the_estimate():
    short, long = bounds([900, 1800], [1000, 2000], [1.0, -1.0]), bounds([90, 180], [100, 200], [1.0, -1.0])
    assert long.lower < short.lower < short.estimate < short.upper < long.upper


def test_without_labels_in_a_stratum_there_is_no_interval():
    assert bounds([5, 0], [5, 0], [0.5, 0.5]) is None


def test_two_halves_of_a_cluster_say_what_the_whole_says():
    """Strata with equal rates and matching weights carry the same information as their sum."""
    whole, halves = bounds([160], [200], [1.0], (0.0, 1.0)), bounds([80, 80], [100, 100], [0.5, 0.5], (0.0, 1.0))
    assert halves.lower == pytest.approx(whole.lower, abs=1e-4)
    assert halves.upper == pytest.approx(whole.upper, abs=1e-4)


def test_the_true_difference_is_rarely_left_at_any_look():
    """150 rollouts, 20 looks each, equal arms: misses on either side stay below the simulated 4 % and some luck."""
    rng = np.random.default_rng(11)
    missed_below = missed_above = 0
    for _ in range(150):
        s, n = np.zeros(2, dtype=int), np.zeros(2, dtype=int)
        below = above = False
        for _ in range(20):
            n += (20, 60)
            s += rng.binomial((20, 60), 0.9)
            found = bounds(s.tolist(), n.tolist(), [1.0, -1.0])
            below, above = below or found.lower > 0, above or found.upper < 0
        missed_below, missed_above = missed_below + below, missed_above + above
    assert missed_below / 150 <= 0.065
    assert missed_above / 150 <= 0.065


strata = st.lists(
    st.tuples(st.integers(1, 200_000), st.floats(0, 1), st.sampled_from([-1.0, -0.01, 0.1, 0.9, 1.0])),
    min_size=1,
    max_size=8,
)


@given(strata=strata)
@settings(deadline=None, max_examples=80)
def test_any_counts_have_an_interval_around_their_estimate(strata):
    n = [trials for trials, _, _ in strata]
    s = [round(trials * share) for trials, share, _ in strata]
    found = bounds(s, n, [a for _, _, a in strata], (-10.0, 10.0))
    assert -10 <= found.lower <= found.estimate <= found.upper <= 10
