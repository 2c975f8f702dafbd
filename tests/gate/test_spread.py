"""How bursty labels are, seen from batch to batch."""

import numpy as np
import pytest

from pilotage.gate.smooth import Distance
from pilotage.gate.spread import NO_SPREAD, Spread


def watched(batches: np.ndarray, sizes: np.ndarray, variance_per_label: float) -> Spread:
    """Means of batches of labels, seen as a growing stratum."""
    spread, counted, before = NO_SPREAD, 0, 0.0
    for value, size in zip(batches, sizes, strict=True):
        labels = counted + int(size)
        now = (before * counted + value * size) / labels
        distance = Distance(value=now, variance=variance_per_label / labels)
        spread = spread.after(distance, labels, before=before, counted=counted)
        counted, before = labels, now
    return spread


def coins(seed: int, batches: int, *, bursts: float = 0.0, drift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Right answers in batches of 30 to 60 labels; ``bursts``: standard deviation of a batch's own rate."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(30, 60, batches)
    rates = 0.8 + drift * np.sin(np.linspace(0, np.pi, batches)) + bursts * rng.standard_normal(batches)
    return rng.binomial(sizes, np.clip(rates, 0, 1)) / sizes, sizes


def test_independent_labels_are_worth_what_they_are():
    factors = [watched(*coins(seed, 60), 0.16).factor for seed in range(40)]
    assert np.mean(factors) < 1.12
    assert min(factors) == 1.0


def test_a_slow_drift_is_no_burst():
    assert np.mean([watched(*coins(seed, 60, drift=0.1), 0.16).factor for seed in range(40)]) < 1.15


def test_bursts_make_labels_worth_less():
    """A rate that moves by .08 from batch to batch adds .0064 to a variance of .16/45: 2.8 times, jumps cut 2.5"""
    factors = [watched(*coins(seed, 60, bursts=0.08), 0.16).factor for seed in range(40)]
    assert np.mean(factors) == pytest.approx(2.5, rel=0.2)


def test_a_few_batches_say_little():
    assert NO_SPREAD.factor == 1.0
    one = watched(np.array([0.9]), np.array([50]), 0.16)
    assert one.factor == 1.0
    assert one.paused == NO_SPREAD


def test_a_canary_that_breaks_once_does_not_pass_for_a_bursty_one():
    means, sizes = coins(2, 30)
    means[20:] -= 0.5
    assert watched(means, sizes, 0.16).factor < 1.5


def test_batches_of_different_strata_are_not_compared():
    spread = watched(*coins(1, 20), 0.16)
    after = spread.paused.after(Distance(value=5.0, variance=1.0), 100, before=0.0, counted=0)
    assert after.factor == spread.factor
    assert Spread.from_list(after.to_list()) == after
