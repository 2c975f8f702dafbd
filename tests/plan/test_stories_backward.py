"""How a revision comes back, and what else can go wrong: the other rows of design.md §5. Stories are in traces/."""

from __future__ import annotations

import pytest

from support.builders import a_deployment, a_gate
from support.members import Quality
from support.stories import TWO_WAVES, a_world_with_v1_stable, is_promoted, told
from support.world import World

WORSE = Quality(recall_yes=0.7)
BETTER = Quality(recall_yes=0.95)


def ended(world: World, outcome: str):
    return lambda: world.rollout.outcome == outcome and world.condition("RollbackIncomplete") == "False"


def test_a_worse_revision_comes_back_and_later_waves_never_see_it():
    world = a_world_with_v1_stable("aws", "gcp")
    world.quality["v2"] = WORSE

    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(ended(world, "RolledBack"))
    world.run(24 * 3600)

    assert world.share("aws", "v1") == world.share("gcp", "v1") == 1.0
    assert ("Deployment", world.name_of("v2")) not in world.members["aws"].objects
    assert world.revision("v2").status.history[-1].clusters == ("aws",)
    assert (world.status.phase, world.reason("Promoted")) == ("Degraded", "GateFailed")
    told(world, "gate-failed")


def test_a_worse_revision_comes_back_by_the_ratio_of_pods():
    deployment = TWO_WAVES.by_replicas().with_replicas(4).with_steps(25, 50)
    world = a_world_with_v1_stable("aws", deployment=deployment)
    world.quality["v2"] = WORSE

    world.apply(deployment.serving("v2"))
    world.run_until(ended(world, "RolledBack"))
    world.run(30)

    assert world.members["aws"].ready(world.name_of("v1")) == 4
    told(world, "gate-failed-by-replicas")


def test_a_wave_that_passed_still_fails_when_its_floor_breaks_later():
    deployment = TWO_WAVES.with_gates(a_gate("recall-of-yes", "recall", class_="yes", floor=0.85))
    world = a_world_with_v1_stable("aws", "gcp", deployment=deployment)
    world.quality["v2"] = BETTER
    world.members["gcp"].labels_per_s = 0.5
    world.apply(deployment.serving("v2"))
    world.run_until(lambda: world.status.step == "rest 1/2")

    world.quality["v2"] = WORSE
    world.run_until(ended(world, "RolledBack"))

    assert "wave first" in world.rollout.message
    assert world.share("aws", "v1") == world.share("gcp", "v1") == 1.0
    told(world, "passed-wave-fails-later")


def test_abort_returns_everyone_and_latches():
    world = a_world_with_v1_stable("aws")
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.share("aws", "v2") > 0)

    world.annotate("abort", world.rollout.name)
    world.run_until(ended(world, "Aborted"))
    world.run(3600)

    assert world.status.latched_revision == world.name_of("v2")
    told(world, "abort")


def test_a_retry_goes_on_with_the_pass_evidence_and_a_fresh_one_does_not():
    world = a_world_with_v1_stable("aws")
    world.quality["v2"] = BETTER
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.status.step == "first 2/2")
    world.annotate("abort", world.rollout.name)
    world.run_until(ended(world, "Aborted"))
    gathered = world.revision("v2").status.evidence[0].gates[0].log_e_pass

    world.annotate("retry", world.rollout.name)
    world.run_until(lambda: world.rollout.attempt == 2 and bool(world.revision("v2").status.evidence))
    assert world.pass_evidence("v2") == pytest.approx(gathered, abs=1e-3)

    world.annotate("abort", world.rollout.name)
    world.run_until(ended(world, "Aborted"))
    world.annotate("retry-fresh", world.rollout.name)
    world.run_until(lambda: world.rollout.attempt == 3 and bool(world.revision("v2").status.evidence))
    assert world.pass_evidence("v2") == 0
    assert world.rollout.fresh

    world.run_until(is_promoted(world, "v2"))
    assert [entry.outcome for entry in world.revision("v2").status.history] == ["Aborted", "Aborted", "Promoted"]
    told(world, "retry")


def test_a_stale_verb_does_nothing():
    world = a_world_with_v1_stable("aws")
    world.apply(TWO_WAVES.serving("v2"))
    world.run(30)

    for verb in ("abort", "promote-full", "retry", "retry-fresh"):
        world.annotate(verb, f"{world.name_of('v1')}.1")
    world.run(30)

    assert world.rollout.outcome is None
    assert not world.rollout.promote_full


def test_a_new_spec_mid_rollout_goes_back_to_stable_first():
    world = a_world_with_v1_stable("aws")
    world.quality["v3"] = BETTER
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.share("aws", "v2") > 0)

    world.apply(TWO_WAVES.serving("v3"))
    world.run_until(is_promoted(world, "v3"))
    world.run(30)

    assert world.revision("v2").status.outcome == "Superseded"
    told(world, "new-spec-mid-rollout")


