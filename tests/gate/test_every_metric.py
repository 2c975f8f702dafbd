"""Every metric through the public surface: a good canary passes, a bad one fails, both told in its own units."""

import json
from typing import Any

import pytest

from pilotage.gate import Analysis, GateSpecError, State, Verdict

CLASSES = ["ok", "fraud"]
COSTS = {"fraud": {"ok": 10}, "ok": {"fraud": 1}}


def confusion(recall: float, specificity: float, n: int) -> dict[str, Any]:
    """n labels, every fifth fraud."""
    frauds, others = n // 5, n - n // 5
    caught, cleared = round(recall * frauds), round(specificity * others)
    return {"fraud": {"fraud": caught, "ok": frauds - caught}, "ok": {"ok": cleared, "fraud": others - cleared}}


GOOD, BAD = (0.95, 0.98), (0.5, 0.8)
CONFUSION_GATES = [
    {"metric": "accuracy", "floor": 0.9, "margin": 0.03},
    {"metric": "balancedAccuracy", "floor": 0.9, "margin": 0.05},
    {"metric": "recall", "class": "fraud", "floor": 0.85, "margin": 0.08},
    {"metric": "precision", "class": "fraud", "floor": 0.8, "margin": 0.08},
    {"metric": "specificity", "class": "fraud", "floor": 0.92, "margin": 0.04},
    {"metric": "specificity", "average": "macro", "floor": 0.9, "margin": 0.05},
    {"metric": "specificity", "average": "micro", "floor": 0.9, "margin": 0.04},
    {"metric": "f1", "class": "fraud", "floor": 0.8, "margin": 0.08},
    {"metric": "f1", "average": "micro", "floor": 0.9, "margin": 0.04},
    {"metric": "f1", "average": "macro", "floor": 0.85, "margin": 0.08},
    {"metric": "fBeta", "beta": 2, "class": "fraud", "floor": 0.8, "margin": 0.08},
    {"metric": "expectedCost", "costs": COSTS, "ceiling": 0.4, "margin": 0.2},
]


def fed(
    analysis: Analysis, blocks: int, arms: dict[str, Any], clusters: tuple[str, ...] = ("aws",), **how: Any
) -> State:
    state = analysis.start(CLASSES, dict.fromkeys(clusters, 1.0), **how)
    for look in range(blocks):
        block = {"at": 60.0 * look, "clusters": dict.fromkeys(clusters, arms)}
        state = analysis.update(json.loads(json.dumps(state)), block)
    return state


def judged(
    gate: dict[str, Any], arms: dict[str, Any], *, clusters: tuple[str, ...] = ("aws",), blocks: int = 16
) -> Verdict:
    analysis = Analysis.from_spec({"gates": [{"name": "g", **gate}], "analysis": {"minSamples": 0}})
    return analysis.verdict(fed(analysis, blocks, arms, clusters))


def named(gate: dict[str, Any]) -> str:
    return f"{gate['metric']}-{gate.get('class', gate.get('average', ''))}"


@pytest.mark.parametrize("clusters", [("aws",), ("aws", "gcp")], ids=["one", "two"])
@pytest.mark.parametrize("gate", CONFUSION_GATES, ids=named)
def test_a_good_canary_passes_and_a_bad_one_fails(gate, clusters):
    stable = {"confusion": confusion(*GOOD, 400)}
    good = judged(gate, {"stable": stable, "canary": {"confusion": confusion(*GOOD, 200)}}, clusters=clusters)
    told = good.gates["g"]
    assert (good.state, good.reason) == ("Pass", "every gate passes")
    assert told.lower is not None
    assert told.upper is not None
    assert told.estimate is not None
    assert told.lower <= told.estimate <= told.upper
    assert told.difference is not None
    assert told.difference["lower"] <= told.difference["estimate"] <= told.difference["upper"]
    if "ceiling" in gate:
        assert told.upper <= gate["ceiling"]
        assert told.difference["upper"] <= gate["margin"]
    else:
        assert told.lower >= gate["floor"]
        assert told.difference["lower"] >= -gate["margin"]
    bad = judged(gate, {"stable": stable, "canary": {"confusion": confusion(*BAD, 200)}}, clusters=clusters)
    assert bad.state == "Fail"
    assert bad.fail_weight >= 20


