"""The end of a ModelDeployment, and of revisions nobody needs.

Only objects with our origin are taken away, and only where they can be seen. A member that is dead when its
ModelDeployment is deleted is tried for ten minutes, recorded, and then let go: nobody should have to edit finalizers.
"""

from __future__ import annotations

from dataclasses import replace

from pilotage.api import names
from pilotage.api.reasons import Reason
from pilotage.api.types import DeploymentStatus, PendingCleanup, Phase
from pilotage.plan.decision import Decision, Event, Intent
from pilotage.plan.intents import in_deletion_order
from pilotage.plan.observed import Fresh, Observed
from pilotage.plan.scene import Draft, Scene
from pilotage.plan.views import sight_of

GIVE_UP_AFTER_S = 600.0
REVISIONS_KEPT = 10


def say_goodbye(observed: Observed, now: float) -> Decision:
    """What is left to do for a ModelDeployment that is being deleted."""
    deployment = observed.deployment
    deadline = (deployment.metadata.deletion_timestamp or now) + GIVE_UP_AFTER_S
    intents, left, unseen = {}, [], []
    known = {state.name for state in deployment.status.clusters}
    known |= {entry.cluster for entry in deployment.status.pending_cleanup}
    for name, view in sorted(observed.clusters.items()):
        if isinstance(view.link, Fresh):
            sight = sight_of(view, deployment=deployment.metadata.name, gateway=None)
            if view.objects:
                left.append(name)
                intents[name] = Intent(delete=in_deletion_order(sight))
        elif name in known and view.member is not None:
            unseen.append(name)
    over = now >= deadline
    waiting = [] if over else unseen
    done = not left and not waiting
    return Decision(
        status=_last_status(observed, now, left, unseen),
        intents=intents,
        finalizer=not done,
        events=_farewell(unseen) if done and unseen else (),
        requeue_after_s=deadline - now if waiting else None,
    )


def _last_status(observed: Observed, now: float, left: list[str], unseen: list[str]) -> DeploymentStatus:
    deployment = observed.deployment
    origin = names.origin(observed.hub_uid, deployment.metadata.uid)
    before = {entry.cluster: entry for entry in deployment.status.pending_cleanup}
    where = ", ".join(sorted({*left, *unseen}))
    return replace(
        deployment.status,
        phase=Phase.PROGRESSING,
        message=f"being deleted; objects are being removed in {where}" if where else "being deleted",
        pending_cleanup=tuple(
            before.get(name) or PendingCleanup(cluster=name, origin=origin, since=now) for name in unseen
        ),
    )


def _farewell(unseen: list[str]) -> tuple[Event, ...]:
    where = ", ".join(unseen)
    note = f"Deleted although {where} could not be reached: objects of this ModelDeployment may go on serving there."
    return (Event(type="Warning", reason=Reason.UNCLAIMED.value, note=note),)


def forgotten_revisions(scene: Scene, draft: Draft) -> tuple[str, ...]:
    """Revisions past the history limit, oldest first; never one that serves, is wanted, latched or the way back."""
    status = draft.status
    needed = {status.stable_revision, status.previous_revision, status.target_revision, status.latched_revision}
    needed |= {status.rollout.revision} if status.rollout else set()
    needed |= {state.revision for state in status.clusters}  # a cluster out of sight may serve it still
    needed |= {revision for sight in scene.sights.values() for revision in sight.arms}
    by_age = sorted(
        draft.revisions.values(), key=lambda revision: (revision.metadata.creation_timestamp, revision.metadata.name)
    )
    spare = [revision.metadata.name for revision in by_age if revision.metadata.name not in needed]
    return tuple(spare[: max(0, len(by_age) - REVISIONS_KEPT)])
