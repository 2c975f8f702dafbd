"""Simulated rollouts: the same for a seed however divided, the same as a loop by hand, and true to their scenario."""

from random import Random
from typing import Any

import pytest

from pilotage.gate import Analysis
from pilotage.trials import (
    Campaign,
    End,
    RecordingError,
    Scenario,
    Setting,
    build,
    catalogue,
    decode_recording,
    from_recalls,
    gathered,
    peer_trials,
    pieces,
    play,
    questions_of,
    replayed,
    tally,
    trial,
    world_of,
)
from pilotage.trials.delivery import Delivery
from pilotage.trials.peers import ARGO, FLAGGER
from pilotage.trials.scenarios import Counting
from pilotage.trials.traffic import Stream

SPEC = {"gates": [{"name": "quality", "metric": "accuracy", "margin": 0.05}], "analysis": {"minSamples": 0}}
MODEL = from_recalls(("no", "yes"), {"no": 0.95, "yes": 0.85})


def a_setting(**other) -> Setting:
    return Setting(**{"stable": MODEL, "shares": {"no": 0.5, "yes": 0.5}, "looks": 24, "duration_s": 3600.0, **other})


def a_campaign(*names: str, runs: int = 6, spec=SPEC, **other) -> Campaign:
    (question, *_) = questions_of(spec)
    chosen = tuple(each for each in catalogue(question, 0.9) if each.name in names)
    return Campaign(
        spec=spec, setting=a_setting(**other), about=question.name, scenarios=chosen, runs=runs, seed=7, peers=False
    )


def test_results_do_not_depend_on_how_the_work_is_divided():
    campaign = a_campaign("equal", "worse-0.1")
    whole = [play(campaign, piece) for piece in pieces(campaign, 6)]
    parts = [play(campaign, piece) for piece in pieces(campaign, 2)]

    assert gathered(campaign, whole) == gathered(campaign, reversed(parts))


def test_error_rates_are_those_of_a_loop_written_by_hand():
    campaign = a_campaign("boundary", runs=8)
    (row,) = gathered(campaign, [play(campaign, piece) for piece in pieces(campaign, 8)])

    analysis, world, states = Analysis.from_spec(SPEC), world_of(campaign, campaign.scenarios[0]), []
    for number in range(8):
        stream = Stream(world, Random(f"7/boundary/{number}/0"))
        state = analysis.start(("no", "yes"), {"main": 1.0}, history=stream.history())
        for look in range(24):
            step = world.setting.step_of(look)
            cohort, expected = stream.cohort(look, step), {"main": (0.1, 0.5)[step]}
            block = {"at": 150.0 * (look + 1), "step": step, "clusters": cohort, "expected": expected}
            state = analysis.update(state, block)
            if analysis.verdict(state).state in ("Pass", "Fail"):
                break
        states.append(str(analysis.verdict(state).state))

    assert (row.ours.passed.hits, row.ours.failed.hits) == (states.count("Pass"), states.count("Fail"))


def test_an_equal_canary_passes_and_a_bad_one_fails():
    campaign = a_campaign("equal", "worse-0.2", runs=5)
    equal, worse = gathered(campaign, [play(campaign, piece) for piece in pieces(campaign, 5)])

    assert equal.ours.passed.hits == 5
    assert worse.ours.failed.hits == 5
    assert (equal.is_good, equal.is_bad, worse.is_good, worse.is_bad) == (True, False, False, True)


def test_the_boundary_is_good_and_bad_at_once_in_every_cluster_and_at_every_time():
    campaign = a_campaign("boundary", "drift", "uneven-clusters", "sticky", runs=1)
    rows = gathered(campaign, [play(campaign, piece) for piece in pieces(campaign, 1)])

    assert [(row.is_good, row.is_bad) for row in rows] == [(True, True)] * 4


