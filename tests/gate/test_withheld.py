"""From a broken condition to a verdict: what it withholds, from whom, and for how long."""

import json
from typing import Any

import pytest

from pilotage.gate import Analysis, State, Verdict

CLASSES = ["neg", "pos"]
RECALL = {"name": "recall", "metric": "recall", "class": "pos", "floor": 0.8, "margin": 0.05}
PRECISION = {"name": "precision", "metric": "precision", "class": "pos", "margin": 0.05}
ACCURACY = {"name": "accuracy", "metric": "accuracy", "margin": 0.05}
ERRORS = {"name": "errors", "metric": "errorRate", "margin": 0.01}


def table(tp: int, fn: int, fp: int, tn: int) -> dict[str, Any]:
    return {"pos": {"pos": tp, "neg": fn}, "neg": {"pos": fp, "neg": tn}}


GOOD = table(90, 10, 10, 190)
BAD = table(50, 50, 10, 190)
HISTORY = {"aws": [{"confusion": table(360, 40, 40, 760)}]}


def an_arm(confusion: dict[str, Any], coverage: float | dict[str, float] = 0.5, **more: Any) -> dict[str, Any]:
    """``coverage`` of all predictions, or by predicted class."""
    labelled = {k: sum(row[k] for row in confusion.values()) for k in CLASSES}
    shares = coverage if isinstance(coverage, dict) else dict.fromkeys(CLASSES, coverage)
    return {"confusion": confusion, "served": {k: round(n / shares[k]) for k, n in labelled.items()}, **more}


def fed(
    analysis: Analysis, state: State | None, looks: int, canary: dict[str, Any], stable: dict[str, Any], **more: Any
) -> State:
    state = analysis.start(CLASSES, {"aws": 1.0}, HISTORY) if state is None else state
    for look in range(looks):
        block = {"at": 60.0 * look, "clusters": {"aws": {"canary": canary, "stable": stable}}, **more}
        state = analysis.update(state, block)
    return state


def said(
    *gates: dict[str, Any], looks: int = 20, canary: dict[str, Any], stable: dict[str, Any], **more: Any
) -> Verdict:
    analysis = Analysis.from_spec({"gates": list(gates)})
    return analysis.verdict(fed(analysis, None, looks, canary, stable, **more))


def test_sound_evidence_passes_and_fails_as_ever():
    good = an_arm(GOOD)
    assert said(RECALL, ACCURACY, canary=good, stable=good).state == "Pass"
    assert said(RECALL, ACCURACY, canary=an_arm(BAD), stable=good).state == "Fail"


def test_labels_for_predicted_positives_only_do_not_pass_recall_but_precision():
    only_positives = {"confusion": table(90, 0, 10, 0), "served": {"pos": 200, "neg": 400}}
    recall, precision = (
        said(gate, looks=60, canary=only_positives, stable=only_positives) for gate in (RECALL, PRECISION)
    )
    assert recall.state == "Inconclusive"
    assert recall.gates["recall"].log_e_pass > 3  # it would have passed
    assert recall.reason.startswith("recall: CoverageByPrediction: ")
    assert precision.state == "Pass"
    assert [str(breach.condition) for breach in precision.breaches] == []  # nothing that touches the gate


def test_the_same_without_served_rows():
    only_positives = {"confusion": table(90, 0, 10, 0)}
    verdict = said(RECALL, looks=60, canary=only_positives, stable=only_positives)
    assert verdict.state == "Inconclusive"
    assert "none to any other" in verdict.reason


def test_a_breach_withholds_a_failure_too_and_takes_nothing_back():
    """Half as many labels for the canary: whose labels are missing, the worse or the better? Nobody knows."""
    analysis = Analysis.from_spec({"gates": [ACCURACY]})
    state = fed(analysis, None, 20, an_arm(BAD, 0.2), an_arm(GOOD, 0.5))
    verdict = analysis.verdict(state)
    assert verdict.state == "Inconclusive"
    assert verdict.reason.startswith("accuracy: CoverageDiffers: 20.0% of the canary's ")
    assert verdict.fail_weight == 0
    assert verdict.gates["accuracy"].log_e_fail > 10
    failed = fed(analysis, None, 3, an_arm(BAD), an_arm(GOOD))
    assert analysis.verdict(fed(analysis, failed, 20, an_arm(BAD, 0.2), an_arm(GOOD, 0.5))).state == "Fail"


def test_a_retry_does_not_go_on_with_what_a_breach_has_spoilt():
    """Evidence of labelled positives would pass recall at once, before it could be seen again how rows are labelled."""
    analysis = Analysis.from_spec({"gates": [RECALL, PRECISION]})
    only_positives = {"confusion": table(90, 0, 10, 0), "served": {"pos": 200, "neg": 400}}
    first = fed(analysis, None, 30, only_positives, only_positives)
    second = analysis.start(CLASSES, {"aws": 1.0}, HISTORY, resume=json.loads(json.dumps(first)))
    before, after = analysis.verdict(first).gates, analysis.verdict(second).gates
    assert after["recall"].log_e_pass == 0.0 < before["recall"].log_e_pass
    assert after["precision"].log_e_pass == before["precision"].log_e_pass > 0


