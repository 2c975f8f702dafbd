"""A threshold is found out of fold and does what was asked; costs become the rule of least expected cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage_server.bundle.decision import Argmax, LeastCost, Threshold
from pilotage_server.train.config import ConfigError, DecisionRule
from pilotage_server.train.search.decision import Curve, cost_matrix, decide, least_cost

CLASSES = ("no", "yes")
SCORES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
LABELS = np.array([0, 0, 1, 0, 0, 1, 1, 1])
PAIRS = (LABELS, np.column_stack([1 - SCORES, SCORES]))


def found(**rule: object) -> Threshold:
    decision = decide(DecisionRule(rule="threshold", label="yes", **rule), CLASSES, None, PAIRS)  # type: ignore[arg-type]
    assert isinstance(decision, Threshold)
    return decision


def test_the_middle_between_two_scores_is_the_threshold() -> None:
    assert found(choose="accuracy").value == pytest.approx(0.55)


def test_the_most_recall_at_a_precision_and_the_most_precision_at_a_recall() -> None:
    assert found(min_precision=1.0).value == pytest.approx(0.55)
    assert found(min_precision=0.6).value == pytest.approx(0.25)
    assert found(min_recall=1.0).value == pytest.approx(0.25)


def test_out_of_reach_says_how_far() -> None:
    flat = (LABELS, np.full((8, 2), 0.5))
    with pytest.raises(ConfigError, match=r"decision\.minPrecision: 0\.9 is out of reach \(best out of fold: 0\.500\)"):
        decide(DecisionRule(rule="threshold", label="yes", min_precision=0.9), CLASSES, None, flat)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.floats(0.01, 0.99))
def test_a_least_cost_rule_of_two_classes_is_a_threshold_of_the_same_answers(miss: int, alarm: int, p: float) -> None:
    costs = np.array([[0.0, alarm], [miss, 0.0]])
    threshold = least_cost(costs)
    direct = LeastCost(costs=tuple(map(tuple, costs)))
    row = np.array([[1 - p, p]])
    assert isinstance(threshold, Threshold)
    if abs(p - threshold.value) > 1e-9:
        assert threshold.decide(row)[0] == direct.decide(row)[0]


def test_three_classes_with_costs_get_the_row_of_least_cost() -> None:
    costs = cost_matrix({"a": {"b": 10.0, "c": 9.0}, "b": {"a": 1.0, "c": 9.0}, "c": {"a": 1.0}}, ("a", "b", "c"))
    assert costs is not None
    rule = least_cost(costs)

    assert isinstance(rule, LeastCost)
    assert rule.decide(np.array([[0.15, 0.8, 0.05]])).tolist() == [0]
    assert Argmax().decide(np.array([[0.15, 0.8, 0.05]])).tolist() == [1]


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"x": {"no": 1.0}}, "costs: 'x' is no class"),
        ({"no": {"yes": 0.0}}, "costs: every cost is 0"),
    ],
)
def test_costs_that_say_nothing_are_refused(costs: dict[str, dict[str, float]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cost_matrix(costs, CLASSES)


def test_the_curve_counts_every_threshold() -> None:
    curve = Curve.of(SCORES, LABELS == 1)

    assert curve.recall.tolist() == [0.25, 0.5, 0.75, 0.75, 0.75, 1.0, 1.0, 1.0]
    assert curve.precision[2] == 1.0