@pytest.mark.parametrize("limit", [{"ceiling": 0.02}, {"margin": 0.01}, {"ceiling": 0.02, "margin": 0.01}], ids=str)
def test_an_error_rate_has_a_ceiling_and_may_be_that_much_larger(limit):
    def arm(errors: int) -> dict[str, Any]:
        return {"proportions": {"g": {"successes": 2000 - errors, "trials": 2000}}}

    gate = {"metric": "errorRate", **limit}
    good = judged(gate, {"canary": arm(10), "stable": arm(10)})
    assert good.state == "Pass"
    assert good.gates["g"].estimate == pytest.approx(0.005)
    if "margin" in limit:
        assert good.gates["g"].difference is not None
        assert good.gates["g"].difference["upper"] <= 0.01
    bad = judged(gate, {"canary": arm(100), "stable": arm(10)})
    assert bad.state == "Fail"
    assert bad.reason in (
        "g: errorRate 0.050 in aws is above the ceiling 0.02 (2000 requests)",
        "g: errorRate 0.050 in aws is more than 0.01 above stable's 0.005 (2000 requests)",
    )


def test_latency_is_the_share_of_requests_under_the_bound():
    gate = {"metric": "latency", "bound": "250ms", "floor": 0.95}
    slow = {"canary": {"proportions": {"g": {"successes": 900, "trials": 1000}}}}
    quick = {"canary": {"proportions": {"g": {"successes": 990, "trials": 1000}}}}
    assert judged(gate, quick).state == "Pass"
    assert judged(gate, slow).state == "Fail"


def test_an_expected_cost_is_told_in_its_units():
    arms = {"canary": {"confusion": confusion(*BAD, 200)}, "stable": {"confusion": confusion(*GOOD, 400)}}
    verdict = judged({"metric": "expectedCost", "costs": COSTS, "ceiling": 0.4}, arms)
    assert verdict.reason == "g: expectedCost 1.160 in aws is above the ceiling 0.4 (200 labels)"


def test_pairs_need_a_fraction_of_the_labels_of_two_arms():
    gate = {"metric": "accuracy", "margin": 0.02}
    same, apart = {"n11": 1760, "n10": 40, "n01": 40, "n00": 160}, confusion(0.9, 0.9, 2000)
    paired = judged(gate, {"canary": {"pairs": {"": same}}}, blocks=1)
    assert paired.state == "Pass"
    assert paired.gates["g"].labels == {"canary": {"aws": 2000}, "stable": {"aws": 2000}}
    assert paired.gates["g"].estimate == pytest.approx(0.9)
    assert judged(gate, {"canary": {"confusion": apart}, "stable": {"confusion": apart}}, blocks=1).state != "Pass"
    worse = {"n11": 850, "n10": 10, "n01": 60, "n00": 80}
    assert judged(gate, {"canary": {"pairs": {"": worse}}}, blocks=1).state == "Fail"


def test_a_label_in_a_pair_does_not_count_again_alone():
    """Who mirrors traffic hands in pairs and both arms' confusion counts of the same labels."""
    gate = {"metric": "accuracy", "margin": 0.02}
    pairs = {"pairs": {"": {"n11": 88, "n10": 2, "n01": 2, "n00": 8}}}
    both = {"confusion": confusion(0.9, 0.9, 100)}
    alone, with_labels = judged(gate, {"canary": pairs}), judged(gate, {"canary": pairs | both, "stable": both})
    assert alone.gates["g"].log_e_pass == with_labels.gates["g"].log_e_pass > 0


def test_audit_gates_count_audited_labels_only():
    """Labels of everybody flatter: only doubtful rows of stable were labelled. The audited ones tell the truth."""
    gate = {"metric": "accuracy", "floor": 0.9, "labels": "audit"}
    arm = {"confusion": confusion(1.0, 1.0, 500), "audit": confusion(0.7, 0.7, 100)}
    verdict = judged(gate, {"canary": arm}, blocks=1)
    assert (verdict.state, verdict.gates["g"].labels["canary"]["aws"]) == ("Fail", 100)