def test_a_retry_goes_on_with_what_spoke_against_the_canary():
    analysis = Analysis.from_spec({"gates": [ACCURACY]})
    first = fed(analysis, None, 20, an_arm(BAD, 0.2), an_arm(GOOD, 0.5))
    second = analysis.start(CLASSES, {"aws": 1.0}, HISTORY, resume=first)
    verdict = analysis.verdict(first)
    assert verdict.conditions
    assert analysis.verdict(second).gates["accuracy"].log_e_pass == verdict.gates["accuracy"].log_e_pass < 0


def test_a_breach_is_withdrawn_when_later_evidence_clears_it():
    analysis = Analysis.from_spec({"gates": [ACCURACY]})
    good, late = an_arm(GOOD), an_arm(GOOD, late={"900": 60})
    state = fed(analysis, None, 5, late, late)
    assert analysis.verdict(state).gates["accuracy"].reason.startswith("LabelsLate: ")
    state = fed(analysis, state, 40, good, good)
    assert analysis.verdict(state).state == "Pass"


def test_gates_without_labels_do_not_wait_for_labels():
    requests: dict[str, Any] = {"proportions": {"errors": {"successes": 9_950, "trials": 10_000}}}
    late = an_arm(GOOD, late={"900": 300}, **requests)
    verdict = said(ACCURACY, ERRORS, looks=5, canary=late, stable=late)
    assert verdict.gates["errors"].state == "Pass"
    assert verdict.gates["accuracy"].state == "Inconclusive"
    assert verdict.state == "Inconclusive"


def test_a_canary_that_falls_over_fails_although_its_split_is_off():
    """It loses requests before it answers them: the split is broken, and that must not protect it."""
    broken = {"served": {"pos": 30, "neg": 70}, "proportions": {"errors": {"successes": 500, "trials": 1_000}}}
    sound = {"served": {"pos": 1500, "neg": 3500}, "proportions": {"errors": {"successes": 4_990, "trials": 5_000}}}
    verdict = said(ERRORS, canary=broken, stable=sound, expected={"aws": 0.5})
    assert [str(breach.condition) for breach in verdict.breaches] == ["SplitDiffers"]
    assert verdict.state == "Fail"


def test_prevalence_withholds_the_floor_and_lets_the_margin_fail():
    """Positives became rare: precision fell below its floor in both arms, and in the canary's far more."""
    gate = {"name": "precision", "metric": "precision", "class": "pos", "floor": 0.8}
    rare, worse = an_arm(table(18, 2, 13, 267)), an_arm(table(18, 2, 70, 210))
    withheld = said(gate, canary=rare, stable=rare, looks=40)
    assert withheld.state == "Inconclusive"
    assert withheld.reason.startswith("precision: PrevalenceShifted: class 'pos' makes ")
    assert said(gate | {"margin": 0.1}, canary=worse, stable=rare, looks=40).state == "Fail"


def test_advisory_gates_are_told_of_breaches_too():
    late = an_arm(GOOD, late={"900": 300})
    verdict = said(ACCURACY | {"mode": "Advisory"}, RECALL, canary=late, stable=late)
    assert verdict.gates["accuracy"].reason.startswith("LabelsLate: ")
    assert verdict.breaches[0].passes == {"accuracy", "recall"}


def test_a_verdict_tells_its_breaches_as_json():
    late = an_arm(GOOD, late={"900": 300})
    verdict = said(ACCURACY, canary=late, stable=late)
    told = json.loads(json.dumps(verdict.to_dict()))
    (breach,) = told["breaches"]
    assert verdict.conditions == {"LabelsLate": breach["reason"]}
    assert breach["condition"] == "LabelsLate"
    assert breach["gates"] == ["accuracy"]
    assert "labelDelay: 900s would fit 95 %" in breach["reason"]


@pytest.mark.parametrize("metric", ["predictionShift", "confidenceShift"])
def test_guards_fail_a_rollout_and_are_never_needed_for_a_pass(metric):
    guard = {"name": "guard", "metric": metric, "margin": 0.1}
    sure, unsure = [0] * 20, [0] * 20
    sure[16], unsure[6] = 600, 600
    good = an_arm(GOOD, confidence=sure)
    assert said(ACCURACY, guard, canary=good, stable=good).state == "Pass"
    shifted = an_arm(table(90, 10, 10, 190), confidence=unsure) | {"served": {"pos": 600, "neg": 0}}
    verdict = said({**ACCURACY, "mode": "Advisory"}, guard, canary=shifted, stable=good)
    assert verdict.state == "Fail"
    assert verdict.reason.startswith(f"guard: {metric} ")
