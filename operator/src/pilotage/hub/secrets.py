"""Secrets of the operator's own namespace, each followed by name from the first time somebody asks for it.

One watch per name, selected by `metadata.name`: no other Secret ever reaches this process. `on_change` is told when a
followed Secret appears, changes or goes. Values are never logged.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

from pilotage.kube import Api, Clock, Forbidden, Key
from pilotage.kube.backoff import Jitter
from pilotage.kube.informer import Informer
from pilotage.kube.resources import SECRETS
from pilotage.kube.store import Change, Store
from pilotage.kube.watch import Selection

SETTLE_POLL_S = 0.05


class Secrets:
    """See the module. Owns: one informer per name asked for."""

    def __init__(
        self, api: Api, namespace: str, *, clock: Clock, jitter: Jitter, on_change: Callable[[str], None]
    ) -> None:
        self._api, self._namespace, self._clock, self._jitter = api, namespace, clock, jitter
        self._on_change = on_change
        self._stores: dict[str, Store] = {}
        self._informers: dict[str, Informer] = {}
        self._new: asyncio.Queue[Informer] = asyncio.Queue()

    @property
    def namespace(self) -> str:
        """The operator's own namespace."""
        return self._namespace

    async def run(self) -> None:
        """Follow what is asked for. Owns: the informers. Ends: when cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                informer = await self._new.get()
                tasks.create_task(informer.run(), name="informer secret")

    def read(self, name: str) -> dict[str, bytes] | None:
        """The Secret's data, decoded; None when there is none of this name."""
        store = self._stores.get(name)
        found = store.get(Key(self._namespace, name)) if store is not None else None
        if found is None:
            return None
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    async def ready(self, name: str) -> None:
        """Return once the Secret has been looked for, or it is known that we may not."""
        informer = self._follow(name)
        while not informer.synced.is_set() and not self.problem(name):
            await self._clock.sleep(SETTLE_POLL_S)

    def problem(self, name: str) -> str:
        """Why the Secret cannot be looked for, or nothing."""
        informer = self._informers.get(name)
        if informer is None or not isinstance(informer.error, Forbidden):
            return ""
        return f"may not list or watch Secret {name} in namespace {self._namespace}"

    def _follow(self, name: str) -> Informer:
        informer = self._informers.get(name)
        if informer is not None:
            return informer
        store = self._stores[name] = Store()
        informer = self._informers[name] = Informer(
            self._api,
            Selection(resource=SECRETS, namespace=self._namespace, fields=f"metadata.name={name}"),
            store,
            on_change=self._changed,
            clock=self._clock,
            jitter=self._jitter,
        )
        self._new.put_nowait(informer)
        return informer

    def _changed(self, change: Change) -> None:
        before = change.old.get("data") if change.old is not None else None
        after = change.new.get("data") if change.new is not None else None
        # what the first listing shows is what is being waited for, not a change
        if before != after and self._informers[change.key.name].synced.is_set():
            self._on_change(change.key.name)
