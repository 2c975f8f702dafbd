"""Keys waiting for a worker: deduplicated, prioritised, delayed, backed off.

A key is *ready* (at most once, at the better of the priorities it was added with), *delayed* (at most once, the
earliest wins) or *in work*. Added while in work, it becomes ready once more when the worker is done, so one key is
never in two workers' hands and no change is missed. LOW is for listings and resyncs: a restart with thousands of keys
does not delay the one a user has just edited.

One writer: the event loop's thread. Knows keys, never objects; time is the running loop's, so tests can make it
virtual.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Generic, TypeVar

K = TypeVar("K")

BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 300.0


class Priority(IntEnum):
    """Lower goes first."""

    NORMAL = 0
    LOW = 1


class WorkQueue(Generic[K]):
    """See the module. `jitter` returns a number in [0, 1) and is injected so that simulations repeat."""

    def __init__(self, *, jitter: Callable[[], float] = random.random, backoff_max_s: float = BACKOFF_MAX_S) -> None:
        self._backoff_max_s = backoff_max_s
        self._ready: tuple[deque[K], deque[K]] = (deque(), deque())
        self._dirty: dict[K, Priority] = {}
        self._in_work: set[K] = set()
        self._delayed: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._failures: dict[K, int] = {}
        self._sequence = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._jitter = jitter

    def __len__(self) -> int:
        """Keys that are ready now."""
        return len(self._dirty)

    @property
    def delayed(self) -> int:
        """Keys that will be ready later."""
        return len(self._delayed)

    def add(self, key: K, priority: Priority = Priority.NORMAL) -> None:
        """Make the key ready, or better its priority if it already is."""
        before = self._dirty.get(key)
        if before is not None and before <= priority:
            return
        self._dirty[key] = priority
        if key not in self._in_work:
            self._offer(key, priority)

    def add_after(self, key: K, delay_s: float) -> None:
        """Make the key ready in `delay_s` seconds, or when it was to be anyway if that is sooner."""
        if delay_s <= 0:
            self.add(key)
            return
        due = asyncio.get_running_loop().time() + delay_s
        if self._delayed.get(key, float("inf")) <= due:
            return
        self._delayed[key] = due
        self._sequence += 1
        heapq.heappush(self._timers, (due, self._sequence, key))
        self._set_alarm()

    def retry(self, key: K, *, at_least_s: float = 0.0) -> float:
        """Delay the key by its own exponential back-off, from 1 s up to the queue's limit, with jitter; returns it."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_s = min(self._backoff_max_s, BACKOFF_FIRST_S * 2.0 ** min(failures, 16)) * (0.5 + self._jitter() / 2)
        delay_s = max(delay_s, at_least_s)
        self.add_after(key, delay_s)
        return delay_s

    def succeed(self, key: K) -> None:
        """End the key's back-off."""
        self._failures.pop(key, None)

    def forget(self, key: K) -> None:
        """Drop what is known of a key that no longer exists, unless it was added again."""
        self._failures.pop(key, None)
        self._delayed.pop(key, None)

    async def get(self) -> K:
        """Wait for a key, take it into work. Whoever takes it calls `done`."""
        while True:
            key = self._pop()
            if key is not None:
                return key
            self._wake.clear()
            await self._wake.wait()

    def done(self, key: K) -> None:
        """Give the key back; if it was added meanwhile it is ready again."""
        self._in_work.discard(key)
        priority = self._dirty.get(key)
        if priority is not None:
            self._offer(key, priority)

    def _pop(self) -> K | None:
        for priority, ready in zip(Priority, self._ready, strict=True):
            while ready:
                key = ready.popleft()
                # a key whose priority was bettered has a stale place in the worse line
                if self._dirty.get(key) is not priority or key in self._in_work:
                    continue
                del self._dirty[key]
                self._delayed.pop(key, None)  # this run decides anew when the next one is due
                self._in_work.add(key)
                return key
        return None

    def _offer(self, key: K, priority: Priority) -> None:
        self._ready[priority].append(key)
        self._wake.set()

    def _set_alarm(self) -> None:
        loop = asyncio.get_running_loop()
        while self._timers and self._delayed.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._timers:
            self._alarm = loop.call_at(self._timers[0][0], self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now = asyncio.get_running_loop().time()
        while self._timers and self._timers[0][0] <= now:
            due, _, key = heapq.heappop(self._timers)
            if self._delayed.get(key) == due:
                del self._delayed[key]
                self.add(key)
        self._set_alarm()
