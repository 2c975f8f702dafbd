"""Everything a decision may look at, from caches, at one moment. Awaits nothing, writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pilotage.api.names import origin
from pilotage.api.types import DeploymentStatus, MemberCluster, ModelDeployment, ModelRevision
from pilotage.evidence.reading import Query, Reading
from pilotage.fleet import link as fleet_link
from pilotage.fleet.registry import Outlook
from pilotage.kube import Key
from pilotage.plan.observed import ClusterView, Fresh, Link, NotSynced, Observed, Refused, Unreachable


class HubView(Protocol):
    """What is read of the hub's cache."""

    def deployment(self, key: Key) -> ModelDeployment | None: ...  # noqa: D102
    def revisions(self, deployment: Key) -> Mapping[str, ModelRevision]: ...  # noqa: D102
    def members(self) -> Mapping[str, MemberCluster]: ...  # noqa: D102


class FleetView(Protocol):
    """What is read of the members."""

    def look(self, name: str, key: Key, origin: str) -> Outlook: ...  # noqa: D102


class QueryView(Protocol):
    """What is read of the questions to Prometheus."""

    def asked(self, key: Key) -> tuple[Query, ...]: ...  # noqa: D102
    def answers(self, key: Key) -> tuple[Reading, ...]: ...  # noqa: D102


def gather(
    key: Key, deployment: ModelDeployment, hub: HubView, fleet: FleetView, readings: QueryView, *, hub_uid: str
) -> Observed:
    """The input of `decide` for one ModelDeployment."""
    members = hub.members()
    mark = origin(hub_uid, deployment.metadata.uid)
    names = sorted({*members, *_mentioned(deployment.status)})
    return Observed(
        hub_uid=hub_uid,
        deployment=deployment,
        revisions=hub.revisions(key),
        clusters={name: _view(name, members.get(name), fleet.look(name, key, mark)) for name in names},
        readings=readings.answers(key),
        asked=readings.asked(key),
    )


def _mentioned(status: DeploymentStatus) -> set[str]:
    """Clusters that the status still speaks of, whether or not there is a MemberCluster."""
    waves = status.rollout.waves if status.rollout else ()
    return {
        *(cluster for wave in waves for cluster in wave.clusters),
        *(state.name for state in status.clusters),
        *(pending.cluster for pending in status.pending_cleanup),
    }


def _view(name: str, member: MemberCluster | None, seen: Outlook) -> ClusterView:
    return ClusterView(
        name=name,
        member=member,
        link=_link(seen.link),
        objects=seen.objects,
        pods=seen.pods,
        taken=seen.taken,
        apply_error=seen.apply_error,
    )


def _link(link: fleet_link.Link) -> Link:
    match link:
        case fleet_link.Connecting():
            return NotSynced()
        case fleet_link.Connected():
            return Fresh()
        case fleet_link.Lost(since=since, message=message):
            return Unreachable(since=since, reason="Unreachable", message=message)
        case fleet_link.Barred(reason=reason, message=message):
            return Refused(reason=reason.value, message=message)
