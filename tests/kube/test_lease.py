"""One leader at a time, in virtual time: outages, frozen holders, lost answers, hand-overs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.kube import Api, Key, LeadershipLost
from pilotage.kube.lease import Elector, Timings
from pilotage.kube.resources import LEASES
from support.apisim import ApiSim, Fault, Link, SimCall
from support.virtual_time import VirtualClock, run_virtual, until, virtually

KEY = Key("pilotage-system", "pilotage")


class FreezableClock(VirtualClock):
    """A process that can be stopped: while frozen, nothing that sleeps on it wakes."""

    def __init__(self) -> None:
        super().__init__()
        self.running = asyncio.Event()
        self.running.set()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        await self.running.wait()


class Candidate:
    """One replica: its elector, running."""

    def __init__(self, sim: ApiSim, name: str, *, clock: VirtualClock | None = None) -> None:
        self.api: Api = sim.client(name)
        self.clock = clock or FreezableClock()
        self.elector = Elector(self.api, KEY, identity=name, clock=self.clock, jitter=lambda: 0.0)
        self.task = asyncio.create_task(self.elector.run())

    async def stop(self) -> None:
        """As an orderly shutdown does it."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.elector.release()

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def candidates(sim: ApiSim, *names: str) -> AsyncIterator[list[Candidate]]:
    found = []
    for name in names:
        found.append(Candidate(sim, name))
        await asyncio.sleep(0.5)
    try:
        yield found
    finally:
        for candidate in found:
            await candidate.kill()


def holder(sim: ApiSim) -> str:
    lease = sim.state.find(LEASES, KEY)
    return str((lease or {}).get("spec", {}).get("holderIdentity", ""))


def now() -> float:
    return asyncio.get_running_loop().time()


@virtually
async def test_the_first_one_leads_and_goes_on_leading() -> None:
    sim = ApiSim()
    async with candidates(sim, "a", "b") as (a, b):
        for _ in range(100):
            await asyncio.sleep(3)
            assert (a.elector.valid(), b.elector.valid()) == (True, False)

    assert sim.state.find(LEASES, KEY) is not None


@virtually
async def test_an_orderly_end_hands_over_within_one_retry() -> None:
    sim = ApiSim()
    async with candidates(sim, "a", "b") as (a, b):
        await asyncio.sleep(60)
        await a.stop()
        began = now()

        await until(b.elector.valid, within_s=60)

    assert now() - began < 2.5


@virtually
async def test_after_a_kill_the_next_one_waits_for_the_lease_to_run_out() -> None:
    sim = ApiSim()
    async with candidates(sim, "a", "b") as (a, b):
        await asyncio.sleep(60)
        await a.kill()
        began = now()

        await until(b.elector.valid, within_s=60)

    assert 13 < now() - began <= 17.5


@virtually
async def test_a_frozen_holder_is_not_valid_when_it_wakes_and_ends() -> None:
    sim = ApiSim()
    async with candidates(sim, "a", "b") as (a, b):
        assert isinstance(a.clock, FreezableClock)
        await asyncio.sleep(60)
        a.clock.running.clear()
        await until(b.elector.valid, within_s=60)

        assert not a.elector.valid()
        with pytest.raises(LeadershipLost, match="a does not hold it"):
            a.elector.require_valid()
        a.clock.running.set()
        with pytest.raises(LeadershipLost, match="b holds it, no longer a"):
            await a.task
        assert b.elector.valid()


@virtually
async def test_a_holder_that_cannot_renew_stops_before_anybody_else_may_start() -> None:
    sim = ApiSim()
    async with candidates(sim, "a") as (a,):
        await asyncio.sleep(60)
        sim.link = Link.SILENT
        began = now()

        await until(lambda: not a.elector.valid(), within_s=60)
        stopped = now() - began
        with pytest.raises(LeadershipLost):
            await a.task

    assert stopped <= 10


@virtually
async def test_a_short_outage_costs_nothing() -> None:
    sim = ApiSim()
    async with candidates(sim, "a", "b") as (a, b):
        await asyncio.sleep(60)
        sim.link = Link.REFUSED
        await asyncio.sleep(6)
        sim.link = Link.UP
        await asyncio.sleep(60)

        assert (a.elector.valid(), b.elector.valid()) == (True, False)


