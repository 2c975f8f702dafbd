"""Watching on after full promotion: design.md §2 "bake", §5. Stories are in traces/."""

from __future__ import annotations

import pytest

from pilotage.plan import decide
from support.builders import DeploymentBuilder, a_gate
from support.members import Quality
from support.stories import TWO_WAVES, a_world_with_v1_stable, is_promoted, told
from support.world import World

BETTER, WORSE = Quality(recall_yes=0.95), Quality(recall_yes=0.6)
HOUR = 3600.0


CALM = TWO_WAVES.with_analysis(interval="5m")


def baking_for(duration: str, *, holdback: int = 0, deployment: DeploymentBuilder = CALM) -> DeploymentBuilder:
    return deployment.with_rollout(bake={"duration": duration, **({"holdback": holdback} if holdback else {})})


def in_its_bake(deployment: DeploymentBuilder, *clusters: str) -> World:
    """v2 has passed everywhere and bakes."""
    world = a_world_with_v1_stable(*clusters, deployment=deployment.with_rollout(bake=None))
    world.quality["v2"] = BETTER
    world.apply(deployment.serving("v2"))
    world.run_until(lambda: world.status.step == "bake")
    return world


def test_the_old_model_stays_stable_and_warm_until_the_bake_is_over():
    world = in_its_bake(baking_for("1h"), "aws", "gcp")
    began = world.now

    assert world.share("aws", "v2") == world.share("gcp", "v2") == 1.0
    assert world.members["aws"].ready(world.name_of("v1")) == 3
    assert (world.status.phase, world.status.clusters_summary, world.status.weight) == ("Progressing", "2/2", 100)
    assert (world.condition("Promoted"), world.reason("Promoted")) == ("False", "Baking")
    assert world.status.message.startswith("baking until 20")
    assert world.status.stable_revision == world.name_of("v1")

    world.run_until(is_promoted(world, "v2"))

    assert HOUR <= world.now - began <= HOUR + 360
    world.run(60)
    assert ("Deployment", world.name_of("v1")) not in world.members["aws"].objects
    told(world, "bake")


def test_a_bake_is_never_shorter_than_the_label_delay():
    world = in_its_bake(baking_for("1s", deployment=CALM.with_label_delay("20m")), "aws")

    assert world.run_until(is_promoted(world, "v2")) >= 1200


@pytest.mark.parametrize("mode", ["Gateway", "Replicas"])
def test_a_holdback_ends_with_the_bake(mode):
    deployment = baking_for("20m", holdback=20, deployment=CALM.with_replicas(4))
    world = in_its_bake(deployment.by_replicas() if mode == "Replicas" else deployment, "aws")

    world.run_until(is_promoted(world, "v2"))
    world.run(60)

    assert world.share("aws", "v2") == 1.0
    assert ("Deployment", world.name_of("v1")) not in world.members["aws"].objects
    assert world.members["aws"].ready(world.name_of("v2")) == 4


@pytest.mark.parametrize("mode", ["Gateway", "Replicas"])
def test_a_holdback_keeps_a_share_on_stable_and_margins_go_on_being_tested(mode):
    margin_alone = a_gate("recall-of-yes", "recall", class_="yes", margin=0.05)
    deployment = baking_for("12h", holdback=20, deployment=CALM.with_gates(margin_alone).with_replicas(4))
    world = in_its_bake(deployment.by_replicas() if mode == "Replicas" else deployment, "aws")

    assert world.share("aws", "v2") == 0.8
    assert world.members["aws"].ready(world.name_of("v2")) == 4
    assert world.status.weight == 80

    world.quality["v2"] = WORSE
    world.run_until(lambda: world.rollout.outcome == "RolledBack")
    world.run(60)

    assert world.rollout.reason == "GateFailed"
    assert world.share("aws", "v1") == 1.0
    told(world, f"bake-fails-on-its-holdback-{mode.lower()}")


