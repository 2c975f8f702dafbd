"""Asks Prometheus what the planner wants to know, and keeps the latest answer per key, kind, cluster and wave.

A question replaces an older one in the same slot, whether that is under way (its answer is then thrown away) or
answered; the planner sees what is `asked`, and does not repeat itself. Each question has a deadline, and only so many
are asked at once, so a dead Prometheus costs a reading and nothing else. The key is notified of every answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog

from pilotage.api.reasons import Reason
from pilotage.evidence.answer import Fetch, answer
from pilotage.evidence.reading import BlockQuery, Query, Reading, Unavailable
from pilotage.fleet.link import NotUsable
from pilotage.kube import Clock, Key

log = structlog.get_logger(__name__)


class Slot(NamedTuple):
    """What there is at most one question and one answer to; `wave` is empty for baselines."""

    key: Key
    kind: str
    cluster: str
    wave: str


class Readings:
    """See the module. Owns: one task per question under way."""

    def __init__(
        self, fetch: Fetch, clock: Clock, *, notify: Callable[[Key], None], timeout_s: float, at_once: int
    ) -> None:
        self._fetch, self._clock, self._notify, self._timeout_s = fetch, clock, notify, timeout_s
        self._places = asyncio.Semaphore(at_once)
        self._asked: dict[Slot, Query] = {}
        self._answers: dict[Slot, Reading] = {}
        self._new: asyncio.Queue[tuple[Slot, Query]] = asyncio.Queue()

    def schedule(self, key: Key, queries: tuple[Query, ...]) -> None:
        """Ask these questions now."""
        for query in queries:
            slot = _slot(key, query)
            if self._asked.get(slot) != query:
                self._asked[slot] = query
                self._new.put_nowait((slot, query))

    def asked(self, key: Key) -> tuple[Query, ...]:
        """The questions under way for this key, in a stable order."""
        return tuple(self._asked[slot] for slot in sorted(self._asked) if slot.key == key)

    def answers(self, key: Key) -> tuple[Reading, ...]:
        """The latest answers for this key, in a stable order."""
        return tuple(self._answers[slot] for slot in sorted(self._answers) if slot.key == key)

    def forget(self, key: Key) -> None:
        """The key is gone, and with it every question about it."""
        for slot in [slot for slot in self._asked if slot.key == key]:
            del self._asked[slot]
        for slot in [slot for slot in self._answers if slot.key == key]:
            del self._answers[slot]

    async def run(self) -> None:
        """Ask what is scheduled. Owns: the questions under way. Ends: when cancelled, and they with it."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                slot, query = await self._new.get()
                tasks.create_task(self._ask(slot, query), name=f"query {slot.cluster} {slot.key}")

    async def _ask(self, slot: Slot, query: Query) -> None:
        async with self._places:
            if self._asked.get(slot) is not query:
                return
            reading = await self._answered(slot, query)
        if self._asked.get(slot) is not query:
            return  # the planner wants to know something else by now
        before = self._answers.get(slot)
        del self._asked[slot]
        self._answers[slot] = reading
        _log_change(slot, before, reading)
        self._notify(slot.key)

    async def _answered(self, slot: Slot, query: Query) -> Reading:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer(query, self._fetch, self._clock.now().timestamp())
        except TimeoutError:
            return Unavailable(
                query=query,
                reason=Reason.PROMETHEUS_UNREACHABLE.value,
                message=f"{slot.cluster}: Prometheus did not answer within {self._timeout_s:g} s",
            )
        except NotUsable as error:
            return Unavailable(query=query, reason=error.reason.value, message=error.message)


def _slot(key: Key, query: Query) -> Slot:
    wave = query.wave if isinstance(query, BlockQuery) else ""
    return Slot(key, type(query).__name__, query.cluster, wave)


def _log_change(slot: Slot, before: Reading | None, now: Reading) -> None:
    """INFO when a cluster's metrics go or come back, and never for one more block."""
    was_reason = before.reason if isinstance(before, Unavailable) else ""
    reason = now.reason if isinstance(now, Unavailable) else ""
    if reason != was_reason:
        fields: Mapping[str, str] = {"error": now.message} if isinstance(now, Unavailable) else {}
        log.info("metrics.changed", key=str(slot.key), cluster=slot.cluster, reason=reason or "Available", **fields)
