"""A spec that cannot be decoded: said, and everything left as it is, but for the way back.

What stands in the status was decided under a spec that could be read, so a person may still abort that rollout, and one
that has ended goes on returning to stable wherever placement, traffic and feedback of the new spec can be read. Nothing
new begins, nothing else is repaired, and no evidence is judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pilotage.api.conditions import find
from pilotage.api.reasons import ConditionType, Reason
from pilotage.api.types import Condition, DeploymentStatus, Outcome, Phase, RevisionStatus
from pilotage.plan import rollouts, verbs
from pilotage.plan.decision import Decision, Event, Intent
from pilotage.plan.intents import intents
from pilotage.plan.observed import Observed
from pilotage.plan.places import cluster_states
from pilotage.plan.scene import Draft, Scene, set_the_scene
from pilotage.plan.waves import taken_by


def leave_it(observed: Observed, now: float) -> Decision:
    """What should be true although the spec says nothing usable."""
    deployment = observed.deployment
    draft = Draft(status=deployment.status, revisions=observed.revisions)
    going_back: Mapping[str, Intent] = {}
    if deployment.salvage is not None and draft.rollout is not None:
        scene = set_the_scene(observed, deployment.salvage, now)
        draft = verbs.abort(scene, rollouts.finish_recorded_end(scene, draft))
        if _is_taken_back(draft):
            draft = draft.with_status(clusters=cluster_states(scene, draft))
            going_back = _way_back(scene, draft)
    told, is_news = _told(observed, draft.status, now)
    warning = Event(type="Warning", reason=Reason.INVALID_SPEC.value, note=told.message)
    return Decision(
        status=told,
        revision_status=_revision_status(observed, draft),
        events=(*draft.events, *((warning,) if is_news else ())),
        intents=going_back,
    )


def _is_taken_back(draft: Draft) -> bool:
    rollout = draft.rollout
    ended = rollout is not None and rollout.outcome not in (None, Outcome.PROMOTED)
    return ended and draft.status.stable_revision is not None


def _way_back(scene: Scene, draft: Draft) -> Mapping[str, Intent]:
    """Intents for the clusters that took the revision and are not on stable alone yet."""
    assert draft.rollout is not None
    back = set(rollouts.returning(scene, draft)) & set(taken_by(draft.rollout))
    return {cluster: intent for cluster, intent in intents(scene, draft).items() if cluster in back}


def _told(observed: Observed, status: DeploymentStatus, now: float) -> tuple[DeploymentStatus, bool]:
    """The status with what is wrong in it, and whether that is new."""
    deployment = observed.deployment
    generation, message = deployment.metadata.generation, "; ".join(deployment.problems)[:1000]
    known = find(status.conditions, ConditionType.SPEC_VALID)
    is_news = known is None or known.status != "False"
    condition = Condition(
        type=ConditionType.SPEC_VALID.value,
        status="False",
        reason=Reason.INVALID_SPEC.value,
        message=message,
        observed_generation=generation,
        last_transition_time=now if known is None or is_news else known.last_transition_time,
    )
    others = tuple(each for each in status.conditions if each.type != ConditionType.SPEC_VALID)
    told = replace(
        status,
        observed_generation=generation,
        phase=Phase.DEGRADED,
        message=message,
        conditions=(*others, condition),
    )
    return told, is_news


def _revision_status(observed: Observed, draft: Draft) -> Mapping[str, RevisionStatus]:
    return {
        name: revision.status
        for name, revision in draft.revisions.items()
        if revision.status != observed.revisions[name].status
    }
