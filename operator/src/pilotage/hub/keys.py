"""Proof that the hub cache is complete and not blind: our own list of keys, compared with the store.

kopf tells neither that its first listing is done nor that an object vanished while its watch was down, and keeps its
bookmarks to itself (python-operator.md §1.4, §2.7). One metadata-only list per kind at the start and every few minutes
answers all three: the store is *synced* when it holds all of it; what the list lacks is dropped; an object that the
store still has not caught up with a minute later means a blind watch, and the process had better start anew.
"""

from __future__ import annotations

import asyncio

import structlog

from pilotage.hub.kinds import KINDS
from pilotage.hub.store import HubStore
from pilotage.kube import Api, Clock, Key, KeyListing, Resource, Transient

BLIND_AFTER_S = 60.0
CATCH_UP_POLL_S = 0.1
RELIST_S = 5.0
START_RETRY_S = 1.0

log = structlog.get_logger(__name__)


class BlindWatch(Exception):
    """The watch of a kind delivers nothing although the server has news."""


class KeyList:
    """See the module. Owns `synced`; drops what vanished from the store."""

    def __init__(self, api: Api, store: HubStore, clock: Clock, *, interval_s: float) -> None:
        self._api, self._store, self._clock = api, store, clock
        self._interval_s = interval_s
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Compare for ever. Ends: when cancelled. Retried: Transient. Fatal: BlindWatch, and the rest."""
        while True:
            try:
                for kind in KINDS:
                    await self._compare(kind)
            except Transient as error:
                log.warning("hub.keys.unavailable", error=str(error))
                await self._clock.sleep(START_RETRY_S if not self.synced.is_set() else self._interval_s / 10)
                continue
            if not self.synced.is_set():
                log.info("hub.synced", objects={kind.plural: len(self._store.versions(kind)) for kind in KINDS})
            self.synced.set()
            await self._clock.sleep(self._interval_s)

    async def _compare(self, kind: Resource) -> None:
        since = self._clock.monotonic()
        while True:
            listing = await self._api.list_keys(kind)
            self._drop_vanished(kind, listing)
            if await self._caught_up(kind, listing):
                return
            if self._clock.monotonic() - since > BLIND_AFTER_S:
                key = next(iter(self._behind(kind, listing)), None)
                raise BlindWatch(f"{kind}: not caught up with the server for {BLIND_AFTER_S:.0f} s, first {key}")

    async def _caught_up(self, kind: Resource, listing: KeyListing) -> bool:
        """Give the watch a few seconds to deliver what the list says; what is deleted meanwhile needs a new list."""
        deadline = self._clock.monotonic() + RELIST_S
        while self._behind(kind, listing):
            if self._clock.monotonic() >= deadline:
                return False
            await self._clock.sleep(CATCH_UP_POLL_S)
        return True

    def _behind(self, kind: Resource, listing: KeyListing) -> tuple[Key, ...]:
        held = self._store.versions(kind)
        return tuple(key for key, version in listing.versions.items() if held.get(key, -1) < version)

    def _drop_vanished(self, kind: Resource, listing: KeyListing) -> None:
        at = int(listing.version or 0)
        for key, version in self._store.versions(kind).items():
            if key not in listing.versions and version <= at:
                log.info("hub.vanished", kind=kind.kind, key=str(key))
                self._store.drop(kind, key)
