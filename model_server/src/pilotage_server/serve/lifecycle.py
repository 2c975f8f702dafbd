"""Where the process stands, and the order in which it leaves.

STARTING → READY → DRAINING → DRAINED. A draining server is a lame duck: not ready, yet answering, and every
answer asks its client to connect elsewhere. Only when that has had time does it stop accepting, and its
metrics stay for one more scrape: what it counted last is evidence too.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from enum import StrEnum


class Phase(StrEnum):
    """One at a time, in this order."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    DRAINED = "drained"


class Lifecycle:
    """The phase, and the events the shutdown waits for."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.asked_to_end = asyncio.Event()
        """Set by the first SIGTERM or SIGINT."""
        self.hurried = asyncio.Event()
        """Set by SIGINT, or by a second signal: waiting ends, open requests are still answered."""
        self.scraped = asyncio.Event()
        """Set once a scrape that began after the last request has been answered."""

    @property
    def is_ready(self) -> bool:
        """Tell probes whether to send traffic."""
        return self.phase is Phase.READY

    @property
    def is_draining(self) -> bool:
        """Tell whether answers must ask clients to connect elsewhere."""
        return self.phase is Phase.DRAINING

    def listen_to_signals(self) -> None:
        """Take SIGTERM (drain) and SIGINT (finish at once: somebody sits at the terminal)."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._asked, False)
        loop.add_signal_handler(signal.SIGINT, self._asked, True)

    def _asked(self, hurry: bool) -> None:
        if hurry or self.asked_to_end.is_set():
            self.hurried.set()
        self.asked_to_end.set()

    async def pause(self, seconds: float) -> None:
        """Wait that long, or until somebody is in a hurry."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.hurried.wait()

    async def last_scrape(self, seconds: float) -> bool:
        """Wait for a scrape that shows everything; tells whether one came."""
        waits = [asyncio.create_task(event.wait()) for event in (self.scraped, self.hurried)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        return self.scraped.is_set()
