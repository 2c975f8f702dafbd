"""What people see: phase, message, columns, pause reasons, and the conditions as `plan.states` makes them.

Derived from the draft at the end of a decision; nothing in the planner reads it back but `since` times of pauses.
"""

from __future__ import annotations

from pilotage.api.reasons import Reason
from pilotage.api.types import Outcome, PauseReason, Phase, RolloutRecord
from pilotage.plan.looks import evidence_of
from pilotage.plan.places import Place
from pilotage.plan.progress import pause_left
from pilotage.plan.rollouts import returning
from pilotage.plan.scene import Draft, Obstacle, Scene
from pilotage.plan.waiting import evidence_problem, missing_secret, problem_in, why_not_further
from pilotage.plan.waves import current_wave, is_full, obstacle_in

_WORDS = {
    Outcome.ROLLED_BACK: "was rolled back",
    Outcome.ABORTED: "was aborted",
    Outcome.EXPIRED: "expired",
}


def with_pauses(scene: Scene, draft: Draft) -> Draft:
    """Why nothing new starts, with since when."""
    since = {pause.reason: pause.since for pause in draft.status.pause_reasons}
    found = [Reason.PAUSED] if scene.spec.paused else []
    rollout = draft.active
    wave = current_wave(rollout) if rollout else None
    on_trial = wave is not None and not is_full(scene, draft, wave)
    if rollout is not None and wave is not None and on_trial and pause_left(scene, draft, rollout, wave) > 0:
        found.append(Reason.STEP_PAUSED)
    if rollout is not None and rollout.held:
        found.append(Reason.HELD)
    pauses = tuple(PauseReason(reason=reason.value, since=since.get(reason.value, scene.now)) for reason in found)
    return draft.with_status(pause_reasons=pauses)


def situation(scene: Scene, draft: Draft) -> tuple[Phase, Obstacle]:
    """Phase, and the reason and sentence that go with it."""
    if scene.problems:
        return Phase.DEGRADED, Obstacle(reason=Reason.INVALID_SPEC, message="; ".join(scene.problems)[:1000])
    if (problem := evidence_problem(scene, draft)) is not None and problem.reason is Reason.UNKNOWN_CLASS:
        return Phase.DEGRADED, problem
    if not scene.placed:
        message = "placement.clusterSelector matches no MemberCluster; compare it with `kubectl get mcl --show-labels`"
        return Phase.DEGRADED, Obstacle(reason=Reason.NO_CLUSTER_MATCHES, message=message)
    if draft.active is not None:
        return _under_way(scene, draft)
    return _at_rest(scene, draft)


def _under_way(scene: Scene, draft: Draft) -> tuple[Phase, Obstacle]:
    rollout = draft.active
    assert rollout is not None
    why = why_not_further(scene, draft, rollout)
    if draft.status.pause_reasons:
        return Phase.PAUSED, why
    return (Phase.DEGRADED if why.reason is Reason.PROGRESS_DEADLINE_EXCEEDED else Phase.PROGRESSING), why


def verdict_of(draft: Draft, rollout: RolloutRecord) -> str:
    """What the evidence of all waves together says."""
    revision = draft.revisions.get(rollout.revision)
    return revision.status.verdict if revision is not None else ""


def _at_rest(scene: Scene, draft: Draft) -> tuple[Phase, Obstacle]:
    rollout, stable = draft.rollout, draft.status.stable_revision
    back = [s.name for s in draft.status.clusters if s.state in (Place.ROLLING_BACK, Place.STUCK)]
    if rollout is not None and rollout.outcome in _WORDS and rollout.revision == draft.status.latched_revision:
        remedy = f"apply another revision, or `pilotage retry {scene.metadata.name}`"
        way = f"; {', '.join(back)} on the way back to stable" if back else ""
        how = "failed" if stable is None and rollout.outcome is Outcome.ROLLED_BACK else _WORDS[rollout.outcome]
        message = f"{rollout.name} {how}: {rollout.message}{way}; {remedy}"
        return Phase.DEGRADED, Obstacle(reason=Reason(rollout.reason), message=message)
    if scene.desired != stable:
        if scene.spec.paused:
            return Phase.PAUSED, Obstacle(reason=Reason.PAUSED, message="spec.paused is true: nothing new starts")
        where = ", ".join(returning(scene, draft))
        message = f"{where} on the way back to stable, before {scene.desired} begins"
        return Phase.PROGRESSING, Obstacle(reason=Reason.ROLLING_BACK, message=message)
    if back:
        return Phase.PROGRESSING, Obstacle(
            reason=Reason.ROLLING_BACK, message=f"{', '.join(back)} on the way back to stable"
        )
    dark = tuple(s.name for s in draft.status.clusters if s.state == Place.DARK)
    if dark:
        message = f"no ready pod of the stable revision in {', '.join(dark)}"
        problem = problem_in(scene, dark, stable)
        return Phase.DEGRADED, problem or Obstacle(reason=Reason.PODS_UNAVAILABLE, message=message)
    coming = tuple(s.name for s in draft.status.clusters if s.state in (Place.STARTING, Place.WAITING))
    if coming:
        message = f"waiting for ready pods in {', '.join(coming)}"
        problem = obstacle_in(scene, coming) or problem_in(scene, coming, stable)
        return Phase.PROGRESSING, problem or Obstacle(reason=Reason.WAITING_FOR_PODS, message=message)
    problem = problem_in(scene, scene.placed, None) or missing_secret(scene, scene.placed, stable)
    if problem is not None:
        return Phase.DEGRADED, problem
    return Phase.HEALTHY, Obstacle(reason=Reason.AS_EXPECTED, message=f"{stable} is stable in every cluster")


def with_columns(scene: Scene, draft: Draft) -> Draft:
    """STEP, WEIGHT, CLUSTERS, VERDICT."""
    states = draft.status.clusters
    target = draft.status.target_revision
    there = [s for s in states if s.revision == target and s.state in (Place.STABLE, Place.PASSED)]
    rollout = draft.active
    wave = current_wave(rollout) if rollout else None
    step, weight, verdict = "", 100 if draft.status.stable_revision else 0, ""
    if rollout is not None:
        full = wave is not None and is_full(scene, draft, wave)
        number = len(scene.steps) if full else len(wave.steps) if wave else 0
        step = f"{wave.name} {number}/{len(scene.steps)}" if wave and not draft.is_first else wave.name if wave else ""
        weight = 100 if full else wave.steps[-1].weight if wave else 0
        entry = evidence_of(draft, rollout, wave.name) if wave else None
        verdict = entry.verdict if entry is not None else ""
        if rollout.full_at is not None and wave is None:
            step, weight, verdict = "bake", rollout.waves[-1].steps[-1].weight, verdict_of(draft, rollout)
    elif draft.rollout is not None and draft.rollout.outcome is not None:
        verdict = draft.rollout.outcome.value
    return draft.with_status(step=step, weight=weight, clusters_summary=f"{len(there)}/{len(states)}", verdict=verdict)
