"""The public surface other code drives: from_spec, start, update, verdict."""

import copy
import json
import pickle
from typing import Any

import pytest

from pilotage.gate import Analysis, BlockError, GateSpecError, Outcome, State

CLASSES = ["a", "b", "c"]
SHARES = {"aws": 0.6, "gcp": 0.4}
RECALL = {"name": "recall-of-a", "metric": "recall", "class": "a", "floor": 0.85, "margin": 0.05}
MACRO = {"name": "precision", "metric": "precision", "average": "macro", "margin": 0.05}


def an_analysis(*gates: dict[str, Any], **analysis: Any) -> Analysis:
    return Analysis.from_spec({"gates": list(gates) or [RECALL, MACRO], "analysis": analysis})


def confusion(n: int, right: float, classes: list[str] = CLASSES) -> dict[str, Any]:
    """n labels per class, the given share of them right, errors spread evenly."""
    wrong = round(n * (1 - right))
    table = {}
    for i, actual in enumerate(classes):
        others = [c for c in classes if c != actual]
        row = {other: (wrong + k) // len(others) for k, other in enumerate(others)}
        row[actual] = n - sum(row.values())
        table[actual] = row
        assert i >= 0
    return table


def a_block(at: float, *, stable: float = 0.95, canary: float = 0.95, n: int = 60, **more: Any) -> dict[str, Any]:
    arms = {"stable": {"confusion": confusion(n, stable)}, "canary": {"confusion": confusion(n, canary)}}
    return {"at": at, "clusters": {name: copy.deepcopy(arms) for name in SHARES}, **more}


HISTORY = {name: [{"confusion": confusion(150, 0.95)}] for name in SHARES}


def run(analysis: Analysis, state: State, looks: int, **block: Any) -> State:
    for look in range(looks):
        state = analysis.update(state, a_block(30.0 * look, **block))
    return state


def test_an_equal_canary_passes():
    analysis = an_analysis()
    verdict = analysis.verdict(run(analysis, analysis.start(CLASSES, SHARES, HISTORY), 20))
    assert verdict.state == "Pass"
    assert {gate.state for gate in verdict.gates.values()} == {Outcome.PASS}
    assert verdict.step_ready


def test_a_much_worse_canary_fails_and_stays_failed():
    analysis = an_analysis()
    state = run(analysis, analysis.start(CLASSES, SHARES, HISTORY), 3, canary=0.6)
    assert analysis.verdict(state).state == "Fail"
    assert analysis.verdict(state).fail_weight >= 20
    recovered = run(analysis, state, 60, canary=1.0)
    assert analysis.verdict(recovered).state == "Fail"


def test_the_reason_of_a_failure_names_value_bound_labels_and_place():
    analysis = an_analysis(RECALL)
    state = run(analysis, analysis.start(CLASSES, SHARES, HISTORY), 3, canary=0.6)
    assert analysis.verdict(state).reason == (
        "recall-of-a: recall[a] 0.600 over all clusters is below the floor 0.85 (120 labels)"
    )


def test_without_labels_nothing_is_said():
    analysis = an_analysis(minSamples=0)
    verdict = analysis.verdict(analysis.start(CLASSES, SHARES))
    assert verdict.state == "InsufficientData"
    gate = verdict.gates["recall-of-a"]
    assert (gate.estimate, gate.lower, gate.upper, gate.difference) == (None, None, None, None)
    assert (gate.log_e_pass, gate.labels) == (
        0.0,
        {"stable": {"aws": 0, "gcp": 0}, "canary": {"aws": 0, "gcp": 0}},
    )


def test_an_absent_class_is_named():
    analysis = an_analysis(MACRO, minSamples=10)
    state = analysis.start(CLASSES, SHARES, HISTORY)
    only_a = {"confusion": {"a": {"a": 50}}}
    state = analysis.update(
        state,
        {
            "at": 1.0,
            "clusters": {"aws": {"stable": only_a, "canary": only_a}, "gcp": {"stable": only_a, "canary": only_a}},
        },
    )
    verdict = analysis.verdict(state)
    assert verdict.state == "InsufficientData"
    assert verdict.gates["precision"].reason == (
        "no matured label yet of canary 'b' in aws, canary 'b' in gcp, canary 'c' in aws and others"
    )


def test_a_margin_without_stable_does_not_apply_and_floors_only_report():
    analysis = an_analysis(MACRO, {"name": "floor", "metric": "accuracy", "floor": 0.9})
    state = analysis.start(CLASSES, SHARES, stable=False)
    for look in range(5):
        block = a_block(30.0 * look, canary=0.5)
        for arms in block["clusters"].values():
            del arms["stable"]
        state = analysis.update(state, block)
    verdict = analysis.verdict(state)
    assert verdict.state == "Inconclusive"
    assert verdict.gates["precision"].state == "NotApplicable"
    assert verdict.gates["floor"].state == "Inconclusive"
    assert verdict.gates["floor"].estimate == pytest.approx(0.5)
    assert verdict.fail_weight == 0


def test_the_state_is_immutable_json_and_survives_every_copy():
    analysis = an_analysis()
    state = run(analysis, analysis.start(CLASSES, SHARES, HISTORY), 3, n=4)
    again = json.loads(json.dumps(state))
    assert again == state
    assert State.from_dict(again) == state
    assert pickle.loads(pickle.dumps(state)) == state
    assert copy.deepcopy(state) == state
    assert analysis.update(again, a_block(100.0)) == analysis.update(state, a_block(100.0))
    with pytest.raises(TypeError, match="cannot be changed"):
        state["wave"] = 2
    with pytest.raises(TypeError, match="cannot be changed"):
        state["gates"]["precision"]["trail"].append(1)


def test_update_leaves_the_old_state_as_it_was():
    analysis = an_analysis()
    state = analysis.start(CLASSES, SHARES, HISTORY)
    before = json.dumps(state)
    analysis.update(state, a_block(0.0))
    assert json.dumps(state) == before


def test_a_state_of_other_gates_is_refused():
    state = an_analysis(RECALL).start(CLASSES, SHARES)
    with pytest.raises(ValueError, match="written for other gates"):
        an_analysis(MACRO).update(state, a_block(0.0))


def test_a_state_of_another_version_is_refused():
    analysis = an_analysis()
    state = analysis.start(CLASSES, SHARES).to_dict() | {"version": 1}
    with pytest.raises(ValueError, match=r"state\.version: 1 cannot be read"):
        analysis.verdict(state)


def test_interval_and_min_duration_may_change_while_a_rollout_runs():
    state = an_analysis(RECALL, interval="30s").start(CLASSES, SHARES, HISTORY)
    an_analysis(RECALL, interval="10s", minDuration="5m").update(state, a_block(0.0))


def test_a_retry_continues_the_pass_side_and_only_that():
    analysis = an_analysis(RECALL)
    first = run(analysis, analysis.start(CLASSES, SHARES, HISTORY), 2)
    second = analysis.start(CLASSES, SHARES, HISTORY, resume=json.loads(json.dumps(first)))
    before, after = analysis.verdict(first).gates["recall-of-a"], analysis.verdict(second).gates["recall-of-a"]
    assert before.log_e_pass == after.log_e_pass != 0.0
    assert after.log_e_fail == analysis.verdict(analysis.start(CLASSES, SHARES)).gates["recall-of-a"].log_e_fail
    assert sum(after.labels["canary"].values()) == 0


def test_pass_evidence_is_not_carried_over_to_another_boundary():
    first = run(an_analysis(RECALL), an_analysis(RECALL).start(CLASSES, SHARES, HISTORY), 2)
    stricter = an_analysis(RECALL | {"floor": 0.9})
    second = stricter.start(CLASSES, SHARES, HISTORY, resume=first)
    assert stricter.verdict(second).gates["recall-of-a"].log_e_pass == 0.0


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"clusters": {}}, r"block\.at: None is not a time"),
        ({"at": 1, "clusters": {"mars": {}}}, r"block\.clusters\.mars: not a cluster of this wave.*aws, gcp"),
        (
            {"at": 1, "clusters": {"aws": {"old": {}}}},
            r"block\.clusters\.aws\.old: unknown key; known here: stable, canary",
        ),
        (
            {"at": 1, "clusters": {"aws": {"canary": {"bucket": {}}}}},
            r"aws\.canary\.bucket: unknown key; known here: confusion, served",
        ),
        ({"at": 1, "clusters": {"aws": {"canary": {"confusion": {"z": {"a": 1}}}}}}, r"'z' is not a class.*a, b, c"),
        ({"at": 1, "clusters": {"aws": {"canary": {"confusion": {"a": {"a": 1.5}}}}}}, r"1\.5 is not a count"),
        ({"at": 1, "clusters": {"aws": {"canary": {"confusion": {"a": {"a": -1}}}}}}, r"-1 is not a count"),
        ({"at": float("nan"), "clusters": {}}, r"block\.at: nan is not a time"),
        (
            {"at": 1, "clusters": {"aws": {"canary": {"confusion": {"a": {"a": float("inf")}}}}}},
            r"inf is not a count",
        ),
        ({"at": 1, "clusters": {"aws": {"canary": {"proportions": {"x": {"successes": 1}}}}}}, r"'x' is not a gate"),
        (
            {"at": 1, "clusters": {"aws": {"canary": {"proportions": {"precision": {"successes": 2, "trials": 1}}}}}},
            r"precision: 2 successes among 1 trials",
        ),
        (
            {"at": 1, "clusters": {"aws": {"canary": {"buckets": {"a": {"0": [1, 2]}}}}}},
            r"buckets\.a\.0: 2 buckets; give 50",
        ),
        (
            {"at": 1, "clusters": {"aws": {"canary": {"means": {"precision": {"count": 0, "sum": 1.0}}}}}},
            r"a sum over a count of 0 cannot be",
        ),
        ({"at": 1, "clusters": {"aws": {"canary": {"pairs": {"a": {"n12": 1}}}}}}, r"pairs\.a\.n12: unknown key"),
        ({"at": 1, "clusters": {"aws": {"canary": {"pairs": {"z": {"n11": 1}}}}}}, r"'z' is not a class"),
        ({"at": 1, "clusters": {"aws": {"canary": {"inputs": {"x": 3}}}}}, r"inputs\.x: 3 is not a list of counts"),
        ({"at": 1, "clusters": {}, "shape": 1}, r"block\.shape: unknown key"),
        ({"at": 1, "clusters": {}, "step": "x"}, r"block\.step: 'x' is not a step"),
    ],
)
def test_a_wrong_block_is_refused_by_path(block, message):
    analysis = an_analysis()
    with pytest.raises(BlockError, match=message):
        analysis.update(analysis.start(CLASSES, SHARES), block)


def test_served_rows_give_the_coverage():
    analysis = an_analysis(RECALL)
    state = analysis.start(CLASSES, SHARES)
    counts = {"confusion": {"a": {"a": 20}}, "served": {"a": 80, "b": 20}}
    state = analysis.update(state, {"at": 1.0, "clusters": {"aws": {"canary": counts}}})
    assert analysis.verdict(state).coverage == {
        "stable": {"aws": None, "gcp": None},
        "canary": {"aws": 0.2, "gcp": None},
    }


def test_a_class_the_model_does_not_know_is_found_at_start():
    analysis = an_analysis(RECALL | {"class": "8"})
    with pytest.raises(GateSpecError, match=r"spec\.gates\[0\]\.class: '8' is not a class.*are a, b, c"):
        analysis.start(CLASSES, SHARES)


def test_the_state_survives_a_store_that_drops_nulls():
    analysis = an_analysis()
    state = analysis.start(classes=CLASSES, shares=SHARES)

    assert "null" not in json.dumps(state)
    assert "null" not in json.dumps(analysis.update(state, a_block(1.0, step=0)))
