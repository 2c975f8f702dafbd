"""Keeps a store true: lists once, watches from there, lists again only when the server has forgotten.

Deletions are never missed: what a new list lacks is reported as gone. `last_seen` is the proof of life, by
the clock's monotonic time: every fact moves it, and bookmarks come once a minute. Knows no kinds and writes
nothing.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, cast

import structlog

from pilotage.kube.api import SILENCE_S, Alive, Api, Deleted, Upserted
from pilotage.kube.backoff import Backoff, Jitter
from pilotage.kube.clock import Clock, SystemClock
from pilotage.kube.errors import ApiError, Gone, Transient
from pilotage.kube.store import Change, Store
from pilotage.kube.watch import Fact, Listed, Selection, version_after, watch

OBJECTS_PER_TURN = 100
"""Listed objects taken in before other tasks get their turn."""

SHORT_S = 1.0
"""A watch that the server ends sooner counts as a failure, or the loop would be hot."""

OnChange = Callable[[Change], None]

_log = structlog.get_logger(__name__)


def ignore(_: Change) -> None:
    """Report to nobody."""


class Informer:
    """Follows one selection into one store.

    `synced` is set once the first list is in, and stays set. `error` is why nothing arrives at the moment, or
    None.
    """

    def __init__(
        self,
        api: Api,
        selection: Selection,
        store: Store,
        *,
        on_change: OnChange = ignore,
        clock: Clock | None = None,
        jitter: Jitter = random.random,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.synced = asyncio.Event()
        self.last_seen = float("-inf")
        self.error: ApiError | None = None
        self._api = api
        self._selection = selection
        self._store = store
        self._on_change = on_change
        self._clock = clock or SystemClock()
        self._silence_s = silence_s
        self._backoff = Backoff(base_s=0.5, cap_s=30.0, jitter=jitter)
        self._version = ""

    async def run(self) -> None:
        """Follow the selection. Owns: one watch. Ends: when cancelled. Retried: every ApiError, told by
        `error`. Fatal: none.
        """
        while True:
            started = self._clock.monotonic()
            try:
                await self._follow()
            except Gone:
                _log.info("informer.relists", resource=str(self._selection.resource))
                self._version = ""
                await self._pause_if_short(started)
            except ApiError as error:
                await self._pause(error)
            else:
                await self._pause_if_short(started)

    async def _follow(self) -> None:
        facts = watch(self._api, self._selection, version=self._version, silence_s=self._silence_s)
        async with aclosing(cast(Any, facts)):
            async for fact in facts:
                await self._take(fact)
                self._version = version_after(fact)
                self.last_seen = self._clock.monotonic()
                self.error = None
                self._backoff = self._backoff.reset()

    async def _take(self, fact: Fact) -> None:
        match fact:
            case Listed():
                await self._take_list(fact)
            case Upserted(object=found):
                self._report(self._store.put(found))
            case Deleted(object=found):
                self._report(self._store.drop(found))
            case Alive():
                pass

    async def _take_list(self, listed: Listed) -> None:
        for count, found in enumerate(listed.objects.values(), start=1):
            self._report(self._store.put(found))
            if count % OBJECTS_PER_TURN == 0:
                await asyncio.sleep(0)
        for change in self._store.drop_absent(listed.objects, listed.version):
            self._report(change)
        self.synced.set()

    def _report(self, change: Change | None) -> None:
        if change is not None:
            self._on_change(change)

    async def _pause(self, error: ApiError) -> None:
        if self.error is None:
            _log.info("informer.lost", resource=str(self._selection.resource), error=str(error))
        self.error = error
        after_s = error.after_s if isinstance(error, Transient) else None
        now = self._clock.monotonic()
        self._backoff = self._backoff.next(now, at_least_s=after_s)
        await self._clock.sleep(self._backoff.wait_s(now))

    async def _pause_if_short(self, started: float) -> None:
        now = self._clock.monotonic()
        if now - started < SHORT_S:
            self._backoff = self._backoff.next(now)
            await self._clock.sleep(self._backoff.wait_s(now))
