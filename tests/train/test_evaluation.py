"""Reported quality equals what scikit-learn and SciPy say, and 0/0 stays undefined."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from pilotage_server.train.evaluate.metrics import Answers, evaluate
from pilotage_server.train.evaluate.resample import wilson

pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


def evaluated(rows: list[tuple[int, int]]) -> dict[str, object]:
    actual, predicted = (np.array(column) for column in zip(*rows, strict=True))
    probabilities = np.full((len(rows), 3), 1 / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class that no draw holds
        answers = Answers(actual=actual, predicted=predicted, probabilities=probabilities, classes=("a", "b", "c"))
        return evaluate(answers, seed=1, draws=200)


@settings(deadline=None)
@given(pairs)
def test_counts_and_metrics_equal_scikit_learn(rows: list[tuple[int, int]]) -> None:
    actual, predicted = zip(*rows, strict=True)
    precision, recall, f1, support = precision_recall_fscore_support(
        actual, predicted, labels=[0, 1, 2], zero_division=np.nan
    )

    found = evaluated(rows)

    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(actual, predicted))  # type: ignore[index]
    for i, label in enumerate("abc"):
        of_class = found["perClass"][label]  # type: ignore[index]
        assert of_class["support"] == support[i]
        for name, expected in (("precision", precision[i]), ("recall", recall[i])):
            value = of_class[name]["value"]
            assert (value is None) if np.isnan(expected) else value == pytest.approx(expected)
        if support[i] and not np.isnan(precision[i]):
            assert of_class["f1"]["value"] == pytest.approx(f1[i])


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 300))
def test_wilson_equals_scipy(hits: int, trials: int) -> None:
    expected = binomtest(min(hits, trials), trials).proportion_ci(0.95, method="wilson")

    assert wilson(min(hits, trials), trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_class_nobody_predicted_has_no_precision() -> None:
    found = evaluated([(0, 0), (1, 0), (2, 2)])

    assert found["perClass"]["b"]["precision"] == {"value": None, "low": None, "high": None, "n": 0}  # type: ignore[index]
    assert wilson(0, 0) is None
