"""The loop that jumps: order, exactness, and an end instead of a hang."""

import asyncio
import time
from datetime import timedelta

import pytest

from support.virtual_time import EPOCH, NothingCanRun, VirtualClock, run_virtual, until, virtually


def test_hours_take_no_time() -> None:
    async def sleep_a_day() -> float:
        await asyncio.sleep(86400)
        return asyncio.get_running_loop().time()

    began = time.monotonic()

    assert run_virtual(sleep_a_day()) == 86400
    assert time.monotonic() - began < 5


@virtually
async def test_timers_run_in_their_order_and_at_their_time() -> None:
    told: list[tuple[str, float]] = []

    async def tell(name: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        told.append((name, asyncio.get_running_loop().time()))

    await asyncio.gather(tell("c", 0.3), tell("a", 0.1), tell("b", 0.1), tell("d", 1e5))

    assert told == [("a", 0.1), ("b", 0.1), ("c", 0.3), ("d", 1e5)]


@virtually
async def test_timeouts_are_virtual_too() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await asyncio.sleep(7200)

    assert asyncio.get_running_loop().time() == 3600


@virtually
async def test_its_clock_tells_wall_time_from_its_start() -> None:
    clock = VirtualClock()

    await clock.sleep(90)

    assert clock.now() == EPOCH + timedelta(seconds=90)
    assert clock.monotonic() == 90


def test_waiting_for_what_never_happens_is_an_error_and_no_hang() -> None:
    async def wait_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    # nothing has a timer: not even the bound of the run
    with pytest.raises(NothingCanRun, match="wait_for_ever"), asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(wait_for_ever())


def test_a_run_is_bounded() -> None:
    async def wait_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        run_virtual(wait_for_ever(), at_most_s=10)


@virtually
async def test_a_claim_that_does_not_come_true_says_which() -> None:
    with pytest.raises(AssertionError, match="not within 5 s: the moon is green"):
        await until(lambda: False, within_s=5, what="the moon is green")


def _loop() -> asyncio.AbstractEventLoop:
    from support.virtual_time import VirtualLoop

    return VirtualLoop()