def test_the_stable_spec_again_returns_at_once_ungated():
    world = a_world_with_v1_stable("aws")
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.share("aws", "v2") > 0)

    world.apply(TWO_WAVES)
    took = world.run_until(lambda: world.condition("Promoted") == "True")

    assert took < 1
    assert world.status.latched_revision is None
    told(world, "back-to-the-stable-spec")


def test_a_new_spec_replaces_an_unready_first_revision_directly():
    world = World("aws", "gcp")
    world.apply(TWO_WAVES.serving("broken"))
    world.run(1)
    world.members["aws"].sick.add(world.name_of("broken"))
    world.run(3600)
    assert (world.status.phase, world.reason("Progressing")) == ("Degraded", "ProgressDeadlineExceeded")

    world.apply(TWO_WAVES.serving("v1"))
    world.run_until(is_promoted(world, "v1"))
    world.run(30)

    assert ("Deployment", world.name_of("broken")) not in world.members["aws"].objects
    told(world, "unready-first-revision")


def test_no_label_at_all_is_held_and_never_promoted():
    world = a_world_with_v1_stable("aws", deployment=TWO_WAVES.with_analysis(interval="2h"))
    world.members["aws"].labels_per_s = 0
    world.apply(TWO_WAVES.with_analysis(interval="2h").serving("v2"))

    world.run(48 * 3600)

    assert (world.status.phase, world.status.verdict, world.rollout.held) == ("Paused", "InsufficientData", True)
    told(world, "no-labels-held")

    world.annotate("abort", world.rollout.name)
    world.run_until(ended(world, "Aborted"))


def test_a_pass_still_promotes_what_is_held():
    deployment = TWO_WAVES.with_rollout(maxDuration="30m", onInconclusive="Hold").with_analysis(interval="2m")
    world = a_world_with_v1_stable("aws", deployment=deployment)
    world.members["aws"].labels_per_s = 0
    world.apply(deployment.serving("v2"))
    world.run(3600)
    assert world.rollout.held

    world.quality["v2"] = BETTER
    world.members["aws"].shares.append((world.now, dict(world.members["aws"].shares[-1][1])))
    world.members["aws"].labels_per_s = 20
    world.run_until(is_promoted(world, "v2"))


def test_an_undecided_rollout_expires_with_rollback():
    deployment = TWO_WAVES.with_rollout(maxDuration="1h").with_analysis(interval="5m", minSamples=10)
    world = a_world_with_v1_stable("aws", deployment=deployment)
    world.members["aws"].labels_per_s = 0.5

    world.apply(deployment.serving("v2"))
    world.run_until(ended(world, "Expired"))

    assert world.reason("Promoted") == "Inconclusive"
    told(world, "expired")


def test_pods_that_never_get_ready_expire_the_rollout():
    world = a_world_with_v1_stable("aws")
    world.apply(TWO_WAVES.serving("broken"))
    world.step()
    world.members["aws"].sick.add(world.name_of("broken"))

    took = world.run_until(ended(world, "Expired"))

    assert 600 <= took < 610
    assert world.reason("Promoted") == "ProgressDeadlineExceeded"
    told(world, "pods-never-ready")


def test_paused_starts_nothing_new_but_still_fails():
    world = a_world_with_v1_stable("aws")
    world.quality["v2"] = BETTER
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.status.step == "first 1/2" and world.share("aws", "v2") > 0)
    world.apply(TWO_WAVES.serving("v2").with_analysis(interval="1h").paused())
    world.run(30 * 3600)
    assert (world.status.phase, world.status.step) == ("Paused", "first 1/2"), "deadlines stand still too"

    world.quality["v2"] = Quality(recall_yes=0.5)
    world.run_until(ended(world, "RolledBack"))

    told(world, "paused")


def test_a_first_deployment_does_not_begin_while_paused():
    world = World("aws")
    world.apply(TWO_WAVES.paused())
    world.run(3600)
    assert world.members["aws"].objects == {}

    world.apply(TWO_WAVES)
    world.run_until(is_promoted(world, "v1"))


def test_an_unreachable_member_holds_its_wave_and_its_deadlines():
    world = a_world_with_v1_stable("aws", "gcp")
    world.quality["v2"] = BETTER
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.status.step == "first 2/2")

    world.lose("gcp")
    world.apply(TWO_WAVES.serving("v2").with_analysis(interval="1h"))
    world.run(30 * 3600)
    world.apply(TWO_WAVES.serving("v2"))
    assert world.rollout.waves[-1].name == "first"
    assert world.condition("MembersReachable") == "False"

    world.find_again("gcp")
    world.run_until(is_promoted(world, "v2"))
    told(world, "unreachable-before-its-wave")