def test_a_model_that_turns_bad_while_it_bakes_comes_back_everywhere():
    world = in_its_bake(baking_for("12h"), "aws", "gcp")

    world.quality["v2"] = WORSE
    world.run_until(lambda: world.rollout.outcome == "RolledBack")
    world.run(60)

    assert world.share("aws", "v1") == world.share("gcp", "v1") == 1.0
    assert world.status.latched_revision == world.name_of("v2")
    told(world, "bake-fails")


def test_the_bake_spends_no_fresh_alpha_its_processes_are_those_of_the_waves():
    world = in_its_bake(baking_for("2h"), "aws")
    passed = world.revision("v2").status.evidence
    world.run(HOUR)
    later = world.revision("v2").status.evidence

    assert [entry.wave for entry in passed] == [entry.wave for entry in later] == ["first"]
    assert later[0].blocks > passed[0].blocks
    assert {gate.verdict for gate in later[0].gates} == {"Pass"}


def test_a_wave_that_was_full_long_before_opens_another_start_when_the_bake_begins():
    world = in_its_bake(baking_for("12h"), "aws", "gcp")
    first, rest = world.rollout.waves
    assert (len(first.steps), len(rest.steps)) == (4, 3)

    def starts() -> list[int]:
        return [entry.state["starts"] for entry in world.revision("v2").status.evidence]

    world.run(HOUR)
    assert starts() == [4, 3]
    assert world.revision("v2").status.evidence[0].step == 3
    assert world.condition("MetricsAvailable") == "True"


def test_paused_keeps_the_bake_from_ending_and_not_from_failing():
    deployment = baking_for("1h")
    world = in_its_bake(deployment, "aws")
    world.apply(deployment.serving("v2").paused())
    world.run(3 * HOUR)
    assert (world.status.phase, world.reason("Promoted"), world.rollout.outcome) == ("Paused", "Baking", None)

    world.quality["v2"] = WORSE
    world.run_until(lambda: world.rollout.outcome == "RolledBack")


def test_a_bake_that_was_paused_beyond_its_end_ends_at_once():
    deployment = baking_for("1h")
    world = in_its_bake(deployment, "aws")
    world.apply(deployment.serving("v2").paused())
    world.run(3 * HOUR)

    world.apply(deployment.serving("v2"))

    assert world.run_until(is_promoted(world, "v2")) < 60


def test_abort_ends_a_bake_and_a_retry_bakes_again():
    world = in_its_bake(baking_for("1h"), "aws")
    world.annotate("abort", world.rollout.name)
    world.run_until(lambda: world.rollout.outcome == "Aborted" and world.share("aws", "v1") == 1.0)

    world.annotate("retry", world.rollout.name)
    world.run_until(lambda: world.status.step == "bake")

    assert world.rollout.attempt == 2
    world.run_until(is_promoted(world, "v2"))
    assert [entry.outcome for entry in world.revision("v2").status.history] == ["Aborted", "Promoted"]


def test_a_new_spec_in_a_bake_goes_back_to_stable_first():
    deployment = baking_for("1h")
    world = in_its_bake(deployment, "aws")
    world.quality["v3"] = BETTER

    world.apply(deployment.serving("v3"))
    world.run(60)

    assert world.share("aws", "v2") == 0.0
    assert world.revision("v2").status.history[-1].outcome == "Superseded"
    world.run_until(is_promoted(world, "v3"))
    assert world.status.previous_revision == world.name_of("v1")
    told(world, "bake-superseded")


def test_the_stable_spec_again_ends_a_bake_at_once():
    deployment = baking_for("1h")
    world = in_its_bake(deployment, "aws")

    world.apply(deployment)
    world.run(60)

    assert world.share("aws", "v1") == 1.0
    assert (world.status.phase, world.rollout.reason) == ("Healthy", "ReturnedToStable")