def test_an_advisory_gate_reports_and_decides_nothing():
    strict = {"name": "hoped", "metric": "accuracy", "floor": 0.999, "mode": "Advisory"}
    needed = {"name": "needed", "metric": "accuracy", "floor": 0.9}
    arms = {"canary": {"confusion": confusion(*GOOD, 200)}}
    alone = Analysis.from_spec({"gates": [needed], "analysis": {"minSamples": 0}})
    both = Analysis.from_spec({"gates": [needed, strict], "analysis": {"minSamples": 0}})
    verdict = both.verdict(fed(both, 12, arms))
    assert verdict.state == "Pass"
    assert verdict.gates["hoped"].state == "Fail"
    assert verdict.gates["hoped"].advisory
    assert verdict.gates["hoped"].reason.endswith("advisory: it decides nothing")
    assert verdict.fail_weight == alone.verdict(fed(alone, 12, arms)).fail_weight
    only = Analysis.from_spec({"gates": [strict]})
    assert only.verdict(fed(only, 12, arms)).state == "Inconclusive"


def test_a_guard_may_fail_and_is_not_waited_for():
    gates = [
        {"name": "needed", "metric": "accuracy", "floor": 0.9},
        {"name": "shift", "metric": "predictionShift", "margin": 0.1},
    ]
    analysis = Analysis.from_spec({"gates": gates, "analysis": {"minSamples": 0}})
    labels = {"confusion": confusion(*GOOD, 200)}
    assert analysis.verdict(fed(analysis, 12, {"canary": labels})).state == "Pass"
    served = {"canary": {"served": {"ok": 200, "fraud": 200}}, "stable": {"served": {"ok": 380, "fraud": 20}}}
    assert analysis.verdict(fed(analysis, 4, served)).state == "Fail"


def test_a_retry_continues_the_pass_side_of_every_engine_and_needs_data_of_its_own():
    gates = [
        {"name": str(number), "margin": 0.05} | {k: v for k, v in gate.items() if k not in ("floor", "ceiling")}
        for number, gate in enumerate(CONFUSION_GATES)
    ]
    analysis = Analysis.from_spec({"gates": gates, "analysis": {"minSamples": 0}})
    arms = {"stable": {"confusion": confusion(*GOOD, 400)}, "canary": {"confusion": confusion(*GOOD, 200)}}
    first = fed(analysis, 25, arms)
    again = analysis.start(CLASSES, {"aws": 1.0}, resume=first)
    before, after = analysis.verdict(first), analysis.verdict(again)
    for name, gate in before.gates.items():
        assert gate.log_e_pass > 0
        assert after.gates[name].log_e_pass == pytest.approx(gate.log_e_pass, abs=1e-5)
    assert before.state == "Pass"
    assert after.state == "InsufficientData"
    lone = {"at": 1.0, "clusters": {"aws": {"stable": {"confusion": {"ok": {"ok": 1}}}}}}
    assert analysis.verdict(analysis.update(again, lone)).state == "InsufficientData"


@pytest.mark.parametrize(
    ("gate", "problem"),
    [
        (
            {"metric": "expectedCost", "costs": {"fraud": {"meh": 1}}, "ceiling": 1},
            "spec.gates[0].costs.fraud.meh: 'meh' is not a class of this model; its classes are ok, fraud",
        ),
        (
            {"metric": "expectedCost", "costs": COSTS, "ceiling": 10},
            "spec.gates[0].ceiling: no cell costs more than 10, so nothing could break it; lower it",
        ),
        (
            {"metric": "expectedCost", "costs": {a: dict.fromkeys(CLASSES, 2) for a in CLASSES}, "ceiling": 1},
            "spec.gates[0].ceiling: every cell costs at least 2, so nothing could keep it; raise it",
        ),
    ],
)
def test_bounds_out_of_reach_are_found_at_the_start(gate, problem):
    analysis = Analysis.from_spec({"gates": [{"name": "g", **gate}]})
    with pytest.raises(GateSpecError) as caught:
        analysis.start(CLASSES, {"aws": 1.0})
    assert str(caught.value) == problem


def test_micro_specificity_of_many_classes_cannot_be_low():
    analysis = Analysis.from_spec({"gates": [{"name": "g", "metric": "specificity", "average": "micro", "floor": 0.7}]})
    with pytest.raises(GateSpecError, match=r"micro specificity of 5 classes is never below 0\.750; raise it"):
        analysis.start(list("abcde"), {"aws": 1.0})
