"""What predictions say before labels come: expected outcomes that calibrated models keep, and answers that move."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pilotage_server.quality.drift import LEAST, WINDOW_S
from pilotage_server.quality.unlabelled import Unlabelled, decisions_of_test

CLASSES = ("cat", "dog", "eel")


class Counted:
    """The counters of one model, and a clock a test moves."""

    def __init__(self, tested=(100, 100, 100)):
        self.now = 0.0
        self.counters = Unlabelled(model="m", revision="r", classes=CLASSES, tested=tested, clock=lambda: self.now)

    def add(self, probabilities, predicted=None, *, batch=7):
        decided = probabilities.argmax(axis=1) if predicted is None else predicted
        for at in range(0, len(decided), batch):
            self.counters.add(decided[at : at + batch], probabilities[at : at + batch])

    def read(self):
        outcomes, shift = self.counters.collect()
        found = {(s.labels["class"], s.labels["outcome"]): s.value for s in outcomes.samples}
        return found, shift.samples[0].value


def rows(n, seed=1):
    return np.random.default_rng(seed).dirichlet((2.0, 1.0, 0.5), size=n)


def test_every_series_is_there_at_zero():
    found, shift = Counted().read()

    assert found == {(name, outcome): 0 for name in CLASSES for outcome in ("tp", "fp", "fn")}
    assert math.isnan(shift)


@pytest.mark.parametrize("batch", [1, 7, 5_000])
def test_expected_outcomes_are_sums_of_probabilities_however_they_were_batched(batch):
    p, counted = rows(3_000), Counted()
    decided = p.argmax(axis=1)

    counted.add(p, batch=batch)
    found, _ = counted.read()

    for index, name in enumerate(CLASSES):
        mine = decided == index
        assert found[name, "tp"] == pytest.approx(p[mine, index].sum())
        assert found[name, "fp"] == pytest.approx((1 - p[mine, index]).sum())
        assert found[name, "fn"] == pytest.approx(p[~mine, index].sum())


def test_a_calibrated_model_gets_the_outcomes_it_expects():
    p, counted = rows(20_000), Counted()
    rng = np.random.default_rng(2)
    truth = (rng.random((len(p), 1)) < p.cumsum(axis=1)).argmax(axis=1)
    decided = p.argmax(axis=1)

    counted.add(p, batch=64)
    found, _ = counted.read()

    for index, name in enumerate(CLASSES):
        expected = found[name, "tp"] / (found[name, "tp"] + found[name, "fn"])
        assert expected == pytest.approx((decided[truth == index] == index).mean(), abs=0.02)


def test_expected_counters_never_fall():
    counted, before = Counted(), None
    for seed in range(200):
        counted.add(rows(3, seed) ** 3)
        found, _ = counted.read()
        assert before is None or all(found[key] >= before[key] for key in found)
        before = found


def test_the_classes_that_were_tested_are_no_shift_and_others_are():
    counted = Counted(tested=(300, 200, 100))
    answers = np.eye(3)
    counted.add(answers[np.repeat([0, 1, 2], [300, 200, 100])])
    _, same = counted.read()
    counted.now += WINDOW_S / 2
    counted.add(answers[np.repeat([2], [5_000])])
    _, moved = counted.read()
    for _ in range(3):
        counted.now += WINDOW_S
        counted.add(answers[np.repeat([0, 1, 2], [300, 200, 100])])
        _, back = counted.read()

    assert same == pytest.approx(0, abs=1e-6)
    assert moved > 0.25
    assert back == pytest.approx(0, abs=1e-3)


def test_too_few_rows_or_an_untold_test_set_are_no_shift_and_no_reassurance():
    few, untold = Counted(), Counted(tested=None)
    few.add(rows(LEAST - 1))
    untold.add(rows(LEAST))

    assert math.isnan(few.read()[1])
    assert math.isnan(untold.read()[1])


@pytest.mark.parametrize(
    ("baseline", "decisions"),
    [
        ({"confusion": [[5, 1], [2, 7]]}, [7, 8]),
        ({}, None),
        ({"confusion": [[5, 1, 0], [2, 7, 0], [0, 0, 1]]}, None),
        ({"confusion": "many"}, None),
        ({"confusion": [5, 7]}, None),
        ({"confusion": [["5", 1], [2, None]]}, None),
    ],
)
def test_the_test_sets_decisions_are_the_columns_of_its_matrix(baseline, decisions):
    assert decisions_of_test(baseline, 2) == decisions
