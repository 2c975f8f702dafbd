"""What a wave's start says about its gates: can an equal canary be proved good enough by the deadline?"""

from typing import Any

import pytest

from pilotage.gate import Analysis
from pilotage.gate.engine import Kind
from pilotage.gate.outlook import Outlook
from pilotage.gate.provable import Pace, outlooks, unprovable

CLASSES = ["a", "b"]
HISTORY = {"aws": [{"confusion": {"a": {"a": 540, "b": 60}, "b": {"b": 580, "a": 20}}}]}
DAY = 86_400.0


def about(
    *gates: dict[str, Any], weights: tuple[float, ...] = (0.1,), days: float = 1.0, **more: Any
) -> tuple[Outlook, ...]:
    named = [{"name": f"gate-{i}"} | gate for i, gate in enumerate(gates)]
    return outlooks(
        Analysis.from_spec({"gates": named, "analysis": {}}),
        classes=CLASSES,
        shares=more.get("shares", {"aws": 1.0}),
        history=more.get("history", HISTORY),
        pace=Pace(history_s=3600.0, weights=weights, max_duration_s=days * DAY),
    )


RECALL = {"metric": "recall", "class": "a"}


def test_labels_are_those_of_the_specification():
    """statistics.md §8: at .9 and 10:90 a margin of one point takes 7,200 canary labels, two points 1,800."""
    for margin, labels in ((0.01, 7200), (0.02, 1800)):
        (outlook,) = about(RECALL | {"margin": margin})
        assert outlook.labels == pytest.approx(labels, rel=0.12)


def test_a_margin_that_cannot_be_proved_in_time_says_what_can():
    (outlook,) = about(RECALL | {"margin": 0.005})
    assert not outlook.in_time
    assert outlook.labels_per_hour == pytest.approx(60)
    assert str(outlook).startswith(
        "gate-0: margin 0.005 needs about 29,000 labels of the canary; at 60 an hour that is 20 days"
    )
    assert ", later than maxDuration 24 h; smallest provable margin by then: 0.02" in str(outlook)
    (better,) = about(RECALL | {"margin": outlook.provable})
    assert better.takes_s == pytest.approx(DAY, rel=0.02)


def test_a_margin_that_can_be_proved_says_nothing():
    found = about(RECALL | {"margin": 0.05})
    assert found[0].in_time
    assert found[0].provable is None
    assert unprovable(found) == ""
    assert "within maxDuration 24 h" in str(found[0])


def test_of_a_floor_and_a_margin_the_slower_counts():
    (outlook,) = about(RECALL | {"floor": 0.895, "margin": 0.05})
    assert outlook.kind is Kind.FLOOR
    assert "highest provable floor by then: 0.8" in unprovable([outlook])


def test_a_floor_above_stable_is_out_of_reach_whatever_the_time():
    (outlook,) = about(RECALL | {"floor": 0.95})
    assert str(outlook).startswith(
        "gate-0: floor 0.95 is out of reach of a canary equal to stable, whose recall[a] is 0.900"
    )
    assert outlook.provable == pytest.approx(0.88, abs=0.01)


def test_a_margin_of_zero_is_out_of_reach():
    (outlook,) = about(RECALL | {"margin": 0.0})
    assert outlook.labels == float("inf")
    assert outlook.provable == pytest.approx(0.02, abs=0.004)


def test_smooth_metrics_are_asked_the_same_way():
    one, macro = about(
        {"metric": "f1", "class": "a", "margin": 0.02}, {"metric": "f1", "average": "macro", "margin": 0.02}
    )
    assert 500 < one.labels < 3000
    assert 500 < macro.labels < 3000


def test_losses_have_ceilings():
    history = {"aws": [{"proportions": {"gate-0": {"successes": 9_900, "trials": 10_000}}}]}
    (outlook,) = about({"metric": "errorRate", "ceiling": 0.0115}, history=history, days=0.1)
    assert "ceiling 0.0115 needs about" in str(outlook)
    assert "lowest provable ceiling by then: 0.01" in str(outlook)


def test_guards_and_advisory_gates_need_no_proof():
    assert about({"metric": "predictionShift", "margin": 0.05}, RECALL | {"margin": 0.01, "mode": "Advisory"}) == ()


def test_no_labels_no_promise():
    (outlook,) = about(RECALL | {"margin": 0.02}, history={"aws": [{"confusion": {"b": {"b": 50}}}]})
    assert str(outlook) == (
        "gate-0: margin 0.02 cannot be proved: stable's history has no recall[a]; send labels, or change the gate"
    )


def test_without_requests_for_stable_nothing_can_be_compared():
    (outlook,) = about(RECALL | {"margin": 0.02}, weights=(1.0,))
    assert outlook.provable is None
    assert "give both arms a share of the requests" in str(outlook)


def test_earlier_steps_bring_labels_but_cost_time():
    (late,), (soon,) = (
        about(RECALL | {"margin": 0.02}, weights=(0.01, 0.5)),
        about(RECALL | {"margin": 0.02}, weights=(0.5,)),
    )
    assert late.takes_s > soon.takes_s
    assert late.takes_s - soon.takes_s < 3600 * 100 / (600 * 0.01)


def test_clusters_share_the_labels():
    history = {"aws": HISTORY["aws"], "gcp": HISTORY["aws"]}
    (outlook,) = about(RECALL | {"margin": 0.02}, shares={"aws": 1.0, "gcp": 1.0}, history=history)
    assert outlook.labels_per_hour == pytest.approx(120)
    assert outlook.labels == pytest.approx(1800, rel=0.12)
