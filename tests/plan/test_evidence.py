"""Which labels a step is judged by, and how a look leaves its trace or none."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pilotage.api import encode
from pilotage.api.reasons import Reason
from pilotage.api.types import EvidenceCondition, StepRecord, WaveRecord
from pilotage.evidence.reading import Block, BlockQuery, Counts, Window
from pilotage.gate.conditions import Condition
from pilotage.plan import decide
from pilotage.plan.windows import window_from, window_of
from support.builders import a_gate
from support.members import Quality
from support.stories import TWO_WAVES, a_world_with_v1_stable
from support.world import World


def a_wave(*steps: tuple[float, float | None]) -> WaveRecord:
    records = tuple(StepRecord(weight=10, started_at=start, observed_at=seen) for start, seen in steps)
    return WaveRecord(name="first", clusters=("aws",), started_at=0.0, steps=records)


def test_a_window_opens_after_the_weight_was_seen_in_maturity_time():
    assert window_of(a_wave((0, 40)), 0, 600) == Window(step=0, opens=40 + 15 + 600, closes=None)


def test_a_window_closes_before_the_next_weight_was_asked_for():
    assert window_of(a_wave((0, 40), (1000, None)), 0, 600) == Window(step=0, opens=655, closes=1000 - 15 + 600)


def test_a_weight_nobody_has_seen_yet_has_no_window():
    assert window_of(a_wave((0, None)), 0, 600) is None


def test_a_step_too_short_to_count_is_skipped():
    wave = a_wave((0, 40), (60, 80), (5000, None))
    assert window_of(wave, 0, 600) is None
    assert window_from(wave, 0, 600) == Window(step=1, opens=80 + 615, closes=5000 + 585)


def on_trial(*clusters: str, labels_per_s: float = 20.0) -> World:
    """Wave `all` is at its first weight, and its first question has been asked."""
    deployment = TWO_WAVES.with_waves(all=None)
    world = a_world_with_v1_stable(*clusters, deployment=deployment)
    world.quality["v2"] = Quality(recall_yes=0.95)
    for member in world.members.values():
        member.labels_per_s = labels_per_s
    world.apply(deployment.serving("v2"))
    world.run_until(lambda: any(isinstance(query, BlockQuery) for query in world.asked.values()))
    return world


def evidence(world: World):
    return world.revision("v2").status.evidence[0]


def test_nothing_is_asked_before_anything_can_have_matured():
    world = on_trial("aws")
    (query,) = world.asked.values()
    assert isinstance(query, BlockQuery)
    assert query.window.opens < query.asked_at
    assert query.since is None


def test_a_look_that_closes_no_block_leaves_no_trace_and_the_next_is_longer():
    world = on_trial("aws", labels_per_s=0.2)
    before = evidence(world)
    world.run(100)

    assert evidence(world) == before
    (query,) = [reading.query for reading in world.readings.values() if isinstance(reading, Block)]
    assert query.since is None


def test_all_clusters_answer_before_a_block_is_made():
    world = on_trial("aws", "gcp")
    world.now += 0.2
    world._deliver()
    answers = world.observed()
    one = replace(answers, readings=tuple(r for r in answers.readings if r.query.cluster == "aws"))

    assert decide(one, world.now).revision_status == {}
    assert decide(answers, world.now).revision_status != {}


def test_boundaries_of_all_clusters_move_in_the_write_that_closes_the_block():
    world = on_trial("aws", "gcp")
    world.run_until(lambda: evidence(world).blocks > 0)

    assert [boundary.cluster for boundary in evidence(world).boundaries] == ["aws", "gcp"]


def test_a_reading_from_another_boundary_is_ignored():
    world = on_trial("aws")
    world.run_until(lambda: evidence(world).blocks > 0)
    stale = world.observed()
    assert isinstance(stale.readings[-1], Block)
    assert stale.readings[-1].query.since is None

    again = decide(stale, world.now)

    assert again.revision_status == {}


def test_one_silent_cluster_holds_the_step_and_the_other_may_still_fail():
    world = on_trial("aws", "gcp")
    world.members["gcp"].metrics = False
    world.run(3600)
    assert world.status.step == "all 1/2"
    assert world.reason("MetricsAvailable") == "PrometheusUnreachable"

    world.quality["v2"] = Quality(recall_yes=0.5)
    world.run_until(lambda: world.status.phase == "Degraded")

    assert world.rollout.reason == "GateFailed"


def test_labels_of_a_class_nobody_named_are_trouble_and_no_verdict():
    world = on_trial("aws")
    world.now += 0.2
    world._deliver()
    observed = world.observed()
    strange = tuple(
        replace(reading, canary=Counts(confusion={"maybe": {"yes": 3}})) if isinstance(reading, Block) else reading
        for reading in observed.readings
    )

    decision = decide(replace(observed, readings=strange), world.now)

    condition = next(c for c in decision.status.conditions if c.type == "MetricsAvailable")
    assert (condition.status, condition.reason) == ("False", "CountersInconsistent")
    assert "maybe" in condition.message


def test_history_keeps_ten_outcomes_and_ten_revisions():
    world = a_world_with_v1_stable("aws", deployment=TWO_WAVES.with_gates())
    for number in range(2, 16):
        world.apply(TWO_WAVES.with_gates().serving(f"v{number}"))
        world.run_until(lambda: world.condition("Promoted") == "True")
        world.run(30)

    assert len(world.revisions) == 10
    assert world.status.stable_revision in world.revisions
    assert world.status.previous_revision in world.revisions


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "unpaused"])
def test_deciding_costs_no_query_when_nothing_is_under_way(paused):
    world = a_world_with_v1_stable("aws")
    world.apply(TWO_WAVES.paused(paused))
    world.rest()

    decision = decide(world.observed(), world.now)

    assert (decision.queries, decision.requeue_after_s) == ((), None)


# ------------------------------------------------------------------------------- what the guarantee rests on, in words


def broken_by(world: World, *conditions: EvidenceCondition) -> None:
    """The gate's record of wave `first` says that these do not hold."""
    obj = world.revisions[world.name_of("v2")]
    entry = world.revision("v2").status.evidence[0]
    changed = replace(world.revision("v2").status, evidence=(replace(entry, conditions=conditions),))
    obj["status"] = json.loads(json.dumps(encode.revision_status(changed)))


