"""From tests to a verdict: guards, latches, waves, intervals in words."""

import json
from math import log
from typing import Any

import pytest

from pilotage.gate import Analysis, GateSpecError, State

CLASSES = ["0", "1"]
GATE = {"name": "g", "metric": "recall", "class": "1", "margin": 0.05}
HISTORY = {"aws": [{"confusion": {"1": {"1": 475, "0": 25}}}]}


def arms(canary: tuple[int, int], stable: tuple[int, int]) -> dict[str, Any]:
    def counts(hits: int, labels: int) -> dict[str, Any]:
        return {"confusion": {"1": {"1": hits, "0": labels - hits}}}

    return {"aws": {"canary": counts(*canary), "stable": counts(*stable)}}


def fed(analysis: Analysis, state: State, *looks: dict[str, Any], step: int = 0, at: float = 0.0) -> State:
    for number, clusters in enumerate(looks):
        state = analysis.update(state, {"at": at + 60.0 * number, "step": step, "clusters": clusters})
    return state


def an_analysis(**analysis: Any) -> Analysis:
    return Analysis.from_spec({"gates": [GATE], "analysis": analysis})


def started(analysis: Analysis, **how: Any) -> State:
    return analysis.start(CLASSES, {"aws": 1.0}, HISTORY, **how)


EQUAL = arms((57, 60), (190, 200))
BAD = arms((40, 60), (190, 200))


def test_fewer_than_min_samples_is_insufficient_however_clear_the_evidence():
    analysis = an_analysis(minSamples=1000)
    verdict = analysis.verdict(fed(analysis, started(analysis), *[EQUAL] * 10))
    assert verdict.gates["g"].log_e_pass > log(20)
    assert (verdict.state, verdict.reason) == ("InsufficientData", "g: 600 of 1000 matured labels of the canary")
    assert not verdict.step_ready


def test_ten_labels_are_enough_to_fail():
    analysis = an_analysis(minSamples=1000)
    state = fed(analysis, started(analysis), arms((0, 9), (60, 60)))
    assert analysis.verdict(state).state == "InsufficientData"
    assert analysis.verdict(state).fail_weight == 0
    assert analysis.verdict(fed(analysis, state, arms((0, 5), (60, 60)), at=60)).state == "Fail"


def test_without_min_samples_no_guard_is_left():
    analysis = an_analysis(minSamples=0)
    assert analysis.verdict(fed(analysis, started(analysis), arms((0, 9), (60, 60)))).state == "Fail"


def test_a_pass_is_kept_while_its_evidence_does_not_turn_round():
    analysis = an_analysis()
    passed = fed(analysis, started(analysis), *[EQUAL] * 10)
    below = fed(analysis, passed, *[arms((53, 60), (190, 200))] * 3, at=600)
    assert 0 < analysis.verdict(below).gates["g"].log_e_pass < analysis.verdict(passed).gates["g"].log_e_pass
    assert analysis.verdict(below).state == "Pass"
    turned = fed(analysis, below, *[arms((50, 60), (190, 200))] * 8, at=1200)
    assert analysis.verdict(turned).gates["g"].log_e_pass < 0
    assert analysis.verdict(turned).state != "Pass"


def test_after_a_weight_change_a_block_and_fifty_labels_come_first():
    analysis = an_analysis()
    state = fed(analysis, started(analysis), *[EQUAL] * 10)
    assert analysis.verdict(state).state == "Pass"
    state = fed(analysis, state, {}, step=1, at=600)
    assert analysis.verdict(state).reason == "g: no block closed since the weight changed"
    assert analysis.verdict(state).gates["g"].step_labels == {"stable": 0, "canary": 0}
    state = fed(analysis, state, arms((38, 40), (38, 40)), step=1, at=660)
    assert analysis.verdict(state).reason == "g: 40 of 50 matured labels of the canary since the weight changed"
    state = fed(analysis, state, arms((10, 10), (10, 10)), step=1, at=720)
    assert analysis.verdict(state).state == "Pass"


def test_min_duration_delays_a_pass_and_never_a_fail():
    analysis = an_analysis(minDuration="10m")
    verdict = analysis.verdict(fed(analysis, started(analysis), *[EQUAL] * 9))
    assert (verdict.state, verdict.reason) == ("Inconclusive", "g: 480 of 600 s of evidence")
    assert analysis.verdict(fed(analysis, started(analysis), *[EQUAL] * 11)).state == "Pass"
    assert analysis.verdict(fed(analysis, started(analysis), BAD, BAD)).state == "Fail"


def test_each_wave_spends_its_share_of_beta():
    analysis = an_analysis()
    alone = analysis.verdict(fed(analysis, started(analysis), BAD)).fail_weight
    of_four = analysis.verdict(fed(analysis, started(analysis, wave=2, waves=4), BAD)).fail_weight
    assert of_four == pytest.approx(alone / 4)


def test_a_wave_beyond_the_planned_ones_is_refused():
    with pytest.raises(ValueError, match="wave: 3 of 2 cannot be"):
        started(an_analysis(), wave=3, waves=2)


@pytest.mark.parametrize("shares", [{}, {"aws": 0.0}, {"aws": -1.0, "gcp": 2.0}, {"aws": float("nan")}])
def test_shares_that_make_no_mix_are_refused(shares):
    with pytest.raises(ValueError, match="give every cluster its share"):
        an_analysis().start(CLASSES, shares)


def test_classes_must_be_distinct():
    with pytest.raises(ValueError, match="name every class once"):
        an_analysis().start(["1", "1"], {"aws": 1.0})


