"""An event loop whose clock jumps: hours pass in milliseconds, always in the same order.

Time stands still while anything can run and jumps to the next timer when nothing can. There are no sockets
and no threads, so nothing outside can disturb the order. When nothing can run and no timer is left, the
program waits for something that will never happen: `NothingCanRun` says so instead of hanging.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class NothingCanRun(RuntimeError):
    """Every task waits, and no timer is left that could wake one."""


class _Jumps:
    """Stands where the loop has its selector: instead of waiting for sockets, it moves the clock."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            names = sorted(str(task.get_coro()) for task in asyncio.all_tasks(self._loop))
            raise NothingCanRun(f"at {self._loop.time():.3f} s; waiting: {', '.join(names)}")
        if timeout > 0:
            self._loop.jump()
        return []

    def close(self) -> None:
        pass


class VirtualLoop(asyncio.BaseEventLoop):
    """`time()` starts at 0 s."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = _Jumps(self)

    def time(self) -> float:
        return self._now

    def jump(self) -> None:
        """Go to the earliest timer exactly: adding the rounded difference could stop just short of it."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        self._now = max(self._now, scheduled[0].when())

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class VirtualClock:
    """The running virtual loop as the kit's `Clock`; wall time starts at `start`."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def run_virtual(main: Coroutine[Any, Any, T], *, at_most_s: float = 7 * 86400) -> T:
    """Run to the end in virtual time; TimeoutError when it takes longer than `at_most_s` virtual seconds."""

    async def bounded() -> T:
        async with asyncio.timeout(at_most_s):
            return await main

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(bounded())


def virtually(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Decorate an async test: it runs in virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_virtual(test(*args, **kwargs))

    return run


async def until(claim: Callable[[], bool], *, within_s: float, what: str = "", step_s: float = 0.05) -> None:
    """Wait until the claim holds; AssertionError with `what` if it does not within that time. Works on any
    loop.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not claim():
        if loop.time() >= deadline:
            raise AssertionError(f"not within {within_s} s: {what or claim}")
        await asyncio.sleep(step_s)