def events_of(world: World, reason: str) -> list[str]:
    return [line for line in world.trace.lines if f"{reason}: " in line]


def a_wave_on_trial() -> World:
    world = a_world_with_v1_stable("aws")
    world.members["aws"].labels_per_s = 0.0
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.share("aws", "v2") > 0)
    return world


def late(share: str) -> EvidenceCondition:
    return EvidenceCondition(
        type="LabelsLate", cluster="aws", message=f"{share} % came late; labelDelay 20m would fit."
    )


def test_what_does_not_hold_is_a_condition_and_one_event_when_it_begins():
    world = a_wave_on_trial()

    broken_by(world, late("9"))
    world.run(1)
    assert (world.condition("Gated"), world.reason("Gated")) == ("False", "LabelsLate")
    writes = world.hub_writes
    broken_by(world, late("8.5"))
    world.run(1)

    assert len(events_of(world, "LabelsLate")) == 1
    assert world.hub_writes == writes, "another figure is no other state"

    broken_by(world)
    world.run(1)
    assert (world.condition("Gated"), world.reason("Gated")) == ("True", "Gated")


def test_a_second_thing_that_does_not_hold_is_an_event_of_its_own():
    world = a_wave_on_trial()
    split = EvidenceCondition(type="SplitDiffers", cluster="aws", message="21 % of the requests instead of 10 %")

    broken_by(world, late("9"))
    world.run(1)
    broken_by(world, late("9"), split)
    world.run(1)

    assert world.reason("Gated") == "LabelsLate"
    assert len(events_of(world, "LabelsLate")) == len(events_of(world, "SplitDiffers")) == 1
    message = next(c.message for c in world.status.conditions if c.type == "Gated")
    assert "wave first in aws: 9 % came late" in message
    assert "21 % of the requests" in message


def test_every_condition_of_the_gate_is_a_reason_that_docs_explain():
    assert {condition.value for condition in Condition} <= {reason.value for reason in Reason}


def test_a_margin_that_cannot_be_proved_in_time_is_told_when_the_wave_begins_and_blocks_nothing():
    deployment = TWO_WAVES.with_gates(a_gate("recall-of-yes", "recall", class_="yes", margin=0.001))
    world = a_world_with_v1_stable("aws", deployment=deployment)
    world.apply(deployment.serving("v2"))

    world.run_until(lambda: world.share("aws", "v2") > 0)

    assert (world.condition("Gated"), world.reason("Gated")) == ("True", "MarginUnprovable")
    (told,) = events_of(world, "MarginUnprovable")
    assert "margin 0.001" in told
    assert "smallest provable margin" in told
    world.restart()
    world.run_until(lambda: world.status.step == "first 2/2")
    assert world.reason("Gated") == "MarginUnprovable"


def test_what_can_be_proved_is_no_news():
    world = on_trial("aws")

    assert world.reason("Gated") == "Gated"
