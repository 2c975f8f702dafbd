"""The operator dies before and after every one of its API calls, and everything ends as if it had not.

A reference run counts the calls. Then, for each call and both moments, a new world runs to the same point, the replica
is killed there (nothing of it takes effect any more, no memory survives), another takes over when the Lease has run
out, and the world must come to the same end: the same objects everywhere, the same verdicts and outcomes, every block's
labels exactly those that matured in it, and no object written more than twice more often.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pilotage.fleet.cache import WRITTEN
from pilotage.hub.kinds import KINDS, MODEL_DEPLOYMENTS
from pilotage.kube import Resource
from pilotage.kube.resources import HTTP_ROUTES
from support.apisim import ApiSim, Moment, SimCall
from support.counts import CountsOracle
from support.simworld import KEY, QUALITY, V1, V2, V3, SimWorld, a_deployment
from support.virtual_time import run_virtual

SLICES = 6
SETTLE_S = 40.0
WRITES_MORE = 2
TIMES = re.compile(r"\d+(\.\d+)?")
IDENTITY = {"resourceVersion", "uid", "generation", "managedFields", "observedGeneration", "clusterIP"}
TIME = {"creationTimestamp", "lastTransitionTime", "at", "since", "shifted"}
TIME |= {f"{what}At" for what in ("started", "observed", "passed", "decided", "updated", "stopped")}
EVIDENCE = {"state", "carried", "checksum", "boundaries", "blocks", "step", "stepReady", "failWeight"}
FIGURES = {"estimate", "lower", "upper", "logEPass", "logEFail", "labelsStable", "labelsCanary"}
OF_THE_MOMENT = IDENTITY | TIME | EVIDENCE | FIGURES | {"steps"}
"""What differs between two runs that mean the same: identities, times, and how long we looked at which step."""


@dataclass(frozen=True, slots=True)
class Crash:
    """Where a replica dies: at call `number`, before or after its effect."""

    number: int
    moment: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A world in which V1 serves (but when `first`) takes this bundle, and is watched until `done`.

    `bake`: calls are hit from the beginning of the bake on; `turns`: what the bundle answers from there on.
    """

    bundle: str
    done: Callable[[SimWorld], bool]
    first: bool = False
    bake: bool = False
    turns: str = ""

    def __str__(self) -> str:
        name = {V1: "first", V2: "good", V3: "bad"}[self.bundle]
        return f"{name}-bake" + ("-turns-bad" if self.turns else "") if self.bake else name


@dataclass(slots=True)
class Run:
    """What came of one run; `began` is the number of the first call that may be hit."""

    began: int = 0
    calls: list[SimCall] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)
    blocks: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def writes(self) -> Counter[tuple[str, ...]]:
        """Writes per object, but for the Lease."""
        return Counter(
            (call.cluster, call.resource, call.subresource, str(call.key))
            for call in self.calls[self.began :]
            if call.is_write and call.resource != "leases"
        )


FIRST = Scenario(bundle=V1, done=lambda world: world.holds("Promoted"), first=True)
GOOD = Scenario(bundle=V2, done=lambda world: world.holds("Promoted"))
BAD = Scenario(bundle=V3, done=lambda world: world.outcome() == "RolledBack")
SCENARIOS = (FIRST, GOOD, BAD)
BAKES = (
    Scenario(bundle=V2, done=lambda world: world.holds("Promoted"), bake=True),
    Scenario(bundle=V2, done=lambda world: world.outcome() == "RolledBack", bake=True, turns=V3),
)


def simulate(scenario: Scenario, crash: Crash | None = None) -> Run:
    return run_virtual(_simulate(scenario, crash))


async def _simulate(scenario: Scenario, crash: Crash | None) -> Run:
    # slower probes and renewals than in production: fewer calls to die at, of each kind as many moments
    members = ["aws"] if scenario.bake else ["aws", "gcp"]
    world = SimWorld(members, rate=100, lease_retry_s=5.0, probe_interval_s=15.0)
    oracle = CountsOracle(world, actual="yes")
    run = Run()
    async with world.running(replicas=0):
        world.log.on_call = _watching(world, oracle, crash, run)
        world.start()
        if not scenario.first:
            world.apply(_deployment(V1))
            await world.promoted(within_s=300)
        run.began = len(world.log.calls)
        world.apply(_deployment(scenario.bundle, bake=scenario.bake))
        if scenario.bake:
            await world.sees(lambda: world.holds("Promoted", "False", "Baking"), within_s=900)
            run.began = len(world.log.calls)
            for traffic in world.traffic.values():
                traffic.quality = {**QUALITY, scenario.bundle: QUALITY[scenario.turns or scenario.bundle]}
        await world.sees(lambda: scenario.done(world), within_s=900, what=str(scenario))
        await asyncio.sleep(SETTLE_S)
        run.calls = list(world.log.calls)
        run.end = {name: _state(sim) for name, sim in {"hub": world.hub, **world.members}.items()}
        run.blocks = oracle.blocks
        run.wrong += oracle.wrong
    return run


