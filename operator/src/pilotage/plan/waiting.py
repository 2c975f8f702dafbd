"""Why a rollout is where it is, in one reason and one sentence: what `Progressing` and `status.message` say.

The sentences name what is waited for and the remedy, and hold no measured value, so that they change only when the
situation does.
"""

from __future__ import annotations

from collections.abc import Iterable

from pilotage.api.reasons import Reason
from pilotage.api.types import RolloutRecord, TrafficMode, WaveRecord
from pilotage.plan.bake import not_baked
from pilotage.plan.baselines import begin
from pilotage.plan.deadlines import lacks_progress
from pilotage.plan.feedback import CREDENTIALS
from pilotage.plan.progress import baseline_for, held_back, ready_to_start
from pilotage.plan.scene import Draft, Obstacle, Scene
from pilotage.plan.waves import current_wave, is_full, members, next_wave, obstacle_in, settled_on


def why_not_further(scene: Scene, draft: Draft, rollout: RolloutRecord) -> Obstacle:
    """What the rollout under way waits for."""
    wave = current_wave(rollout)
    if wave is None:
        return _before_a_wave(scene, draft, rollout)
    if lacks_progress(scene, draft):
        ails = _what_ails(scene, draft, rollout, wave)
        return Obstacle(reason=Reason.PROGRESS_DEADLINE_EXCEEDED, message=f"progressDeadline passed; {ails.message}")
    if wave.steps[-1].observed_at is None:
        return _what_ails(scene, draft, rollout, wave)
    if scene.spec.paused:
        return Obstacle(reason=Reason.PAUSED, message="spec.paused is true: nothing new starts")
    held = None if is_full(scene, draft, wave) else held_back(scene, draft, rollout, wave)
    if rollout.held and held is not None:
        message = f"maxDuration passed: held until every gate passes, or a person decides; {held.message}"
        return Obstacle(reason=Reason.HELD, message=message)
    return held or Obstacle(reason=Reason.STEP_COMPLETED, message=f"wave {wave.name} goes on")


def _before_a_wave(scene: Scene, draft: Draft, rollout: RolloutRecord) -> Obstacle:
    if rollout.full_at is not None and (baking := not_baked(scene, draft, rollout)) is not None:
        return baking
    if scene.spec.paused:
        return Obstacle(reason=Reason.PAUSED, message="spec.paused is true: nothing new starts")
    upcoming = next_wave(scene, rollout)
    if upcoming is None:
        return Obstacle(reason=Reason.NO_CLUSTER_MATCHES, message="no cluster is left to take the revision")
    name, clusters = upcoming
    if (obstacle := obstacle_in(scene, clusters)) is not None:
        return _held_by(obstacle, name)
    if ready_to_start(scene, draft) is None:
        stable = draft.status.stable_revision or ""
        where = ", ".join(cluster for cluster in clusters if not settled_on(scene, cluster, stable))
        return Obstacle(
            reason=Reason.WAITING_FOR_WEIGHT, message=f"wave {name} waits for {where} to be on stable alone"
        )
    problem = evidence_problem(scene, draft)
    return problem or Obstacle(
        reason=Reason.WAITING_FOR_BASELINE, message=f"wave {name} waits for the recent traffic of {', '.join(clusters)}"
    )


def _held_by(obstacle: Obstacle, wave: str) -> Obstacle:
    """What a person has to repair keeps its own reason; a member that is away is waited for."""
    to_repair = (Reason.NAME_TAKEN, Reason.UNCLAIMED, Reason.GATEWAY_MISSING)
    reason = obstacle.reason if obstacle.reason in to_repair else Reason.WAITING_FOR_MEMBER
    return Obstacle(reason=reason, message=f"wave {wave} waits; {obstacle.message}")


def evidence_problem(scene: Scene, draft: Draft) -> Obstacle | None:
    """What in the baselines keeps a wave's evidence from beginning: classes unknown, counters missing."""
    rollout, lacking = draft.active, baseline_for(scene, draft)
    if rollout is None or lacking is None:
        return None
    begun = begin(scene, draft, rollout, lacking[0], lacking[1], step=0)
    return begun if isinstance(begun, Obstacle) else None


def _what_ails(scene: Scene, draft: Draft, rollout: RolloutRecord, wave: WaveRecord) -> Obstacle:
    """Why a weight is not in effect."""
    clusters = members(scene, wave)
    if (obstacle := obstacle_in(scene, clusters)) is not None:
        return _held_by(obstacle, wave.name)
    if (problem := problem_in(scene, clusters, rollout.revision)) is not None:
        return problem
    weight, where = wave.steps[-1].weight, ", ".join(clusters)
    if draft.is_first:
        return Obstacle(reason=Reason.WAITING_FOR_PODS, message=f"wave {wave.name} waits for ready pods in {where}")
    return Obstacle(
        reason=Reason.WAITING_FOR_WEIGHT,
        message=f"wave {wave.name} waits for weight {weight} to take effect in {where}",
    )


def problem_in(scene: Scene, clusters: Iterable[str], revision: str | None) -> Obstacle | None:
    """What a member's API server, the pods of a revision or the gateway complain of, in that order."""
    seen = [cluster for cluster in clusters if cluster in scene.sights]
    for cluster in seen:
        if (problem := apply_problem(scene, cluster)) is not None:
            return problem
        if (problem := pods_problem(scene, cluster, revision)) is not None:
            return problem
    if scene.spec.traffic.mode is TrafficMode.GATEWAY:
        for cluster in seen:
            route = scene.sights[cluster].route
            if route is not None and route.is_refused:
                return Obstacle(reason=Reason.ROUTE_NOT_ACCEPTED, message=f"{cluster}: {route.problem}")
    return None


def missing_secret(scene: Scene, clusters: Iterable[str], revision: str | None) -> Obstacle | None:
    """What new pods of a revision that serves wait for, and only a person brings."""
    problems = (pods_problem(scene, cluster, revision) for cluster in clusters if cluster in scene.sights)
    return next((each for each in problems if each and each.reason is Reason.MEMBER_SECRET_MISSING), None)


def pods_problem(scene: Scene, cluster: str, revision: str | None) -> Obstacle | None:
    """What pods of a revision complain of in a cluster that can be seen."""
    who = scene.spec.feedback.credentials
    for pods in scene.sights[cluster].problems:
        if pods.revision == revision:
            named = (
                f"; the Secret is {scene.metadata.namespace}/{who.secret_name}"
                if who and CREDENTIALS in pods.message
                else ""
            )
            return Obstacle(reason=pods.reason, message=f"{cluster}: {pods.revision}: {pods.message}{named}")
    return None


def apply_problem(scene: Scene, cluster: str) -> Obstacle | None:
    """The last refusal by a member's API server."""
    error = scene.observed.clusters[cluster].apply_error
    if error is None:
        return None
    reason = Reason(error[0]) if error[0] in set(Reason) else Reason.APPLY_REFUSED
    return Obstacle(reason=reason, message=f"{cluster}: {error[1]}"[:500])
