"""The cache stays true through every outage, in virtual time against the simulator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.kube import Forbidden, Key
from pilotage.kube.informer import Informer
from pilotage.kube.resources import CONFIG_MAPS
from pilotage.kube.store import Change, Store
from pilotage.kube.watch import Selection
from support.apisim import ApiSim, Fault, Link, SimCall
from support.gadgets import a_config_map
from support.virtual_time import VirtualClock, run_virtual, until, virtually

HERE = "models"


def a_map(name: str, x: str = "") -> dict[str, Any]:
    return a_config_map(name, namespace=HERE, x=x)


class Following:
    """An informer at work, with all that it reported."""

    def __init__(self, sim: ApiSim, *, labels: str = "") -> None:
        self.changes: list[Change] = []
        self.store = Store()
        self.sim = sim
        self.informer = Informer(
            sim.client(),
            Selection(resource=CONFIG_MAPS, namespace=HERE, labels=labels),
            self.store,
            on_change=self.changes.append,
            clock=VirtualClock(),
            jitter=lambda: 0.5,
        )

    def is_true(self) -> bool:
        there = {Key.of(o): o["metadata"]["resourceVersion"] for o in self.sim.state.objects(CONFIG_MAPS)}
        here = {Key.of(o): o["metadata"]["resourceVersion"] for o in self.store.objects()}
        return there == here

    def told(self) -> list[tuple[str, str]]:
        words = {(True, False): "new", (False, False): "changed", (False, True): "gone"}
        return [(change.key.name, words[(change.old is None, change.new is None)]) for change in self.changes]

    def watches(self, verb: str = "watch") -> int:
        return sum(call.verb == verb for call in self.sim.log.calls)


@asynccontextmanager
async def following(sim: ApiSim, **given: Any) -> AsyncIterator[Following]:
    found = Following(sim, **given)
    task = asyncio.create_task(found.informer.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@virtually
async def test_lists_then_follows() -> None:
    sim = ApiSim()
    sim.state.create(CONFIG_MAPS, a_map("a"))
    async with following(sim) as it:
        await it.informer.synced.wait()
        sim.state.create(CONFIG_MAPS, a_map("b"))
        sim.state.update(CONFIG_MAPS, a_map("a", x="1"))
        sim.state.delete(CONFIG_MAPS, Key(HERE, "b"))
        await asyncio.sleep(1)

        assert it.told() == [("a", "new"), ("b", "new"), ("a", "changed"), ("b", "gone")]
        assert it.is_true()
        assert (it.watches("list"), it.watches()) == (1, 1)


@virtually
async def test_is_not_synced_before_the_first_list_is_in() -> None:
    sim = ApiSim()
    sim.link = Link.REFUSED
    async with following(sim) as it:
        await asyncio.sleep(30)
        assert not it.informer.synced.is_set()
        assert str(it.informer.error) == "connection refused"

        sim.link = Link.UP
        await until(it.informer.synced.is_set, within_s=40)
        assert it.informer.error is None


@virtually
async def test_bookmarks_prove_that_it_lives_while_nothing_happens() -> None:
    sim = ApiSim()
    async with following(sim) as it:
        for _ in range(60):
            await asyncio.sleep(20)
            assert VirtualClock().monotonic() - it.informer.last_seen < 65

        assert it.watches("list") == 1


@virtually
async def test_is_at_rest_while_nothing_happens() -> None:
    sim = ApiSim()
    async with following(sim) as it:
        await asyncio.sleep(3600)

        # one watch each five minutes, which is how long a server keeps one open
        assert it.watches() <= 13
        assert it.watches("list") == 1


@virtually
async def test_takes_up_after_a_short_outage_where_it_was() -> None:
    sim = ApiSim()
    sim.state.create(CONFIG_MAPS, a_map("a"))
    async with following(sim) as it:
        await it.informer.synced.wait()
        sim.link = Link.REFUSED
        await asyncio.sleep(8)
        sim.state.delete(CONFIG_MAPS, Key(HERE, "a"))
        sim.state.create(CONFIG_MAPS, a_map("b"))
        sim.link = Link.UP
        await until(it.is_true, within_s=40)

        assert it.told() == [("a", "new"), ("a", "gone"), ("b", "new")]
        assert it.watches("list") == 1


@virtually
async def test_what_vanished_while_history_was_lost_is_reported_gone() -> None:
    sim = ApiSim()
    for name in ("a", "b"):
        sim.state.create(CONFIG_MAPS, a_map(name))
    async with following(sim) as it:
        await it.informer.synced.wait()
        sim.link = Link.REFUSED
        await asyncio.sleep(8)
        sim.state.delete(CONFIG_MAPS, Key(HERE, "a"))
        sim.state.update(CONFIG_MAPS, a_map("b", x="1"))
        sim.state.compact()
        sim.link = Link.UP
        await until(it.is_true, within_s=40)

        assert it.told() == [("a", "new"), ("b", "new"), ("b", "changed"), ("a", "gone")]
        assert it.watches("list") == 2


@virtually
async def test_a_frozen_server_is_noticed_and_taken_up_again() -> None:
    sim = ApiSim()
    async with following(sim) as it:
        await it.informer.synced.wait()
        sim.link = Link.SILENT
        await asyncio.sleep(100)
        assert it.informer.error is not None

        sim.state.create(CONFIG_MAPS, a_map("a"))
        sim.link = Link.UP
        await until(it.is_true, within_s=40)


@virtually
async def test_a_missing_right_is_told_and_tried_again_in_peace() -> None:
    sim = ApiSim()
    async with following(sim) as it:
        client = it.informer._api
        original = client.list

        async def forbidden(*_: Any, **__: Any) -> Any:
            sim.log.record(cluster="", client="", verb="list", group="", resource="", subresource="", key=Key("", ""))
            raise Forbidden("no right to list", code=403)

        client.list = forbidden  # type: ignore[method-assign]
        await asyncio.sleep(3600)
        assert isinstance(it.informer.error, Forbidden)
        assert it.watches("list") < 3600 / 15 + 10

        client.list = original  # type: ignore[method-assign]
        await until(it.informer.synced.is_set, within_s=40)


@virtually
async def test_an_answer_that_was_put_in_is_not_undone_by_late_events() -> None:
    sim = ApiSim(latency_s=1.0)
    sim.state.create(CONFIG_MAPS, a_map("a", x="1"))
    async with following(sim) as it:
        await it.informer.synced.wait()
        sim.state.update(CONFIG_MAPS, a_map("a", x="2"))
        it.store.put(sim.state.update(CONFIG_MAPS, a_map("a", x="3")))
        await asyncio.sleep(10)

        seen = [change.new["data"]["x"] for change in it.changes if change.new is not None]
        assert seen == ["1"]
        assert it.is_true()


@virtually
async def test_what_no_longer_matches_is_gone() -> None:
    sim = ApiSim()
    sim.state.create(CONFIG_MAPS, a_config_map("a", namespace=HERE, labels={"tier": "web"}))
    async with following(sim, labels="tier=web") as it:
        await it.informer.synced.wait()
        sim.state.update(CONFIG_MAPS, a_config_map("a", namespace=HERE, labels={"tier": "db"}))
        await asyncio.sleep(1)

        assert it.told() == [("a", "new"), ("a", "gone")]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "delete", "compact", "refuse", "silence", "fault", "wait"]),
        st.sampled_from("abcd"),
        st.floats(0.0, 90.0),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_the_store_becomes_true_after_whatever_happens(steps: list[tuple[str, str, float]]) -> None:
    run_virtual(_become_true(steps))


async def _become_true(steps: list[tuple[str, str, float]]) -> None:
    sim = ApiSim()
    async with following(sim) as it:
        for number, (what, name, seconds) in enumerate(steps):
            await _do(sim, what, name, seconds, number)
        sim.link = Link.UP
        sim.log.fault_of = lambda call: None
        await until(lambda: it.informer.synced.is_set() and it.is_true(), within_s=300)
        _assert_history_is_sound(it.changes)


async def _do(sim: ApiSim, what: str, name: str, seconds: float, number: int) -> None:
    key = Key(HERE, name)
    match what:
        case "put" if sim.state.find(CONFIG_MAPS, key) is None:
            sim.state.create(CONFIG_MAPS, a_map(name, x=str(number)))
        case "put":
            sim.state.update(CONFIG_MAPS, a_map(name, x=str(number)))
        case "delete" if sim.state.find(CONFIG_MAPS, key) is not None:
            sim.state.delete(CONFIG_MAPS, key)
        case "compact":
            sim.state.compact()
        case "refuse" | "silence":
            sim.link = Link.REFUSED if what == "refuse" else Link.SILENT
            await asyncio.sleep(seconds)
            sim.link = Link.UP
        case "fault":
            sim.log.fault_of = _each_other_call_fails
        case _:
            await asyncio.sleep(seconds)


def _each_other_call_fails(call: SimCall) -> Fault | None:
    return Fault.UNAVAILABLE if call.number % 2 else None


def _assert_history_is_sound(changes: list[Change]) -> None:
    """What is reported joins up: nothing appears twice, vanishes twice or starts from another state than the last."""
    last: dict[Key, Any] = {}
    for change in changes:
        assert change.old == last.get(change.key)
        last[change.key] = change.new