def _deployment(bundle: str, *, bake: bool = False) -> dict[str, Any]:
    made = a_deployment(bundle=bundle, feedback={"labelDelay": "10s"}, analysis={"interval": "10s", "minSamples": 50})
    if bake:  # one wave, one cluster: what comes before the bake is crashed in the other scenarios
        made["spec"]["rollout"] |= {"bake": {"duration": "60s", "holdback": 20}, "waves": [{"name": "all"}]}
    return made


def _watching(
    world: SimWorld, oracle: CountsOracle, crash: Crash | None, run: Run
) -> Callable[[SimCall, Moment], None]:
    def on_call(call: SimCall, moment: Moment) -> None:
        oracle(call, moment)
        run.wrong += _more_than_recorded(world)
        if crash is not None and (call.number, moment) == (crash.number, crash.moment):
            world.replicas[-1].kill()
            asyncio.get_running_loop().call_soon(world.start)

    return on_call


def _more_than_recorded(world: SimWorld) -> list[str]:
    """Write-ahead: a canary that serves a weight which the status does not say yet."""
    found_there = world.hub.state.find(MODEL_DEPLOYMENTS, KEY)
    status = (found_there or {}).get("status") or {}
    rollout = status.get("rollout") or {}
    if rollout.get("outcome") or status.get("stableRevision") in (None, rollout.get("revision")):
        return []
    found = []
    for name, sim in world.members.items():
        steps = [step for wave in rollout.get("waves") or () if name in wave["clusters"] for step in wave["steps"]]
        recorded = max((step["weight"] for step in steps), default=0)
        for route in sim.state.objects(HTTP_ROUTES):
            weights = {backend["name"]: backend["weight"] for backend in route["spec"]["rules"][0]["backendRefs"]}
            if weights.get("digits-canary", 0) > recorded:
                found.append(f"{name} serves {weights}, recorded is {recorded}")
    return found


def _state(sim: ApiSim) -> dict[str, Any]:
    """Everything we make, without what is of the moment."""
    kinds: tuple[Resource, ...] = KINDS if sim.name == "hub" else WRITTEN
    return {
        f"{kind.kind} {each['metadata']['name']}": _timeless(each) for kind in kinds for each in sim.state.objects(kind)
    }


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: TIMES.sub("#", str(item)) if name in ("message", "reason") else _timeless(item)
            for name, item in value.items()
            if name not in OF_THE_MOMENT and not (name == "status" and "observedGeneration" not in item)
        }
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    return value


@pytest.mark.parametrize("part", range(SLICES))
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_crash_at_any_call_changes_nothing_in_the_end(scenario: Scenario, part: int) -> None:
    reference = simulate(scenario)
    assert scenario.first or reference.blocks >= 1
    _crash_at(scenario, reference, range(reference.began + part, len(reference.calls), SLICES))


@pytest.mark.parametrize("scenario", BAKES, ids=str)
def test_a_crash_at_any_write_of_a_bake_changes_nothing_in_the_end(scenario: Scenario) -> None:
    reference = simulate(scenario)
    calls = reference.calls[reference.began :]
    _crash_at(scenario, reference, [call.number for call in calls if call.is_write and call.resource != "leases"])


def _crash_at(scenario: Scenario, reference: Run, numbers: Iterable[int]) -> None:
    for number in numbers:
        for moment in Moment:
            run = simulate(scenario, Crash(number, moment))
            where = f"crash {moment.name} of call {number}: {reference.calls[number]}"
            assert run.end == reference.end, where
            assert not run.wrong, where
            assert scenario.first or run.blocks >= 1, where
            for written, times in run.writes.items():
                assert times <= reference.writes[written] + WRITES_MORE, f"{where}: {written} written {times} times"