def test_promote_full_skips_the_bake_and_says_so():
    world = in_its_bake(baking_for("12h"), "aws")

    world.annotate("promote-full", world.rollout.name)
    world.run(60)

    assert is_promoted(world, "v2")()
    assert world.reason("Gated") == "PromotedFull"
    assert world.revision("v2").status.history[-1].ungated


def test_the_deadline_of_the_rollout_stands_still_in_a_bake():
    world = in_its_bake(baking_for("8h").with_rollout(maxDuration="4h"), "aws")

    world.run_until(is_promoted(world, "v2"))


def test_its_length_may_be_edited_while_it_runs():
    deployment = baking_for("30h")
    world = in_its_bake(deployment, "aws")
    world.run(HOUR)

    world.apply(baking_for("2h").serving("v2"))
    world.run(60)
    assert world.rollout.outcome is None

    assert world.run_until(is_promoted(world, "v2")) <= HOUR + 360
    assert world.rollout.attempt == 1


def test_it_does_not_end_before_its_last_metrics_have_been_read():
    world = in_its_bake(baking_for("1h"), "aws")
    world.members["aws"].metrics = False

    world.run(3 * HOUR)
    assert world.reason("Progressing") == "WaitingForEvidence"
    assert world.reason("MetricsAvailable") == "PrometheusUnreachable"

    world.members["aws"].metrics = True
    world.run_until(is_promoted(world, "v2"))


def test_a_restart_at_its_end_looks_once_more_before_it_promotes():
    world = in_its_bake(baking_for("1h"), "aws")
    world.run(HOUR - 60)
    world.quality["v2"] = Quality(recall_yes=0.0)
    world.readings.clear()
    world.now += 600

    decision = decide(world.observed(), world.now)

    assert decision.status.stable_revision == world.name_of("v1")
    assert decision.queries


def test_it_does_not_end_while_a_cluster_is_away():
    world = in_its_bake(baking_for("1h"), "aws", "gcp")
    world.lose("gcp")
    world.run(3 * HOUR)
    assert world.reason("Progressing") == "WaitingForMember"

    world.find_again("gcp")
    world.run_until(is_promoted(world, "v2"))


def test_it_does_not_end_while_the_new_pods_are_sick():
    world = in_its_bake(baking_for("1h"), "aws")
    world.members["aws"].sick.add(world.name_of("v2"))
    world.run(3 * HOUR)
    assert world.status.stable_revision == world.name_of("v1")

    world.members["aws"].sick.clear()
    world.run_until(is_promoted(world, "v2"))


def test_a_cluster_that_joins_in_a_bake_takes_the_revision_and_the_bake_begins_anew():
    world = in_its_bake(baking_for("1h"), "aws")
    world.run(1800)
    world.join("gcp")
    world.run(30)
    assert world.rollout.full_at is None

    world.run_until(lambda: world.status.step == "bake")
    assert world.share("gcp", "v2") == 1.0
    began = world.now
    world.run_until(is_promoted(world, "v2"))

    assert world.now - began >= HOUR
    told(world, "bake-and-a-joining-cluster")


def test_without_gates_a_bake_is_time_with_the_old_model_warm():
    world = in_its_bake(baking_for("1h", deployment=CALM.with_gates()), "aws")

    assert world.run_until(is_promoted(world, "v2")) >= HOUR - 60


# ---------------------------------------------------------------------------------------------------- first deployment


def first_bake(deployment: DeploymentBuilder, quality: Quality, *clusters: str) -> World:
    world = World(*clusters)
    world.quality["v1"] = quality
    world.apply(deployment)
    world.run_until(lambda: world.status.step == "bake")
    return world


def test_a_first_deployments_floors_act_in_its_bake():
    world = first_bake(baking_for("12h"), WORSE, "aws", "gcp")

    world.run_until(lambda: world.rollout.outcome == "RolledBack")
    world.run(60)

    assert world.share("aws", "v1") == 1.0, "there is nothing else to serve"
    assert world.status.stable_revision is None
    assert world.status.phase == "Degraded"
    assert "nothing is stable" in world.status.message
    assert world.condition("Available") == "True"
    told(world, "first-bake-fails")