def test_a_canary_in_uneven_clusters_stands_at_the_boundary_of_the_mix():
    """The floor is stricter in the hard cluster, the margin in the easy one; only the mix decides a pass."""
    spec = {
        "gates": [{"name": "found", "metric": "recall", "class": "yes", "floor": 0.75, "margin": 0.05}],
        "analysis": {},
    }
    campaign = a_campaign("uneven-clusters", runs=1, spec=spec)
    (row,) = gathered(campaign, [play(campaign, piece) for piece in pieces(campaign, 1)])

    assert row.standings["found"].greatest == pytest.approx(0, abs=1e-9)
    assert row.is_bad
    assert not row.is_good  # a cluster alone is below the floor: failing it is right


def test_labels_by_prediction_are_told_for_that_class_only():
    spec = {"gates": [{"name": "found", "metric": "recall", "class": "yes", "margin": 0.05}], "analysis": {}}
    campaign = a_campaign("by-prediction", spec=spec)
    stream = Stream(world_of(campaign, campaign.scenarios[0]), Random(1))

    counts = stream.cohort(0, 0)["main"]["stable"]

    assert all(set(row) == {"yes"} for row in counts["confusion"].values())
    assert counts["served"]["no"] > 100


def a_delivery(counting: Counting, *, by_class: bool) -> Delivery:
    """Looks a minute apart; labels count after two, "no" is labelled at once or after one, "yes" after two."""
    scenario = Scenario(name="s", about="", counting=counting, delayed_by_class=by_class)
    (question,) = questions_of(SPEC)
    setting = a_setting(looks=12, duration_s=720.0, label_delay_s=120.0)
    return Delivery(build(setting, (question,), question, scenario))


def a_cohort(n: int) -> dict[str, Any]:
    arm: dict[str, Any] = {"confusion": {"no": {"no": n}, "yes": {"yes": n}}, "served": {}}
    return {"main": {"canary": arm, "stable": arm}}


