"""Carries out a decision, in the one order that survives a crash between any two steps.

    finalizer set → revisions created → revision statuses → deployment status → events → intents → queries
    → revisions removed → finalizer removed

Every write is guarded by the version the decision was made on; the first that does not take (Conflict) ends the act,
and the key is decided anew. Nothing acts in a member before the status that says so has been stored. A write that would
change nothing is not made. Knows nothing of why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pilotage.api import encode
from pilotage.api.names import origin
from pilotage.api.types import ModelDeployment
from pilotage.evidence.reading import Query
from pilotage.fleet.registry import Fleet
from pilotage.fleet.syncer import Wanted
from pilotage.hub.events import EventRecorder, Regarding
from pilotage.hub.finalizer import has_finalizer, set_finalizer
from pilotage.hub.kinds import MODEL_DEPLOYMENTS
from pilotage.hub.revisions import create_revision, remove_revision, write_revision_status
from pilotage.hub.status import StatusWriter
from pilotage.hub.store import Entry, HubStore
from pilotage.kube import Api, Conflict, Key
from pilotage.plan.decision import Decision
from pilotage.plan.observed import Observed


class QueryDesk(Protocol):
    """Where due questions go."""

    def schedule(self, key: Key, queries: tuple[Query, ...]) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What acting needs. `require_leading` raises when we do not lead (any more)."""

    api: Api
    store: HubStore
    statuses: StatusWriter
    recorder: EventRecorder
    fleet: Fleet
    queries: QueryDesk
    hub_uid: str
    require_leading: Callable[[], None]


async def act(hands: Hands, key: Key, observed: Observed, decision: Decision) -> None:
    """Make the decision true, or raise: Conflict (decide anew), another error of `kube` (try again later)."""
    deployment = observed.deployment
    if decision.finalizer:
        await _set_finalizer(hands, key, deployment, wanted=True)
    await _write_revisions(hands, key, observed, decision)
    await _write_status(hands, key, deployment, decision)
    _record_events(hands, key, deployment, decision)
    mark = origin(hands.hub_uid, deployment.metadata.uid)
    hands.fleet.set_intents(
        key,
        {
            cluster: Wanted(origin=mark, apply=intent.apply, delete=intent.delete)
            for cluster, intent in decision.intents.items()
        },
    )
    hands.queries.schedule(key, decision.queries)
    for name in decision.remove_revisions:
        hands.require_leading()
        await remove_revision(hands.api, hands.store, Key(key.namespace, name))
    if not decision.finalizer:
        await _set_finalizer(hands, key, deployment, wanted=False)


async def _set_finalizer(hands: Hands, key: Key, deployment: ModelDeployment, *, wanted: bool) -> None:
    entry = _entry(hands, key, deployment)
    if has_finalizer(entry) != wanted:
        hands.require_leading()
        await set_finalizer(hands.api, hands.store, entry, wanted=wanted)


async def _write_revisions(hands: Hands, key: Key, observed: Observed, decision: Decision) -> None:
    for revision in decision.create:
        hands.require_leading()
        await create_revision(hands.api, hands.store, revision, observed.deployment.metadata)
    for name, status in decision.revision_status.items():
        hands.require_leading()
        seen = observed.revisions.get(name)
        await write_revision_status(
            hands.statuses,
            hands.store,
            Key(key.namespace, name),
            status,
            seen_version=seen.metadata.resource_version if seen else "",
        )


async def _write_status(hands: Hands, key: Key, deployment: ModelDeployment, decision: Decision) -> None:
    hands.require_leading()
    entry = _entry(hands, key, deployment)
    await hands.statuses.write(MODEL_DEPLOYMENTS, entry, encode.deployment_status(decision.status))


def _record_events(hands: Hands, key: Key, deployment: ModelDeployment, decision: Decision) -> None:
    regarding = Regarding(kind=MODEL_DEPLOYMENTS.kind, key=key, uid=deployment.metadata.uid)
    for event in decision.events:
        hands.recorder.record(regarding, type_=event.type, reason=event.reason, note=event.note)


def _entry(hands: Hands, key: Key, deployment: ModelDeployment) -> Entry:
    """The object as stored now, if nobody but ourselves has changed it since the decision was made."""
    entry = hands.store.entry(MODEL_DEPLOYMENTS, key)
    if entry is None or entry.uid != deployment.metadata.uid:
        raise Conflict("the ModelDeployment is gone", call=f"act {key}", code=409)
    if not isinstance(entry.value, ModelDeployment):
        raise Conflict("the ModelDeployment cannot be read", call=f"act {key}", code=409)
    if entry.value.status != deployment.status or entry.value.metadata.generation != deployment.metadata.generation:
        raise Conflict("the ModelDeployment has changed", call=f"act {key}", code=409)
    return entry
