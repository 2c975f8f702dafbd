"""The hub store fed by our own informers instead of kopf: the other side of the seam (python-operator.md §2.7).

What simulations use, where kopf's sockets have no place in virtual time; it could replace kopf's watch in production.
"""

from __future__ import annotations

import asyncio

from pilotage.hub.kinds import KINDS
from pilotage.hub.store import HubStore
from pilotage.kube import Api, Clock, Resource
from pilotage.kube.backoff import Jitter
from pilotage.kube.informer import Informer
from pilotage.kube.store import Change, Store
from pilotage.kube.watch import Selection


async def follow_hub(api: Api, store: HubStore, *, clock: Clock, jitter: Jitter) -> None:
    """Feed the store. Owns: one informer per kind. Ends: when cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for kind in KINDS:
            informer = Informer(
                api, Selection(resource=kind), Store(), on_change=_Tell(store, kind), clock=clock, jitter=jitter
            )
            tasks.create_task(informer.run(), name=f"informer {kind}")


class _Tell:
    """Hands the changes of one kind to the hub store."""

    def __init__(self, store: HubStore, kind: Resource) -> None:
        self._store, self._kind = store, kind

    def __call__(self, change: Change) -> None:
        if change.new is not None:
            self._store.upsert(self._kind, change.new)
        elif change.old is not None:
            self._store.remove(self._kind, change.old)
