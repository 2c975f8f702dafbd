"""The one writer: everything that queued while the last commit ran becomes the next transaction.

Invariants: a caller hears of its work only after the commit that holds it; the queue is bounded and refuses at once
(`Busy`) rather than growing; maturing needs no traffic: it runs every quarter of a second. The ledger is touched by
one thread only, so that the event loop reads requests and answers scrapes while the disk works.
"""

import asyncio
import functools
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog

from pilotage_server.feedback.collector.ledger import Ledger, LedgerFailed
from pilotage_server.feedback.collector.settings import ConfigFile, Export
from pilotage_server.feedback.collector.snapshot import Snapshot
from pilotage_server.feedback.collector.work import Outcome, Work
from pilotage_server.feedback.messages import Decisions, Delivery

TICK_S: Final = 0.25
CONFIG_EVERY_S: Final = 1.0
PRUNE_EVERY_S: Final = 60.0
AFTER_FAILURE_S: Final = 1.0
MAX_QUEUED_ITEMS: Final = 50_000
MAX_BATCH_ITEMS: Final = 20_000
_log = structlog.get_logger(__name__)


class Busy(Exception):
    """The collector cannot take this now; the text says why. Nothing of it was stored."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work
    size: int
    outcome: asyncio.Future[Outcome]


class Writer:
    """Group commit over a ledger. `snapshot` is always a committed state."""

    def __init__(self, ledger: Ledger, config: ConfigFile, *, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._config = config
        self._clock = clock
        self._jobs: deque[_Job] = deque()
        self._queued_items = 0
        self._wake = asyncio.Event()
        self._is_draining = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._next_config = self._next_prune = 0.0
        self.snapshot: Snapshot = ledger.snapshot
        self.is_healthy = False
        """Whether the last transaction committed."""

    async def submit(self, work: Work) -> Outcome:
        """Do the work; durable when this returns. Raises `Busy`."""
        size = _size(work)
        if self._is_draining:
            raise Busy("the collector is shutting down")
        if self._queued_items + size > MAX_QUEUED_ITEMS:
            raise Busy(f"{self._queued_items} labels are waiting to be written")
        job = _Job(work, size, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._queued_items += size
        self._wake.set()
        return await job.outcome

    def drain(self) -> None:
        """Take no more work; `run` returns once what is queued is committed."""
        self._is_draining = True
        self._wake.set()

    async def run(self) -> None:
        """Commit until drained. Owns: the ledger. Ends: drained. Retried: failed commits, by clients. Fatal: bugs."""
        try:
            while not (self._is_draining and not self._jobs):
                await self._wait()
                jobs = self._take()
                try:
                    self._publish(jobs, await self._commit([job.work for job in jobs]))
                    await self._prune()
                except (LedgerFailed, sqlite3.Error) as error:
                    await self._give_back([job for job in jobs if not job.outcome.done()], str(error))
        finally:
            self._thread.shutdown()
            self._ledger.close()

    async def _wait(self) -> None:
        if self._jobs or not self.is_healthy:
            return
        try:
            async with asyncio.timeout(TICK_S):
                await self._wake.wait()
        except TimeoutError:
            return

    def _take(self) -> list[_Job]:
        taken: list[_Job] = []
        size = 0
        while self._jobs and (not taken or size + self._jobs[0].size <= MAX_BATCH_ITEMS):
            job = self._jobs.popleft()
            self._queued_items -= job.size
            if not job.outcome.cancelled():
                taken.append(job)
                size += job.size
        if not self._jobs:
            self._wake.clear()
        return taken

    async def _commit(self, work: list[Work]) -> list[Outcome]:
        now_s = self._clock()
        if now_s >= self._next_config or now_s < self._next_config - 2 * CONFIG_EVERY_S:
            self._config.refresh()
            self._next_config = now_s + CONFIG_EVERY_S
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._apply, work, now_s)

    def _apply(self, work: list[Work], now_s: float) -> list[Outcome]:
        now_ms = int(now_s * 1000)
        config = self._config.current
        return self._ledger.apply(
            work, now_ms=now_ms, delay_ms=config.label_delay_ms, keeps_scores=config.shows(Export.SCORES)
        )

    async def _prune(self) -> None:
        """Prune when it is time, between two commits: nobody waits for it, and a busy collector is never idle."""
        now_s = self._clock()
        if now_s >= self._next_prune:
            prune = functools.partial(self._ledger.prune, now_ms=int(now_s * 1000))
            pruned = await asyncio.get_running_loop().run_in_executor(self._thread, prune)
            self._next_prune = now_s + (0 if pruned else PRUNE_EVERY_S)

    def _publish(self, jobs: list[_Job], outcomes: list[Outcome]) -> None:
        self.snapshot = self._ledger.snapshot
        if not self.is_healthy:
            _log.info("collector.writing", ledger=self.snapshot.ledger)
        self.is_healthy = True
        for job, outcome in zip(jobs, outcomes, strict=True):
            if not job.outcome.done():
                job.outcome.set_result(outcome)

    async def _give_back(self, jobs: list[_Job], error: str) -> None:
        _log.error("collector.commit_failed", error=error, labels=sum(job.size for job in jobs))
        self.is_healthy = False
        for job in [*jobs, *self._jobs]:
            if not job.outcome.done():
                job.outcome.set_exception(Busy(f"the ledger cannot be written: {error}"))
        self._jobs.clear()
        self._queued_items = 0
        if not self._is_draining:
            await asyncio.sleep(AFTER_FAILURE_S)


def _size(work: Work) -> int:
    match work:
        case Delivery(items=items):
            return len(items)
        case Decisions(decisions=decisions):
            return len(decisions)
        case _:
            return 1
