"""How bursty the labels of a smooth metric are, seen from batch to batch of a growing stratum."""

import numpy as np
import pytest

from pilotage.gate.clumps import NO_CLUMPS, Clumps


def watched(batches: np.ndarray, sizes: np.ndarray, variance_per_label: float) -> Clumps:
    """Batches of labels, one after another."""
    clumps = NO_CLUMPS
    for value, size in zip(batches, sizes, strict=True):
        clumps = clumps.after(value, variance_per_label / size)
    return clumps


def factor(clumps: Clumps) -> float:
    return clumps.factor(4)


def coins(seed: int, batches: int, *, bursts: float = 0.0, drift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Right answers in batches of 30 to 60 labels; ``bursts``: standard deviation of a batch's own rate."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(30, 60, batches)
    rates = 0.8 + drift * np.sin(np.linspace(0, np.pi, batches)) + bursts * rng.standard_normal(batches)
    return rng.binomial(sizes, np.clip(rates, 0, 1)) / sizes, sizes


def test_independent_labels_are_worth_what_they_are():
    factors = [factor(watched(*coins(seed, 60), 0.16)) for seed in range(40)]
    assert np.mean(factors) < 1.12
    assert min(factors) == 1.0


def test_a_slow_drift_is_no_burst():
    assert np.mean([factor(watched(*coins(seed, 60, drift=0.1), 0.16)) for seed in range(40)]) < 1.15


def test_bursts_make_labels_worth_less():
    """A rate that moves by .08 from batch to batch adds .0064 to a variance of .16/45: 2.8 times, jumps cut 2.5"""
    factors = [factor(watched(*coins(seed, 60, bursts=0.08), 0.16)) for seed in range(40)]
    assert np.mean(factors) == pytest.approx(2.5, rel=0.2)


def test_a_few_batches_say_little():
    assert factor(NO_CLUMPS) == 1.0
    one = watched(np.array([0.9]), np.array([50]), 0.16)
    assert factor(one) == 1.0
    assert one.paused == NO_CLUMPS


def test_a_canary_that_breaks_once_does_not_pass_for_a_bursty_one():
    means, sizes = coins(2, 30)
    means[20:] -= 0.5
    assert factor(watched(means, sizes, 0.16)) < 1.5


def test_batches_of_different_strata_are_not_compared():
    clumps = watched(*coins(1, 20), 0.16)
    after = clumps.paused.after(5.0, 0.01)
    assert factor(after) == factor(clumps)
    assert Clumps.from_list(after.to_list()) == after
