"""`status.clusters`: what serves in each cluster and how it stands, and which clusters still owe us something.

What is known of a cluster that cannot be seen is what was written when it last could: that is how a rollback that is
incomplete, or a clean-up that is pending, survives a restart.
"""

from __future__ import annotations

from enum import StrEnum

from pilotage.api.types import ClusterState, Outcome, PendingCleanup
from pilotage.plan.scene import Draft, Scene
from pilotage.plan.traffic import Want
from pilotage.plan.waves import layout, settled_on, taken_by, wants


class Place(StrEnum):
    """How a cluster stands."""

    WAITING = "Waiting"
    STARTING = "Starting"
    STABLE = "Stable"
    CANARY = "Canary"
    PASSED = "Passed"
    ROLLING_BACK = "RollingBack"
    STUCK = "StableUnavailable"
    DARK = "Unavailable"


def cluster_states(scene: Scene, draft: Draft) -> tuple[ClusterState, ...]:
    """One entry for each placed cluster, by name."""
    if not scene.placed:
        return draft.status.clusters
    before = {state.name: state for state in draft.status.clusters}
    asked = wants(scene, draft)
    return tuple(_state(scene, draft, name, asked.get(name), before.get(name)) for name in scene.placed)


def _state(scene: Scene, draft: Draft, name: str, want: Want | None, before: ClusterState | None) -> ClusterState:
    if want is None:
        return before or ClusterState(name=name, state=Place.WAITING)
    if name not in scene.sights:
        return _unseen(draft, name, want, before)
    sight = scene.sights[name]
    look = layout(scene, sight, want)
    if want.canary is not None:
        place = Place.PASSED if want.is_full and look.in_effect else Place.CANARY
        return ClusterState(name=name, revision=want.canary, weight=want.weight, state=place)
    if look.stuck and not draft.is_first and set(sight.arms) - {want.base}:
        place = Place.STUCK
    elif _is_rolled_back(draft, name) and not settled_on(scene, name, want.base):
        place = Place.ROLLING_BACK
    elif sight.ready(want.base):
        place = Place.STABLE
    else:
        place = Place.STARTING if before is None or before.state in (Place.WAITING, Place.STARTING) else Place.DARK
    return ClusterState(name=name, revision=want.base, weight=100, state=place)


def _unseen(draft: Draft, name: str, want: Want, before: ClusterState | None) -> ClusterState:
    """What was last known, but for a rollback that begins while nobody can look."""
    if before is None:
        return ClusterState(name=name, revision=want.base, state=Place.WAITING)
    was_on_trial = before.state in (Place.CANARY, Place.PASSED)
    if was_on_trial and want.canary is None and _is_rolled_back(draft, name):
        return ClusterState(name=name, revision=before.revision, weight=before.weight, state=Place.ROLLING_BACK)
    return before


def _is_rolled_back(draft: Draft, name: str) -> bool:
    rollout = draft.rollout
    ended = rollout is not None and rollout.outcome not in (None, Outcome.PROMOTED) and name in taken_by(rollout)
    owed = any(
        state.name == name and state.state in (Place.ROLLING_BACK, Place.STUCK) for state in draft.status.clusters
    )
    return ended or owed


def with_leavers(scene: Scene, draft: Draft) -> Draft:
    """Clusters that left the placement owe a clean-up until they can be seen without an object of ours.

    A cluster whose MemberCluster is gone is left as it is, serving: deleting one orphans. When the selector matches
    nothing at all nothing is taken away: that is a mistake more often than a wish.
    """
    if not scene.placed:
        return draft
    known = {entry.cluster: entry for entry in draft.status.pending_cleanup}
    names = {state.name for state in draft.status.clusters} | set(known)
    names |= {name for name, sight in scene.sights.items() if sight.objects}
    pending = []
    for name in sorted(names - set(scene.placed)):
        view = scene.observed.clusters.get(name)
        sight = scene.sights.get(name)
        gone = view is None or view.member is None or view.member.metadata.deletion_timestamp is not None
        if gone or (sight is not None and not sight.objects):
            continue
        entry = known.get(name) or PendingCleanup(cluster=name, origin=scene.origin, since=scene.now)
        pending.append(entry)
    return draft.with_status(pending_cleanup=tuple(pending))
