"""Waiting for facts in tests: asked again and again until they hold or a deadline has passed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T], within_s: float = 10.0, every_s: float = 0.05) -> T:
    """Return the first truthy result of `check`; an AssertionError inside it counts as not yet.

    Raises AssertionError with what was last seen when `within_s` is over.
    """
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while True:
        try:
            seen: object = (result := check())
            if result:
                return result
        except AssertionError as error:
            seen = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within_s} s; last seen: {seen}")
        pause.wait(every_s)


async def eventually_async(check: Callable[[], T], within_s: float = 10.0, every_s: float = 0.01) -> T:
    """`eventually` for tests that run an event loop: the loop goes on between two looks."""
    deadline = time.monotonic() + within_s
    while True:
        if result := check():
            return result
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within_s} s; last seen: {result}")
        await asyncio.sleep(every_s)
