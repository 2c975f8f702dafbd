"""What a restart costs the operator: CPU from nothing known to quiet, with thousands of objects in every member.

    PYTHONPATH=tests:. python -m benchmarks.operator_restart --objects 5000

A simulated hub and three members hold as many objects of ours as asked for in each (seven a ModelDeployment, by
Gateway, all promoted); an operator starts, in virtual time, so that CPU is all that counts.
The simulated API servers run in the same process: the profile tells whose CPU it was. What they spare the operator,
reading JSON, is measured beside it on the same objects.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson
import structlog

from pilotage.api import decode
from pilotage.api.names import MODEL_LABEL, ORIGIN_LABEL
from pilotage.fleet.syncer import INTENT_ANNOTATION
from pilotage.hub.kinds import KINDS, MEMBER_CLUSTERS, MODEL_DEPLOYMENTS, MODEL_REVISIONS
from pilotage.kube import Key, stamped
from pilotage.kube.resources import CONFIG_MAPS, DEPLOYMENTS, HTTP_ROUTES, PODS, SERVICES, STATEFUL_SETS
from pilotage.plan import ClusterView, Fresh, Observed, decide
from support.simworld import SimWorld, a_deployment
from support.virtual_time import run_virtual, until

MEMBERS = ("aws", "gcp", "azure")
PER_DEPLOYMENT = 7
QUIET_AFTER_S = 60.0
IN_MEMBERS = (CONFIG_MAPS, DEPLOYMENTS, HTTP_ROUTES, SERVICES, STATEFUL_SETS)
FIRST = "first0"
"""The one that a whole operator rolls out; the others are made after its likeness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Seconds of CPU, calls by verb, objects in the first member, MB of JSON in all clusters and seconds to read it."""

    cpu_s: float
    calls: Counter[str]
    objects: int
    megabytes: float
    parsing_s: float


class Mould:
    """The first ModelDeployment and all that was made of it; `cast` makes another, as the operator would have."""

    def __init__(self, world: SimWorld) -> None:
        self._world = world
        self._pods = {name: world.members[name].state.objects(PODS) for name in MEMBERS}
        self._intents = {name: intent.apply for name, intent in decide(self._seen(), 2e9).intents.items()}

    def _seen(self) -> Observed:
        hub = self._world.hub.state
        (first,) = hub.objects(MODEL_DEPLOYMENTS)
        revisions = [found for each in hub.objects(MODEL_REVISIONS) if (found := decode.model_revision(each))]
        members = {each["metadata"]["name"]: decode.member_cluster(each) for each in hub.objects(MEMBER_CLUSTERS)}
        views = {
            name: ClusterView(name=name, member=members[name], link=Fresh(), objects=tuple(self._live(name)))
            for name in MEMBERS
        }
        return Observed(
            hub_uid=next(self._live(MEMBERS[0]))["metadata"]["labels"][ORIGIN_LABEL].partition(".")[0],
            deployment=decode.model_deployment(first),
            revisions={each.metadata.name: each for each in revisions},
            clusters=views,
        )

    def _live(self, member: str) -> Iterator[Any]:
        state = self._world.members[member].state
        return (each for kind in IN_MEMBERS for each in state.objects(kind) if MODEL_LABEL in _labels(each))

    def cast(self, name: str) -> None:
        """Another one, promoted too."""
        hub = self._world.hub.state
        (first,) = (each for each in hub.objects(MODEL_DEPLOYMENTS) if each["metadata"]["name"] == FIRST)
        made = hub.create(MODEL_DEPLOYMENTS, _bare(renamed(first, name)), manager="kubectl")
        hub.update_status(MODEL_DEPLOYMENTS, {**made, "status": renamed(first["status"], name)})
        uids = {first["metadata"]["uid"]: made["metadata"]["uid"]}
        for revision in hub.objects(MODEL_REVISIONS):
            if revision["metadata"]["name"].startswith(FIRST):
                born = hub.create(MODEL_REVISIONS, _bare(renamed(revision, name, uids)), manager="pilotage")
                hub.update_status(MODEL_REVISIONS, {**born, "status": renamed(revision["status"], name, uids)})
        for member in MEMBERS:
            self._cast_in(member, name, uids)

    def _cast_in(self, member: str, name: str, uids: Mapping[str, str]) -> None:
        state = self._world.members[member].state
        for manifest in self._intents[member]:
            resource = next(each for each in IN_MEMBERS if each.kind == manifest["kind"])
            intent = stamped(renamed(manifest, name, uids), annotation=INTENT_ANNOTATION)
            made = state.apply(resource, intent, manager="pilotage", force=True)
            live = state.need(resource, Key.of(manifest))
            if "status" in live:
                state.update_status(resource, {**made, "status": renamed(live["status"], name, uids)})
        for pod in self._pods[member]:
            state.create(PODS, _bare(renamed(pod, name, uids)))


def _labels(manifest: Any) -> Mapping[str, str]:
    return manifest["metadata"].get("labels") or {}


def renamed(value: Any, name: str, uids: Mapping[str, str] = MappingProxyType({})) -> Any:
    """The same of another name."""
    text = orjson.dumps(value).decode().replace(FIRST, name)
    for old, new in uids.items():
        text = text.replace(old, new)
    return orjson.loads(text)


def _bare(manifest: Any) -> Any:
    """Without what an API server adds."""
    kept = {"name", "namespace", "labels", "annotations", "finalizers", "ownerReferences"}
    metadata = {key: value for key, value in manifest["metadata"].items() if key in kept}
    return {**manifest, "metadata": metadata}


async def restart(objects: int, profile: cProfile.Profile | None) -> Figures:
    """Fill, start, and count until it has been quiet for long."""
    world = SimWorld(list(MEMBERS), resync_s=86400.0)
    first = a_deployment(rollout={"progressDeadline": "24h", "maxDuration": "24h"}, gates=[])
    first["metadata"]["name"] = FIRST
    async with world.running():
        world.hub.state.apply(MODEL_DEPLOYMENTS, first, manager="kubectl", force=True)
        await until(lambda: promoted(world), within_s=600)
        await world.clock.sleep(120)
    mould = Mould(world)
    for number in range(max(1, round(objects / PER_DEPLOYMENT)) - 1):
        mould.cast(f"m{number:05}")
    calls = len(world.log.calls)
    gc.collect()
    gc.set_threshold(10_000, 10, 10)  # as the operator does in its own process
    gc.freeze()  # what the simulated servers hold is not its to look through
    began = time.process_time()
    if profile:
        profile.enable()
    replica = world.start()
    await world.clock.sleep(QUIET_AFTER_S)
    if profile:
        profile.disable()
    cpu_s = time.process_time() - began
    replica.kill()
    await asyncio.gather(replica.task, return_exceptions=True)
    texts = [orjson.dumps(each) for each in everything(world)]
    began = time.process_time()
    for text in texts:
        orjson.loads(text)
    return Figures(
        cpu_s=cpu_s,
        calls=Counter(f"{call.verb} {call.resource}" for call in world.log.calls[calls:]),
        objects=sum(len(world.members["aws"].state.objects(kind)) for kind in IN_MEMBERS),
        megabytes=sum(map(len, texts)) / 1e6,
        parsing_s=time.process_time() - began,
    )


def promoted(world: SimWorld) -> bool:
    """The first one, by its condition."""
    (first,) = world.hub.state.objects(MODEL_DEPLOYMENTS)
    conditions = (first.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Promoted" and each["status"] == "True" for each in conditions)


def everything(world: SimWorld) -> list[Any]:
    """All that the operator reads as it starts."""
    hub = [each for kind in KINDS for each in world.hub.state.objects(kind)]
    members = [
        each for sim in world.members.values() for kind in (*IN_MEMBERS, PODS) for each in sim.state.objects(kind)
    ]
    return [*hub, *members]


def main() -> None:
    """Measure once for the figures and once for the profile, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=5000, help="objects of ours in each member")
    parser.add_argument("--profile", action="store_true", help="tell where the time goes (twice as slow)")
    arguments = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    profile = cProfile.Profile() if arguments.profile else None
    found = run_virtual(restart(arguments.objects, profile))
    print(f"{found.objects} objects in each of {len(MEMBERS)} members: {found.cpu_s:.2f} s of CPU to quiet, ", end="")
    print(f"simulated API servers included; reading {found.megabytes:.0f} MB of JSON: {found.parsing_s:.2f} s more")
    print("calls:", ", ".join(f"{number} {what}" for what, number in sorted(found.calls.items())))
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)


if __name__ == "__main__":
    main()
