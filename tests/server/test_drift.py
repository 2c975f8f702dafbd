"""Drift is measured against training, over what was asked lately, and only where there is enough of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from pilotage_server.quality.drift import LEAST, WINDOW_S, Drift, js, ks, psi
from pilotage_server.quality.reference import FeatureBins

counts = st.lists(st.integers(0, 1_000), min_size=4, max_size=4).filter(any).map(np.array)
AGE = FeatureBins(feature="age", edges=(30.0, 60.0), counts=(100, 200, 100))


@given(counts, st.integers(1, 9))
def test_the_same_shares_are_no_drift(found: np.ndarray, times: int) -> None:
    assert ks(found, found * times) == pytest.approx(0)
    assert psi(found * 1_000, found * 1_000 * times) == pytest.approx(0, abs=1e-4)


@given(counts, counts)
def test_drift_is_symmetric_and_ks_is_the_one_everybody_knows(one: np.ndarray, other: np.ndarray) -> None:
    assert psi(one, other) == pytest.approx(psi(other, one))
    values = np.arange(4)
    assert ks(one, other) == pytest.approx(ks_2samp(values.repeat(one), values.repeat(other)).statistic)
    assert js(one, other) == pytest.approx(jensenshannon(one + 0.5, other + 0.5, base=2), abs=1e-6)


class Counted:
    """Counts and a clock a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.counts = [np.zeros(3, dtype=np.int64)]
        self.drift = Drift(
            model="m", revision="r", reference=[AGE], counts=lambda: [self.counts[0].copy()], clock=lambda: self.now
        )

    def after(self, seconds: float, *rows: int) -> Mapping[str, float]:
        self.now += seconds
        self.counts[0] += rows
        return {family.name: family.samples[0].value for family in self.drift.collect()}


def test_too_few_rows_are_neither_drift_nor_reassurance() -> None:
    assert all(math.isnan(value) for value in Counted().after(1.0, LEAST - 1, 0, 0).values())


def test_what_moved_away_shows_and_what_came_back_is_forgotten() -> None:
    world = Counted()
    moved = world.after(1.0, 0, 0, 1_000)
    world.after(60.0, 0, 0, 1_000)
    back = world.after(WINDOW_S + 60.0, 250, 500, 250)

    assert moved["model_feature_psi"] > 0.25
    assert moved["model_feature_ks"] == pytest.approx(0.75)
    assert back["model_feature_ks"] == pytest.approx(0)
