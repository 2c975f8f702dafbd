"""The label budget against the table of statistics.md §8, and the demo's plan against its seeds."""

import math

import pytest

from benchmarks.demo_seeds import Rollout
from demo import plan
from pilotage.gate import Analysis
from pilotage.gate.planning import label_budget


def needs(gate: dict[str, object], canary: float, stable: float, weight: float) -> tuple[str, float]:
    """Verdict and labels for an accuracy gate over two classes in one cluster."""
    analysis = Analysis.from_spec({"gates": [{"name": "g", "metric": "accuracy", **gate}]})
    (need,) = label_budget(
        analysis,
        classes=["0", "1"],
        shares={"aws": 1.0},
        canary={"1": {"1": canary, "0": 1 - canary}},
        stable={"1": {"1": stable, "0": 1 - stable}},
        canary_weight=weight,
    )
    return need.verdict, need.labels


@pytest.mark.parametrize(
    ("canary", "stable", "weight", "limit"),
    [
        (0.90, 0.90, 0.1, 6273),
        (0.92, 0.90, 0.1, 652),
        (0.90, 0.90, 0.5, 10794),
        (0.98, 0.98, 0.1, 1644),
    ],
)
def test_passing_costs_a_fifth_more_than_walds_limit(canary, stable, weight, limit):
    found, labels = needs({"margin": 0.01}, canary, stable, weight)
    assert found == "Pass"
    assert labels == pytest.approx(1.2 * limit, rel=0.01)


@pytest.mark.parametrize(("canary", "limit"), [(0.88, 6650), (0.80, 98), (0.50, 7)])
def test_failing_costs_half_more_and_pays_for_the_later_starts(canary, limit):
    found, labels = needs({"margin": 0.01}, canary, 0.90, 0.1)
    assert found == "Fail"
    assert labels == pytest.approx(1.5 * limit * math.log(20 / 0.75) / math.log(20), rel=0.08)


def test_on_the_boundary_no_number_of_labels_decides():
    assert needs({"floor": 0.9}, 0.9, 0.9, 0.5)[1] == math.inf


def test_labels_of_one_class_and_labels_in_all_are_told_apart():
    analysis = Analysis.from_spec({"gates": [{"name": "g", "metric": "recall", "class": "1", "floor": 0.8}]})
    rates = {"1": {"1": 9.0, "0": 1.0}, "0": {"0": 30.0}}
    (need,) = label_budget(
        analysis, classes=["0", "1"], shares={"aws": 1, "gcp": 3}, canary=rates, stable=rates, canary_weight=0.5
    )
    assert need.canary == 0.9
    assert need.all_labels == pytest.approx(4 * need.labels)


EQUAL = {"1": {"1": 0.09, "0": 0.01}, "0": {"0": 0.855, "1": 0.045}}
HALF_AS_WRONG = {"1": {"1": 0.095, "0": 0.005}, "0": {"0": 0.8775, "1": 0.0225}}
TWICE_AS_WRONG = {"1": {"1": 0.08, "0": 0.02}, "0": {"0": 0.81, "1": 0.09}}


@pytest.mark.parametrize(
    ("gate", "canary", "verdict", "simulated"),
    [
        (
            {"metric": "expectedCost", "costs": {"1": {"0": 10}, "0": {"1": 1}}, "ceiling": 0.145},
            HALF_AS_WRONG,
            "Pass",
            1733,
        ),
        (
            {"metric": "expectedCost", "costs": {"1": {"0": 10}, "0": {"1": 1}}, "ceiling": 0.145},
            TWICE_AS_WRONG,
            "Fail",
            602,
        ),
        ({"metric": "fBeta", "beta": 2, "class": "1", "floor": 0.7}, EQUAL, "Pass", 494),
        ({"metric": "fBeta", "beta": 2, "class": "1", "floor": 0.85}, TWICE_AS_WRONG, "Fail", 312),
        ({"metric": "f1", "class": "1", "floor": 0.7}, EQUAL, "Pass", 2124),
        ({"metric": "f1", "class": "1", "margin": 0.05}, EQUAL, "Pass", 4630),
        ({"metric": "f1", "class": "1", "margin": 0.05}, TWICE_AS_WRONG, "Fail", 1070),
    ],
)
def test_every_exact_family_has_a_budget_near_what_simulation_needs(gate, canary, verdict, simulated):
    """Mean canary labels of forty simulated rollouts each, a third of the traffic on the canary."""
    analysis = Analysis.from_spec({"gates": [{"name": "g", **gate}]})
    (need,) = label_budget(
        analysis, classes=["0", "1"], shares={"aws": 1.0}, canary=canary, stable=EQUAL, canary_weight=1 / 3
    )
    assert need.verdict == verdict
    assert need.all_labels == pytest.approx(simulated, rel=0.22)


def test_requests_have_a_budget_too():
    analysis = Analysis.from_spec({"gates": [{"name": "g", "metric": "errorRate", "ceiling": 0.02}]})
    (need,) = label_budget(
        analysis,
        classes=["0", "1"],
        shares={"aws": 1.0},
        canary=EQUAL,
        stable=EQUAL,
        canary_weight=0.5,
        requests={"g": (0.99, 0.99)},
    )
    assert need.verdict == "Pass"
    assert need.canary == pytest.approx(0.01)
    assert need.labels == need.all_labels == pytest.approx(1.2 * math.log(20) / 0.00312, rel=0.02)


def test_the_demos_plan_keeps_defaults_and_small_margins():
    settings = Analysis.from_spec({"gates": list(plan.GATES), "analysis": dict(plan.ANALYSIS)}).settings
    assert (settings.alpha, settings.beta, settings.min_samples) == (0.05, 0.05, 100)
    assert all(gate["margin"] <= 0.05 for gate in plan.GATES)
    assert sum(plan.CLASS_MIX.values()) == pytest.approx(1)
    assert max(plan.DELAY_BY_CLASS_S.values()) < plan.LABEL_DELAY_S - 1
    assert sum(plan.REQUESTS_PER_S.values()) <= 500


def test_the_expected_confusion_follows_the_traffics_mix():
    for version in plan.HELD_BACK:
        table = plan.expected_confusion(version)
        assert {actual: sum(row.values()) for actual, row in table.items()} == pytest.approx(dict(plan.CLASS_MIX))


@pytest.mark.parametrize("seed", range(3))
def test_the_demos_decisions_are_the_planned_ones(seed):
    good, bad = Rollout(canary="v2", stable="v1", seed=seed).run(), Rollout(canary="v3", stable="v2", seed=seed).run()
    assert (good.outcome, bad.outcome) == ("Promoted", "RolledBack")
    assert max(good.step_data_s) <= 10
    assert sum(bad.step_data_s) <= 10
