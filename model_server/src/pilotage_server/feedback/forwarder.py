"""Hands proven labels to the collector: what queued while the last message was under way is the next one.

Invariants: one message at a time, so labels of one pod arrive in the order they were posted; every waiter gets its
results or `CollectorUnavailable`, never silence; the queue is bounded. It repeats nothing by itself but what the
collector asked for: repeating belongs to the client, who still has the labels when this pod is gone.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from pilotage_server.feedback.announcing import announcement_of
from pilotage_server.feedback.classes import Identity
from pilotage_server.feedback.link import CollectorLink, CollectorUnavailable, Unregistered
from pilotage_server.feedback.messages import MAX_MESSAGE_ITEMS, Delivery, Item
from pilotage_server.feedback.results import Result

MAX_QUEUED_ITEMS: Final = 20_000
PATIENCE_S: Final = 10.0
"""The longest a feedback request waits for its answer: two messages, each with its timeout."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Parcel:
    items: Sequence[Item]
    results: asyncio.Future[list[Result]]


class Forwarder:
    """The queue between feedback requests and the collector."""

    def __init__(self, identity: Identity, link: CollectorLink) -> None:
        self._identity = identity
        self._link = link
        self._parcels: deque[_Parcel] = deque()
        self._queued_items = 0
        self._something = asyncio.Event()
        self._reachable = True

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """The collector's result for each item, durable. Raises `CollectorUnavailable`: post the same again later."""
        if self._queued_items + len(items) > MAX_QUEUED_ITEMS:
            raise CollectorUnavailable(f"{self._queued_items} labels are waiting for the collector already")
        parcel = _Parcel(items, asyncio.get_running_loop().create_future())
        self._parcels.append(parcel)
        self._queued_items += len(items)
        self._something.set()
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await parcel.results
        except TimeoutError as error:
            raise CollectorUnavailable(f"no answer from the collector within {PATIENCE_S:.0f} s") from error

    async def run(self) -> None:
        """Forward until cancelled. Owns: the link. Ends: when cancelled. Retried: by clients. Fatal: nothing."""
        try:
            while True:
                await self._something.wait()
                parcels = self._take()
                await self._forward(parcels)
        finally:
            self._link.close()
            self._fail(self._take_all(), CollectorUnavailable("the pod is shutting down"))

    def _take(self) -> list[_Parcel]:
        taken: list[_Parcel] = []
        count = 0
        while self._parcels and (not taken or count + len(self._parcels[0].items) <= MAX_MESSAGE_ITEMS):
            parcel = self._parcels.popleft()
            self._queued_items -= len(parcel.items)
            if not parcel.results.done():  # its client may have gone, or its patience
                taken.append(parcel)
                count += len(parcel.items)
        if not self._parcels:
            self._something.clear()
        return taken

    def _take_all(self) -> list[_Parcel]:
        parcels = [parcel for parcel in self._parcels if not parcel.results.done()]
        self._parcels.clear()
        self._queued_items = 0
        return parcels

    async def _forward(self, parcels: list[_Parcel]) -> None:
        if not parcels:
            return
        items = tuple(item for parcel in parcels for item in parcel.items)
        try:
            results = await self._deliver(items)
        except CollectorUnavailable as error:
            if self._reachable:
                _log.warning("feedback.collector_lost", error=str(error))
            self._reachable = False
            # Whoever queued behind would only wait for the same failure.
            self._fail(parcels + self._take_all(), error)
            return
        except BaseException:
            self._fail(parcels, CollectorUnavailable("the pod is shutting down"))
            raise
        if not self._reachable:
            _log.info("feedback.collector_back")
        self._reachable = True
        at = 0
        for parcel in parcels:
            if not parcel.results.done():
                parcel.results.set_result(results[at : at + len(parcel.items)])
            at += len(parcel.items)

    async def _deliver(self, items: tuple[Item, ...]) -> list[Result]:
        identity = self._identity
        delivery = Delivery(model=identity.model, sender=identity.revision, items=items)
        try:
            return await self._link.deliver(delivery)
        except Unregistered:
            await self._link.announce(announcement_of(identity))
        try:
            return await self._link.deliver(delivery)
        except Unregistered as error:
            raise CollectorUnavailable("the collector forgot this revision at once; is its volume full?") from error

    @staticmethod
    def _fail(parcels: Sequence[_Parcel], error: CollectorUnavailable) -> None:
        for parcel in parcels:
            if not parcel.results.done():
                parcel.results.set_exception(error)
