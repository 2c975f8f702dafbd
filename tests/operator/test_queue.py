"""The queue's promises: no key twice in work, no change missed, edits before resyncs, back-off per key."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from pilotage.engine.queue import BACKOFF_MAX_S, Priority, WorkQueue
from support.virtual_time import run_virtual, virtually


def a_queue() -> WorkQueue[str]:
    return WorkQueue(jitter=lambda: 0.999999)


async def taken(queue: WorkQueue[str], *, within_s: float = 0.001) -> str | None:
    try:
        async with asyncio.timeout(within_s):
            return await queue.get()
    except TimeoutError:
        return None


@virtually
async def test_a_key_added_twice_is_worked_on_once() -> None:
    queue = a_queue()
    queue.add("a")
    queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a")
    assert await taken(queue) is None


@virtually
async def test_a_key_added_while_in_work_runs_once_more_afterwards() -> None:
    queue = a_queue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert await taken(queue) is None
    queue.done("a")
    assert await taken(queue) == "a"


@virtually
async def test_an_edit_overtakes_a_listing() -> None:
    queue = a_queue()
    for key in ("a", "b", "c"):
        queue.add(key, Priority.LOW)
    queue.add("c")
    assert [await queue.get(), await queue.get(), await queue.get()] == ["c", "a", "b"]


@virtually
async def test_a_listing_does_not_lower_an_edit() -> None:
    queue = a_queue()
    queue.add("a")
    queue.add("b", Priority.LOW)
    queue.add("a", Priority.LOW)
    assert [await queue.get(), await queue.get()] == ["a", "b"]


@virtually
async def test_of_two_delays_the_earlier_wins() -> None:
    queue, loop = a_queue(), asyncio.get_running_loop()
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    await queue.get()
    assert loop.time() == 5
    queue.done("a")
    assert await taken(queue, within_s=60) is None


@virtually
async def test_taking_a_key_into_work_ends_its_delay() -> None:
    queue = a_queue()
    queue.add_after("a", 5)
    queue.add("a")
    await queue.get()
    queue.done("a")
    assert await taken(queue, within_s=60) is None


@virtually
async def test_failures_back_off_to_five_minutes_and_a_success_ends_it() -> None:
    queue = a_queue()
    delays = [round(queue.retry("a")) for _ in range(12)]
    assert delays[:5] == [1, 2, 4, 8, 16]
    assert delays[-1] == BACKOFF_MAX_S
    queue.succeed("a")
    assert round(queue.retry("a")) == 1


@virtually
async def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    queue, loop = a_queue(), asyncio.get_running_loop()
    queue.retry("a", at_least_s=17)
    await queue.get()
    assert loop.time() == 17


@virtually
async def test_a_forgotten_key_does_not_come_back() -> None:
    queue = a_queue()
    queue.add_after("a", 5)
    queue.forget("a")
    assert await taken(queue, within_s=60) is None


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["add", "low", "after", "retry", "get", "done"]), st.sampled_from("abc")), max_size=60
)


@given(OPERATIONS)
def test_no_key_is_in_two_hands_and_none_is_lost(operations: list[tuple[str, str]]) -> None:
    async def play() -> None:
        queue, in_hand, wanted = a_queue(), set[str](), set[str]()
        for operation, key in operations:
            match operation:
                case "add":
                    queue.add(key)
                    wanted.add(key)
                case "low":
                    queue.add(key, Priority.LOW)
                    wanted.add(key)
                case "after":
                    queue.add_after(key, 1.0)
                    wanted.add(key)
                case "retry":
                    queue.retry(key)
                    wanted.add(key)
                case "get":
                    found = await taken(queue)
                    if found is not None:
                        assert found not in in_hand
                        in_hand.add(found)
                        wanted.discard(found)
                case "done":
                    in_hand.discard(key)
                    queue.done(key)
        for key in in_hand:
            queue.done(key)
        rest = set()
        while (found := await taken(queue, within_s=3600)) is not None:
            rest.add(found)
            queue.done(found)
        assert wanted <= rest

    run_virtual(play())
