"""What a MemberCluster says of itself: its `Ready` condition, its pinned identity, and objects nobody claims.

Reads the fleet's links, writes through the hub's status writer, one name at a time. While a member is only being
connected to, what was said of it last stays. Written while leading, like everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from pilotage.api import codec
from pilotage.api.conditions import find, set_conditions
from pilotage.api.names import origin
from pilotage.api.reasons import ConditionType, Reason
from pilotage.api.types import Condition, MemberCluster
from pilotage.engine.queue import WorkQueue
from pilotage.fleet.link import Barred, Connected, Connecting, Link, Lost
from pilotage.fleet.registry import Fleet
from pilotage.hub.events import EventRecorder, Regarding
from pilotage.hub.kinds import MEMBER_CLUSTERS
from pilotage.hub.status import StatusWriter
from pilotage.hub.store import HubStore
from pilotage.kube import ApiError, Clock, Conflict, Key

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDesk:
    """What telling about members needs."""

    store: HubStore
    statuses: StatusWriter
    recorder: EventRecorder
    fleet: Fleet
    clock: Clock
    hub_uid: str
    leading: Callable[[], bool]


async def tell_members(desk: MemberDesk, queue: WorkQueue[str]) -> None:
    """Write what is known of members whose names are queued. Ends: when cancelled. Retried: ApiError, by name."""
    while True:
        name = await queue.get()
        try:
            if desk.leading():
                await _tell(desk, name)
            queue.succeed(name)
        except Conflict:
            queue.add_after(name, 0.2)
        except ApiError as error:
            delay_s = queue.retry(name)
            log.info("member.status.retry", cluster=name, error=str(error), delay_s=round(delay_s, 1))
        finally:
            queue.done(name)


async def _tell(desk: MemberDesk, name: str) -> None:
    entry = desk.store.entry(MEMBER_CLUSTERS, Key("", name))
    if entry is None or not isinstance(entry.value, MemberCluster):
        return
    member = entry.value
    regarding = Regarding(kind=MEMBER_CLUSTERS.kind, key=Key("", name), uid=entry.uid)
    _report_unclaimed(desk, regarding, name)
    link = _worst(desk, name)
    before = find(member.conditions, ConditionType.READY)
    if isinstance(link, Connecting) and before is not None:
        return
    ready = _ready(name, link, member, desk.clock.now().timestamp())
    (condition,) = set_conditions(member.conditions, (ready,))
    status: dict[str, Any] = {"conditions": [_json(condition)]}
    # the first cluster met is the cluster for good, until the object is made anew
    identity = member.cluster_uid or (desk.fleet.identity(name) if isinstance(link, Connected) else "")
    if identity:
        status["clusterUid"] = identity
    await desk.statuses.write(MEMBER_CLUSTERS, entry, status)
    if before is None or (before.status, before.reason) != (condition.status, condition.reason):
        type_ = "Warning" if condition.status == "False" else "Normal"
        desk.recorder.record(regarding, type_=type_, reason=condition.reason, note=condition.message)


def _worst(desk: MemberDesk, name: str) -> Link:
    """The link as a whole, or the first namespace in which a right is missing."""
    link = desk.fleet.link(name)
    if isinstance(link, Connected):
        for namespace in sorted(desk.store.namespaces()):
            inside = desk.fleet.link_in(name, namespace)
            if isinstance(inside, Barred):
                return inside
    return link


def _ready(name: str, link: Link, member: MemberCluster, now: float) -> Condition:
    match link:
        case Connected():
            status, reason, message = "True", Reason.CONNECTED, f"{name} answers and its credential works"
        case Connecting():
            status, reason, message = "Unknown", Reason.CONNECTING, f"connecting to {name}"
        case Lost(message=error):
            status, reason = "False", Reason.UNREACHABLE
            message = f"{name} does not answer: {error}; check its API server and the network to it"
        case Barred(reason=reason, message=message):
            status = "False"
    return Condition(
        type=ConditionType.READY.value,
        status=status,
        reason=reason.value,
        message=message[:1024],
        observed_generation=member.metadata.generation,
        last_transition_time=now,
    )


def _json(condition: Condition) -> dict[str, Any]:
    encoded: dict[str, Any] = codec.encode(condition)
    return {"observedGeneration": condition.observed_generation, **encoded}


def _report_unclaimed(desk: MemberDesk, regarding: Regarding, name: str) -> None:
    """Objects of this hub whose ModelDeployment does not exist any more: told, left serving."""
    mark = desk.hub_uid[:8] + "."
    for namespace, origins in desk.fleet.origins(name).items():
        claimed = {
            origin(desk.hub_uid, deployment.metadata.uid)
            for key in desk.store.deployments()
            if (deployment := desk.store.deployment(key)) is not None
        }
        for unclaimed in sorted(one for one in origins - claimed if one.startswith(mark)):
            note = (
                f"namespace {namespace} of {name} has objects labelled pilotage.dev/origin={unclaimed} that no "
                "ModelDeployment explains; they are left serving, delete them by that label if they are not needed"
            )
            desk.recorder.record(regarding, type_="Warning", reason=Reason.UNCLAIMED.value, note=note)
            log.warning("member.unclaimed", cluster=name, namespace=namespace, origin=unclaimed)