def test_an_unknown_class_of_a_gate_lists_the_known_ones():
    with pytest.raises(GateSpecError) as caught:
        an_analysis().start(["cat", "dog"], {"aws": 1.0})
    assert str(caught.value) == "spec.gates[0].class: '1' is not a class of this model; its classes are cat, dog"


def test_the_time_left_follows_from_the_pace_of_the_evidence():
    analysis = an_analysis()
    state = fed(analysis, started(analysis), *[EQUAL] * 3)
    gate = analysis.verdict(state).gates["g"]
    first = analysis.verdict(fed(analysis, started(analysis), EQUAL)).gates["g"].log_e_pass
    assert gate.state == "Inconclusive"
    assert gate.eta == pytest.approx((log(20) - gate.log_e_pass) * 120 / (gate.log_e_pass - first), rel=0.01)


def test_no_time_left_is_told_when_evidence_does_not_grow():
    analysis = an_analysis()
    level = arms((54, 60), (190, 200))
    assert analysis.verdict(fed(analysis, started(analysis), *[level] * 5)).gates["g"].eta is None


def test_estimates_and_difference_are_those_of_the_counts():
    analysis = an_analysis()
    gate = analysis.verdict(fed(analysis, started(analysis), BAD)).gates["g"]
    assert (gate.estimate, gate.stable) == pytest.approx((40 / 60, 0.95))
    assert gate.difference is not None
    assert gate.difference["estimate"] == pytest.approx(40 / 60 - 0.95)
    assert gate.labels == {"canary": {"aws": 60}, "stable": {"aws": 200}}


def test_a_verdict_is_plain_json():
    analysis = an_analysis()
    raw = analysis.verdict(fed(analysis, started(analysis), EQUAL)).to_dict()
    assert raw["state"] == "InsufficientData"
    assert type(raw["state"]) is str
    assert type(raw["gates"]["g"]["difference"]) is dict


def test_without_history_a_small_first_block_only_teaches_a_margin():
    analysis = an_analysis()
    small = arms((6, 6), (8, 9))
    once = fed(analysis, analysis.start(CLASSES, {"aws": 1.0}), small)
    assert analysis.verdict(once).gates["g"].log_e_pass == 0.0
    assert analysis.verdict(fed(analysis, once, EQUAL, at=60)).gates["g"].log_e_pass > 0.0


def test_a_giant_first_block_without_history_is_bet_on_at_once():
    """All labels of a day in one block: half of stable's at most teach, the rest and the whole canary count."""
    analysis = an_analysis()
    at_once = fed(analysis, analysis.start(CLASSES, {"aws": 1.0}), arms((1900, 2000), (3800, 4000)))
    assert analysis.verdict(at_once).state == "Pass"
    bad = fed(analysis, analysis.start(CLASSES, {"aws": 1.0}), arms((120, 150), (2700, 2850)))
    assert analysis.verdict(bad).state == "Fail"


def test_the_state_of_a_macro_gate_stays_within_eight_kibibytes():
    classes = [str(i) for i in range(10)]
    clusters = [f"cluster-{i}" for i in range(10)]
    gate = {"name": "g", "metric": "recall", "average": "macro", "floor": 0.9, "margin": 0.02}
    analysis = Analysis.from_spec({"gates": [gate]})
    table = {"confusion": {a: {a: 95, classes[(i + 1) % 10]: 5} for i, a in enumerate(classes)}}
    lone = {"confusion": {"0": {"0": 3}}}
    history = {name: [table] * 5 for name in clusters}
    state = analysis.start(classes, dict.fromkeys(clusters, 1.0), history)
    for look in range(40):
        counts = {name: {"stable": table, "canary": table} for name in clusters}
        state = analysis.update(state, {"at": 600.0 * look, "step": look // 10, "clusters": counts})
    counts = {name: {"stable": lone, "canary": lone} for name in clusters}
    state = analysis.update(state, {"at": 30_000.0, "step": 3, "clusters": counts})
    assert len(json.dumps(state, separators=(",", ":"))) <= 8 * 1024


def test_the_reason_of_a_failure_keeps_the_numbers_it_was_decided_by():
    analysis = an_analysis()
    state = fed(analysis, started(analysis), BAD, BAD)
    said = analysis.verdict(state).reason
    assert said == "g: recall[1] 0.667 in aws is more than 0.05 below stable's 0.950 (60 labels)"
    assert analysis.verdict(fed(analysis, state, *[EQUAL] * 20, at=600)).reason == said


def test_every_closed_block_of_any_process_shows_in_the_count_of_blocks():
    """Callers keep a state exactly when this has grown: bets that were seen must never be taken back."""
    analysis = Analysis.from_spec({"gates": [GATE | {"floor": 0.9}]})
    state = analysis.start(CLASSES, {"aws": 0.5, "gcp": 0.5}, HISTORY)

    def blocks_after(clusters: dict[str, Any], at: float) -> tuple[State, int]:
        now = analysis.update(state, {"at": at, "step": 0, "clusters": clusters})
        return now, analysis.verdict(now).gates["g"].blocks

    state, blocks = blocks_after(arms((3, 4), (4, 4)), 0.0)
    assert blocks == 0
    state, blocks = blocks_after({"aws": {"canary": arms((6, 6), (0, 0))["aws"]["canary"]}}, 60.0)
    assert blocks == 1  # the floor in aws: its canary has enough, stable has not
    state, blocks = blocks_after(arms((6, 6), (6, 6)), 120.0)
    assert blocks == 3  # floor and margin in aws
    state, blocks = blocks_after({"gcp": arms((6, 6), (6, 6))["aws"]}, 180.0)
    assert blocks == 7  # both tests in gcp and both over the mix