def test_after_a_first_bake_that_failed_another_revision_replaces_it_directly():
    deployment = baking_for("12h")
    world = first_bake(deployment, WORSE, "aws")
    world.run_until(lambda: world.rollout.outcome == "RolledBack")

    world.apply(deployment.serving("v2"))
    world.quality["v2"] = BETTER
    world.run_until(is_promoted(world, "v2"))

    assert world.share("aws", "v2") == 1.0


def test_a_first_bake_that_failed_may_be_tried_again_with_all_evidence_anew():
    world = first_bake(baking_for("2h"), WORSE, "aws")
    world.run_until(lambda: world.rollout.outcome == "RolledBack")
    world.quality["v1"] = BETTER

    world.annotate("retry", world.rollout.name)
    world.run_until(is_promoted(world, "v1"))

    assert [entry.outcome for entry in world.revision("v1").status.history] == ["RolledBack", "Promoted"]


def test_a_first_deployment_that_keeps_its_floors_is_stable_after_its_bake():
    world = first_bake(baking_for("2h"), BETTER, "aws", "gcp")
    world.run_until(is_promoted(world, "v1"))

    history = world.revision("v1").status.history[0]
    assert [gate.verdict for gate in history.gates] == ["Pass"]
    assert (history.ungated, world.reason("Gated")) == (False, "FirstDeployment")
    told(world, "first-bake")


def test_margins_do_not_apply_to_a_first_bake():
    margin_alone = a_gate("recall-of-yes", "recall", class_="yes", margin=0.05)
    world = first_bake(baking_for("1h", deployment=CALM.with_gates(margin_alone)), WORSE, "aws")
    world.run_until(is_promoted(world, "v1"))

    assert [gate.verdict for gate in world.revision("v1").status.history[0].gates] == ["NotApplicable"]


# ------------------------------------------------------------------------------------------------------- require: Pass


def test_a_step_that_requires_a_pass_does_not_end_with_enough_labels_alone():
    quick = TWO_WAVES.with_analysis(minSamples=20)
    strict = quick.with_steps({"weight": 10, "require": "Pass"}, 50)

    def labels_when_its_first_step_ends(deployment: DeploymentBuilder) -> tuple[int, str]:
        world = a_world_with_v1_stable("aws", deployment=deployment)
        world.quality["v2"] = BETTER
        world.apply(deployment.serving("v2"))
        world.run_until(lambda: world.status.step == "first 2/2")
        entry = world.revision("v2").status.evidence[0]
        return entry.gates[0].labels_canary, entry.gates[0].verdict

    soon, _ = labels_when_its_first_step_ends(quick)
    late, verdict = labels_when_its_first_step_ends(strict)

    assert verdict == "Pass"
    assert late > 2 * soon


def test_what_a_step_that_requires_a_pass_waits_for_is_named():
    deployment = TWO_WAVES.with_analysis(minSamples=20).with_steps({"weight": 10, "require": "Pass"}, 50)
    world = a_world_with_v1_stable("aws", deployment=deployment)
    world.quality["v2"] = Quality(recall_yes=0.86)
    world.apply(deployment.serving("v2"))

    world.run_until(lambda: world.reason("Progressing") == "WaitingForPass")

    assert "recall-of-yes" in world.status.message
    assert "step 1 of wave first" in world.status.message


def test_the_plan_of_a_rollout_has_what_its_steps_require():
    deployment = TWO_WAVES.with_steps(10, 50)
    world = a_world_with_v1_stable("aws", deployment=deployment)
    world.apply(deployment.serving("v2"))
    world.run(60)

    world.apply(deployment.serving("v2").with_steps({"weight": 10, "require": "Pass"}, 50))
    world.run(60)

    assert world.rollout.attempt == 2