def test_rollback_goes_on_elsewhere_and_names_who_is_missing():
    deployment = TWO_WAVES.with_waves(all=None)
    world = a_world_with_v1_stable("aws", "gcp", deployment=deployment)
    world.apply(deployment.serving("v2"))
    world.run_until(lambda: world.share("gcp", "v2") > 0)

    world.lose("gcp")
    world.annotate("abort", world.rollout.name)
    world.run(3600)
    assert world.share("aws", "v1") == 1.0
    assert world.reason("RollbackIncomplete") == "ClustersPending"

    world.restart()
    assert world.reason("RollbackIncomplete") == "ClustersPending", "a restart forgets nothing"

    world.quality["v3"] = BETTER
    world.apply(deployment.serving("v3"))
    world.run(600)
    assert world.rollout.waves == (), "the cluster gets stable before anything new"

    world.find_again("gcp")
    world.run_until(is_promoted(world, "v3"))
    told(world, "unreachable-during-rollback")


def test_the_canary_goes_on_serving_while_stable_cannot_start():
    world = a_world_with_v1_stable("aws")
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.share("aws", "v2") > 0)
    world.members["aws"].sick.add(world.name_of("v1"))

    world.annotate("abort", world.rollout.name)
    world.run(600)
    assert world.reason("RollbackIncomplete") == "StableUnavailable"
    assert world.members["aws"].ready(world.name_of("v2")) == 1

    world.members["aws"].sick.clear()
    world.run_until(ended(world, "Aborted"))
    told(world, "stable-cannot-start")


def test_a_gateway_that_does_not_answer_lets_no_step_count():
    world = a_world_with_v1_stable("aws")
    world.members["aws"].gateway_answers = False

    world.apply(TWO_WAVES.serving("v2"))
    world.run(300)

    assert world.rollout.waves[0].steps[-1].observed_at is None
    assert world.reason("Progressing") == "WaitingForWeight"


def test_metrics_that_are_missing_hold_the_rollout_and_decide_nothing():
    world = a_world_with_v1_stable("aws")
    world.members["aws"].metrics = False
    world.apply(TWO_WAVES.serving("v2"))
    world.run(600)
    assert world.rollout.waves == ()
    assert world.reason("MetricsAvailable") == "PrometheusUnreachable"

    world.quality["v2"] = BETTER
    world.members["aws"].metrics = True
    world.run_until(is_promoted(world, "v2"))
    told(world, "metrics-missing")


def test_deleting_takes_everything_away_and_tries_a_dead_member_for_ten_minutes():
    world = a_world_with_v1_stable("aws", "gcp")
    world.lose("gcp")

    world.delete()
    world.run(590)
    assert world.members["aws"].objects == {}
    assert world.exists()

    world.run(20)
    assert not world.exists()
    assert world.members["gcp"].objects != {}
    told(world, "deletion")


def test_a_foreign_object_of_our_name_is_never_written_over():
    world = World("aws")
    foreign = {"kind": "Service", "metadata": {"name": "digits-stable", "labels": {}}}
    world.members["aws"].taken["Service", "digits-stable"] = foreign

    world.apply(a_deployment())
    world.run(60)

    assert world.members["aws"].objects == {}
    assert world.reason("Progressing") == "NameTaken"
    assert "digits-stable exists and is not ours" in world.status.message
    told(world, "name-taken")


def test_deleting_a_member_cluster_leaves_it_serving():
    world = a_world_with_v1_stable("aws", "gcp")

    del world.clusters["gcp"]
    world.run(60)

    assert world.members["gcp"].objects
    assert [state.name for state in world.status.clusters] == ["aws"]


def test_a_selector_that_matches_nothing_takes_nothing_away():
    world = a_world_with_v1_stable("aws")

    world.apply(TWO_WAVES.placed_on(tier="typo"))
    world.run(60)

    assert world.share("aws", "v1") == 1.0
    assert (world.status.phase, world.reason("Progressing")) == ("Degraded", "NoClusterMatches")


def test_an_unknown_class_in_a_gate_is_a_condition():
    world = a_world_with_v1_stable("aws")

    deployment = TWO_WAVES.with_gates(a_gate("of-eight", "recall", class_="8", floor=0.8))
    world.apply(deployment.serving("v2"))
    world.run(60)

    assert (world.condition("SpecValid"), world.reason("SpecValid")) == ("False", "UnknownClass")
    assert world.share("aws", "v1") == 1.0


def test_a_spec_the_gate_refuses_is_a_condition_and_stable_serves_on():
    world = a_world_with_v1_stable("aws")

    world.apply(TWO_WAVES.with_gates(a_gate("nonsense", "accuracy")).serving("v2"))
    world.run(60)

    assert (world.condition("SpecValid"), world.status.phase) == ("False", "Degraded")
    assert "spec.gates[0]" in world.status.message
    assert world.rollout.name == f"{world.name_of('v1')}.1"


