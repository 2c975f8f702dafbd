"""A moment by which something must have ended, which may come nearer or be moved while others wait for it."""

from __future__ import annotations

import asyncio
from typing import Any


class Deadline:
    """A moment on the running loop's clock."""

    def __init__(self, at: float) -> None:
        self._at = at
        self._moved = asyncio.Event()

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment `seconds` from now."""
        return cls(asyncio.get_running_loop().time() + seconds)

    @property
    def left_s(self) -> float:
        """Seconds until then; negative when it is over."""
        return self._at - asyncio.get_running_loop().time()

    def shorten(self, seconds: float) -> None:
        """Let it come no later than `seconds` from now."""
        self._move(min(self._at, asyncio.get_running_loop().time() + seconds))

    def leave_at_least(self, seconds: float) -> None:
        """Let it come no sooner than `seconds` from now."""
        self._move(max(self._at, asyncio.get_running_loop().time() + seconds))

    async def wait_for(self, *futures: asyncio.Future[Any]) -> bool:
        """Wait until one of the futures is done (True) or the moment has come (False). Cancels none of them."""
        while not any(future.done() for future in futures):
            if self.left_s <= 0:
                return False
            self._moved.clear()
            moved = asyncio.ensure_future(self._moved.wait())
            try:
                await asyncio.wait([*futures, moved], timeout=self.left_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                moved.cancel()
        return True

    def _move(self, at: float) -> None:
        if at != self._at:
            self._at = at
            self._moved.set()
