"""How a revision travels: design.md §5, the rows in which nothing goes wrong. Each test leaves a story in traces/."""

from __future__ import annotations

from support.members import Quality
from support.stories import TWO_WAVES, a_world_with_v1_stable, is_promoted, told
from support.world import World


def test_a_first_deployment_goes_wave_by_wave_on_readiness_alone():
    world = World("aws", "gcp", "azure")
    world.apply(TWO_WAVES)

    world.run_until(lambda: world.status.phase == "Healthy")

    assert world.condition("Gated") == "False"
    assert world.condition("Available") == "True"
    assert [gate.verdict for gate in world.revision("v1").status.history[0].gates] == ["NotApplicable"]
    told(world, "first-deployment")


def test_a_good_revision_passes_wave_by_wave_by_gateway_weights():
    world = a_world_with_v1_stable("aws", "gcp")
    world.quality["v2"] = Quality(recall_yes=0.95)

    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(is_promoted(world, "v2"))
    world.run(60)

    assert world.share("aws", "v2") == world.share("gcp", "v2") == 1.0
    assert world.status.previous_revision == world.name_of("v1")
    assert world.revision("v2").status.outcome == "Promoted"
    told(world, "good-rollout-by-gateway")


def test_a_good_revision_passes_by_the_ratio_of_pods():
    deployment = TWO_WAVES.by_replicas().with_replicas(5)
    world = a_world_with_v1_stable("aws", "gcp", deployment=deployment)
    world.quality["v2"] = Quality(recall_yes=0.95)

    world.apply(deployment.serving("v2"))
    world.run_until(is_promoted(world, "v2"))
    world.run(60)

    assert world.share("aws", "v2") == 1.0
    told(world, "good-rollout-by-replicas")


def test_without_gates_steps_end_on_readiness_and_pauses():
    deployment = TWO_WAVES.with_gates().with_steps(10, {"weight": 50, "pause": "5m"})
    world = a_world_with_v1_stable("aws", deployment=deployment)

    world.apply(deployment.serving("v2"))
    world.run_until(is_promoted(world, "v2"))

    assert world.reason("Gated") == "NoGates"
    told(world, "no-gates")


def test_a_pause_without_end_waits_for_a_person_and_skips_no_gate():
    deployment = TWO_WAVES.with_steps({"weight": 10, "pause": {}}, 50).with_analysis(interval="1h")
    world = a_world_with_v1_stable("aws", deployment=deployment)
    world.quality["v2"] = Quality(recall_yes=0.95)
    world.apply(deployment.serving("v2"))

    world.run(30 * 3600)
    assert (world.status.phase, world.status.step) == ("Paused", "first 1/2")

    world.annotate("promote", f"{world.rollout.name}/first/1")
    world.run(60)
    assert world.status.step == "first 1/2", "a value that names another step does nothing"

    world.annotate("promote", f"{world.rollout.name}/first/0")
    world.run_until(is_promoted(world, "v2"))

    assert world.rollout.waves[0].ungated is False
    told(world, "pause-for-a-person")


def test_promote_full_skips_the_gates_and_says_so():
    world = a_world_with_v1_stable("aws", "gcp")
    world.apply(TWO_WAVES.serving("v2"))
    world.run(30)

    world.annotate("promote-full", world.rollout.name)
    world.run_until(is_promoted(world, "v2"))

    assert world.reason("Gated") == "PromotedFull"
    assert world.revision("v2").status.history[-1].ungated
    told(world, "promote-full")


def test_a_joining_cluster_takes_stable_at_once_and_then_the_last_wave():
    world = a_world_with_v1_stable("aws")
    world.quality["v2"] = Quality(recall_yes=0.95)
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.status.step == "first 2/2")

    world.join("gcp")
    world.run(20)
    assert world.share("gcp", "v1") == 1.0

    world.run_until(is_promoted(world, "v2"))

    assert [(wave.name, wave.clusters) for wave in world.rollout.waves] == [("first", ("aws",)), ("rest", ("gcp",))]
    told(world, "joining-cluster")


def test_membership_is_frozen_when_a_wave_starts():
    deployment = TWO_WAVES.with_waves(first=["aws", "gcp"], rest=None)
    world = a_world_with_v1_stable("aws", deployment=deployment)
    world.quality["v2"] = Quality(recall_yes=0.95)
    world.apply(deployment.serving("v2"))
    world.run_until(lambda: world.status.step == "first 1/2")

    world.join("gcp")
    world.run_until(is_promoted(world, "v2"))

    assert [(wave.name, wave.clusters) for wave in world.rollout.waves] == [("first", ("aws",)), ("rest", ("gcp",))]


def test_a_cluster_that_leaves_a_wave_is_cleaned_and_the_others_evidence_starts_anew():
    deployment = TWO_WAVES.with_waves(all=None).placed_on(tier="serving")
    world = World()
    for name in ("aws", "gcp"):
        world.join(name, tier="serving")
    world.apply(deployment)
    world.run(3600)
    world.quality["v2"] = Quality(recall_yes=0.95)
    world.apply(deployment.serving("v2"))
    world.run_until(lambda: world.status.step == "all 1/2" and world.share("gcp", "v2") > 0)

    world.clusters["gcp"]["metadata"]["labels"] = {}
    world.trace.say(world.now, "gcp is no longer selected")
    world.run_until(is_promoted(world, "v2"))

    assert world.members["gcp"].objects == {}
    assert world.revision("v2").status.evidence[0].clusters == ("aws",)
    assert world.status.pending_cleanup == ()
    told(world, "leaving-cluster")


def test_replicas_and_interval_act_live_without_another_attempt():
    world = a_world_with_v1_stable("aws")
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.share("aws", "v2") > 0)

    world.apply(TWO_WAVES.serving("v2").with_replicas(6).with_analysis(interval="10s"))
    world.run(20)

    assert world.rollout.attempt == 1
    assert world.members["aws"].ready(world.name_of("v1")) == 6


def test_another_gate_mid_rollout_starts_the_revision_anew():
    world = a_world_with_v1_stable("aws")
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.share("aws", "v2") > 0)

    world.apply(TWO_WAVES.serving("v2").with_steps(20, 50))
    world.run_until(lambda: world.share("aws", "v2") == 0.2)

    assert world.rollout.attempt == 2
    assert [entry.outcome for entry in world.revision("v2").status.history] == ["Superseded"]
    told(world, "edited-plan")