def test_a_joining_cluster_that_cannot_be_used_says_why_and_others_serve_on():
    world = a_world_with_v1_stable("aws")
    gcp = world.join("gcp")
    del world.clusters["gcp"]["spec"]["gateway"]
    world.run(60)

    assert gcp.objects == {}
    assert (world.reason("Progressing"), world.condition("Available")) == ("GatewayMissing", "True")
    assert "set spec.gateway" in world.status.message


def test_a_stable_that_loses_all_its_pods_is_told():
    world = a_world_with_v1_stable("aws")
    world.members["aws"].sick.add(world.name_of("v1"))
    world.run(60)

    assert (world.status.phase, world.reason("Available")) == ("Degraded", "PodsUnavailable")


def test_without_gates_a_deadline_with_hold_waits_for_a_person():
    deployment = TWO_WAVES.with_gates().with_steps({"weight": 10, "pause": "3h"}, 50)
    deployment = deployment.with_rollout(maxDuration="1h", onInconclusive="Hold")
    world = a_world_with_v1_stable("aws", deployment=deployment)

    world.apply(deployment.serving("v2"))
    world.run(10 * 3600)
    assert (world.rollout.held, world.status.phase, world.status.step) == (True, "Paused", "first 1/2")

    world.annotate("promote-full", world.rollout.name)
    world.run_until(is_promoted(world, "v2"))


def test_a_later_deadline_lifts_the_hold():
    deployment = TWO_WAVES.with_rollout(maxDuration="1h").with_analysis(interval="10m")
    world = a_world_with_v1_stable("aws", deployment=deployment)
    world.members["aws"].labels_per_s = 0
    world.apply(deployment.serving("v2"))
    world.run(2 * 3600)
    assert world.rollout.held

    world.apply(deployment.serving("v2").with_rollout(maxDuration="9h"))
    world.run(60)

    assert not world.rollout.held
    assert world.rollout.attempt == 1


def test_a_revisions_record_deleted_by_hand_is_made_anew_and_the_rollout_goes_on():
    world = a_world_with_v1_stable("aws")
    world.quality["v2"] = BETTER
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.status.step == "first 2/2" and world.share("aws", "v2") == 0.5)

    del world.revisions[world.name_of("v2")]
    world.run_until(is_promoted(world, "v2"))

    assert world.revision("v2").status.outcome == "Promoted"


def test_an_aborted_first_deployment_stops_where_it_is():
    world = World("aws", "gcp")
    world.apply(TWO_WAVES)
    world.run(2)

    world.annotate("abort", world.rollout.name)
    world.run(3600)

    assert (world.status.phase, world.rollout.outcome) == ("Degraded", "Aborted")
    assert world.members["gcp"].objects == {}
    assert world.share("aws", "v1") == 1.0, "there is nothing to return to: what serves goes on"


# ------------------------------------------------------------------------------------------- a spec nobody can decode


def with_a_typo(deployment):
    return deployment.with_rollout(maxDuration="soon")


def test_an_undecodable_spec_freezes_a_rollout_and_abort_still_takes_it_back():
    world = a_world_with_v1_stable("aws")
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.share("aws", "v2") > 0)
    world.apply(with_a_typo(TWO_WAVES.serving("v2")))
    world.run(3600)
    assert (world.status.phase, world.reason("SpecValid")) == ("Degraded", "InvalidSpec")
    assert world.share("aws", "v2") == 0.1, "as it was"

    world.annotate("abort", world.rollout.name)
    world.run(60)

    assert world.rollout.outcome == "Aborted"
    assert world.share("aws", "v1") == 1.0
    assert ("Deployment", world.name_of("v2")) not in world.members["aws"].objects
    assert world.revision("v2").status.history[-1].outcome == "Aborted"
    assert world.status.latched_revision == world.name_of("v2")
    told(world, "abort-under-an-undecodable-spec")


def test_a_way_back_goes_on_under_a_spec_that_cannot_be_decoded():
    world = a_world_with_v1_stable("aws")
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.share("aws", "v2") > 0)
    world.lose("aws")
    world.annotate("abort", world.rollout.name)
    world.run(60)
    world.apply(with_a_typo(TWO_WAVES.serving("v2")))
    world.find_again("aws")
    world.run(60)

    assert world.share("aws", "v1") == 1.0


def test_where_nobody_can_read_how_it_is_served_nothing_is_touched():
    world = a_world_with_v1_stable("aws")
    world.apply(TWO_WAVES.serving("v2"))
    world.run_until(lambda: world.share("aws", "v2") > 0)
    world.apply(TWO_WAVES.serving("v2").with_label_delay("soon"))
    world.annotate("abort", world.rollout.name)
    world.run(60)

    assert world.share("aws", "v2") == 0.1
    assert world.rollout.outcome is None