@virtually
async def test_a_renewal_whose_answer_is_lost_costs_nothing() -> None:
    sim = ApiSim()
    renewals = 0

    def lose_each_fifth(call: SimCall) -> Fault | None:
        nonlocal renewals
        renewals += call.verb == "update"
        return Fault.TIMEOUT_AFTER if call.verb == "update" and renewals % 5 == 0 else None

    async with candidates(sim, "a", "b") as (a, b):
        sim.log.fault_of = lose_each_fifth
        for _ in range(50):
            await asyncio.sleep(2)
            assert (a.elector.valid(), b.elector.valid()) == (True, False)

    assert renewals > 20


@virtually
async def test_a_lease_that_is_deleted_is_made_again() -> None:
    sim = ApiSim()
    async with candidates(sim, "a") as (a,):
        await asyncio.sleep(10)
        sim.state.delete(LEASES, KEY)
        await asyncio.sleep(5)

        assert a.elector.valid()
        assert holder(sim) == "a"


@virtually
async def test_two_that_start_at_once_agree() -> None:
    sim = ApiSim()
    both = [Candidate(sim, name) for name in ("a", "b")]
    await asyncio.sleep(5)

    assert sum(candidate.elector.valid() for candidate in both) == 1
    for candidate in both:
        await candidate.kill()


@virtually
async def test_a_wrong_wall_clock_changes_nothing() -> None:
    sim = ApiSim()
    ahead = VirtualClock(start=VirtualClock().now() + timedelta(days=365))
    a = Candidate(sim, "a")
    await asyncio.sleep(1)
    b = Candidate(sim, "b", clock=ahead)
    for _ in range(30):
        await asyncio.sleep(2)
        assert (a.elector.valid(), b.elector.valid()) == (True, False)
    await a.kill()
    await b.kill()


@virtually
async def test_release_gives_back_a_lease_whose_last_renewal_was_cut_off() -> None:
    sim = ApiSim()
    async with candidates(sim, "a") as (a,):
        await asyncio.sleep(5)
        lease = sim.state.need(LEASES, KEY)
        sim.state.update(LEASES, {**lease, "spec": {**lease["spec"], "renewTime": "2026-01-01T00:00:09.000000Z"}})

        await a.stop()

    assert holder(sim) == ""


@virtually
async def test_release_leaves_the_lease_of_another_alone() -> None:
    sim = ApiSim()
    async with candidates(sim, "a", "b") as (_, b):
        await asyncio.sleep(5)
        await b.stop()

    assert holder(sim) == "a"


def test_timings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match=r"duration_s 10\.0, renew_s 15\.0, retry_s 2\.0: each must be above"):
        Timings(duration_s=10.0, renew_s=15.0)


OUTAGES = st.lists(
    st.tuples(st.sampled_from(["freeze a", "freeze b", "silence", "refuse", "lose"]), st.floats(0.5, 40)),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(OUTAGES)
def test_never_two_leaders_whatever_happens(outages: list[tuple[str, float]]) -> None:
    run_virtual(_never_two(outages))


async def _never_two(outages: list[tuple[str, float]]) -> None:
    sim = ApiSim()
    async with candidates(sim, "a", "b") as both:
        watcher = asyncio.create_task(_assert_one(both))
        for what, seconds in outages:
            await _suffer(sim, both, what, seconds)
            await asyncio.sleep(20)
        assert not watcher.done() or watcher.result() is None
        watcher.cancel()
        await asyncio.gather(watcher, *(c.task for c in both if c.task.done()), return_exceptions=True)


async def _suffer(sim: ApiSim, both: list[Candidate], what: str, seconds: float) -> None:
    clock = both[0 if what.endswith("a") else 1].clock
    assert isinstance(clock, FreezableClock)
    if what.startswith("freeze"):
        clock.running.clear()
    elif what == "lose":
        sim.log.fault_of = lambda call: Fault.TIMEOUT_AFTER if call.is_write else None
    else:
        sim.link = Link.SILENT if what == "silence" else Link.REFUSED
    await asyncio.sleep(seconds)
    clock.running.set()
    sim.link = Link.UP
    sim.log.fault_of = lambda call: None


async def _assert_one(both: list[Candidate]) -> None:
    while True:
        assert sum(candidate.elector.valid() for candidate in both) <= 1
        await asyncio.sleep(0.1)