def test_matured_labels_come_a_label_delay_later_with_step_and_weight_of_their_predictions():
    delivery = a_delivery(Counting.MATURED, by_class=False)

    told = [list(delivery.told(60.0 * n, n // 3, a_cohort(n))) for n in range(5)]

    assert [[(b["at"], b["step"], b["expected"]) for b in each] for each in told] == [
        [],
        [],
        [(120.0, 0, {"main": 0.1})],
        [(180.0, 0, {"main": 0.1})],
        [(240.0, 0, {"main": 0.1})],
    ]


def test_labels_by_arrival_mix_cohorts_under_todays_step():
    delivery = a_delivery(Counting.ARRIVAL, by_class=True)

    *_, last = [list(delivery.told(60.0 * n, n // 3, a_cohort(n))) for n in range(1, 5)]

    assert (last[0]["step"], last[0]["expected"]) == (1, {"main": 0.5})
    assert last[0]["clusters"]["main"]["canary"]["confusion"] == {"no": {"no": 3}, "yes": {"yes": 2}}


def test_stickiness_changes_the_crowd_but_not_the_truth():
    campaign = a_campaign("sticky", requests_per_s=2.0)
    law = world_of(campaign, campaign.scenarios[0]).laws[0]["main"]["stable"]

    mean = [0.8 * easy + 0.2 * hard for easy, hard in zip(law.easy.rows[1], law.hard.rows[1], strict=True)]

    assert mean == pytest.approx(law.model.rows[1])
    assert law.hard.rows[1][0] > 2 * law.easy.rows[1][0]


def test_a_retry_passes_once_or_ends_as_its_first_attempt():
    campaign = a_campaign("retries", runs=1)
    world, analysis = world_of(campaign, campaign.scenarios[0]), Analysis.from_spec(SPEC)

    found = [trial(analysis, world, f"s{n}") for n in range(4)]

    assert all(each.attempts == 1 or each.end is End.PASSED for each in found)


def test_a_point_threshold_rolls_back_without_data_as_its_documentation_says():
    campaign = a_campaign("equal", label_share=1e-6, history=0)
    ended = peer_trials(world_of(campaign, campaign.scenarios[0]), "s")

    assert ended[FLAGGER.name].end is End.FAILED
    assert ended[FLAGGER.name].seconds == 300.0
    assert ended[ARGO.name].end is End.FAILED
    assert ended[ARGO.name].seconds == 1500.0


def test_a_point_threshold_promotes_what_is_clearly_good():
    campaign = a_campaign("equal", label_share=1.0)
    ended = peer_trials(world_of(campaign, campaign.scenarios[0]), "s")

    assert {name: each.end for name, each in ended.items()} == {ARGO.name: End.PASSED, FLAGGER.name: End.PASSED}


@pytest.mark.parametrize(
    "gate",
    [
        {"metric": "f1", "average": "macro"},
        {"metric": "rocAuc", "class": "yes"},
        {"metric": "logLoss"},
        {"metric": "errorRate"},
        {"metric": "recall", "class": "yes", "labels": "audit"},
    ],
    ids=lambda gate: gate["metric"],
)
def test_every_kind_of_counts_reaches_the_gate_and_the_peers(gate):
    spec = {"gates": [{"name": "g", "margin": 0.05, **gate}], "analysis": {"minSamples": 0}}
    (question,) = questions_of(spec)
    stable = type(MODEL)(
        classes=MODEL.classes, rows=MODEL.rows, separation=dict.fromkeys(("", "no", "yes"), 1.8), good={"g": 0.97}
    )
    world = build(a_setting(stable=stable, looks=6), (question,), question, Scenario(name="equal", about="", off=0.0))

    played = trial(Analysis.from_spec(spec), world, "s")

    assert played.labels > 50
    assert len(peer_trials(world, "s")) == 2


def test_tallies_name_the_commonest_reason_without_its_numbers():
    campaign = a_campaign("boundary", label_share=0.0005, runs=3, spec={**SPEC, "analysis": {"minSamples": 100}})
    (row,) = gathered(campaign, [play(campaign, piece) for piece in pieces(campaign, 3)])

    assert row.ours.expired.hits == 3
    assert row.ours.labels is None
    assert "… of … matured labels" in row.ours.why_undecided


def test_a_tally_of_nothing_claims_nothing():
    assert tally([]).passed.share == 0.0


def recording(*lines: str) -> list[str]:
    block = '{"at": %d, "clusters": {"aws": {"stable": %s, "canary": %s}}}'
    good = '{"confusion": {"a": {"a": 50}, "b": {"b": 40, "a": 10}}}'
    return [*lines, *(block % (60 * n, good, good) for n in range(1, 4))]


def test_a_recording_without_a_header_knows_its_classes_and_shares():
    found = decode_recording(recording())

    assert found.classes == ("a", "b")
    assert found.shares == {"aws": 600.0}
    assert len(found.blocks) == 3


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["nonsense"], r"line 1: not JSON .*; write one JSON object per line"),
        (["[1]"], r"line 1: '\[1\]' is not an object"),
        (['{"classes": ["a"], "weights": 1}'], r"line 1: weights: unknown in a header; known here: classes"),
        (['{"at": "noon", "clusters": {}}'], r"line 1: at: 'noon' is not a time; give seconds as a number"),
        (['{"at": 5}'], r"line 1: clusters: missing"),
        (['{"at": 5, "clusters": {}}', '{"at": 4, "clusters": {}}'], r"line 2: at: 4 is before 5; sort the blocks"),
        ([], r"the recording has no block"),
        (['{"at": 5, "clusters": {}}'], r"classes: only \[\] occur in the blocks; write a header with all classes"),
    ],
)
def test_a_broken_recording_is_refused_by_line(lines, said):
    with pytest.raises(RecordingError, match=said):
        decode_recording(lines)


def test_a_replay_says_what_changed_and_when():
    spec = {"gates": [{"name": "g", "metric": "accuracy", "floor": 0.5}], "analysis": {"minSamples": 150}}
    found = replayed(Analysis.from_spec(spec), decode_recording(recording()))

    assert [(turn.at, turn.gate, turn.state) for turn in found.turns] == [
        (60.0, "g", "InsufficientData"),
        (60.0, "", "InsufficientData"),
        (120.0, "g", "Pass"),
        (120.0, "", "Pass"),
    ]
    assert found.decided == ("Pass", 120.0)
    assert [at for at, _, _ in found.trail["g"]] == [60.0, 120.0, 180.0]
