"""`spec.feedback` through the whole operator: what comes with a field goes with it, and a Secret is never looked at."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from pilotage.hub.kinds import MEMBER_CLUSTERS
from pilotage.kube import Key, Object
from pilotage.kube.resources import CONFIG_MAPS, DEPLOYMENTS, STATEFUL_SETS
from support.simworld import SimWorld, a_deployment
from support.virtual_time import virtually

DELAY = {"labelDelay": "10s"}
EVERYTHING: dict[str, Any] = {
    **DELAY,
    "credentials": {"secretName": "digits-feedback", "rate": 500},
    "sealedTokens": True,
    "relay": {"secretName": "digits-peers"},
}


def templates(world: SimWorld) -> list[Any]:
    """The pods of every workload, in every member."""
    return [
        workload["spec"]["template"]
        for member in world.members.values()
        for kind in (DEPLOYMENTS, STATEFUL_SETS)
        for workload in member.state.objects(kind)
    ]


def peers(world: SimWorld, member: str) -> Any:
    """What pods of a member know of others; None without a file."""
    found = world.members[member].state.find(CONFIG_MAPS, Key("models", "digits-collector"))
    assert found is not None
    written = found["data"].get("peers.json")
    return written and json.loads(written)["peers"]


def edit(world: SimWorld, name: str, **feedback: Any) -> None:
    """`kubectl edit mcl`."""
    found: Object | None = world.hub.state.find(MEMBER_CLUSTERS, Key("", name))
    assert found is not None
    changed = {**found, "metadata": {**found["metadata"], "resourceVersion": ""}}
    changed["spec"] = {**found["spec"], "feedback": feedback}
    world.hub.state.update(MEMBER_CLUSTERS, changed, manager="kubectl")


@virtually
async def test_what_comes_with_a_field_goes_with_it_and_no_rollout_begins() -> None:
    world = SimWorld(["aws", "gcp"])
    async with world.running():
        world.apply(a_deployment(feedback=DELAY))
        await world.promoted(within_s=60)
        before, rollout = templates(world), world.deployment().status.rollout

        world.apply(a_deployment(feedback=EVERYTHING))
        await asyncio.sleep(60)
        assert all(template not in before for template in templates(world))
        assert peers(world, "aws") == {}

        world.apply(a_deployment(feedback=DELAY))
        await asyncio.sleep(60)
        assert templates(world) == before
        assert peers(world, "aws") is None
        assert world.deployment().status.rollout == rollout
        assert len(world.revisions()) == 1
    read = {call.key for call in world.log.calls if call.cluster != "hub" and call.resource == "secrets"}
    assert not read


@virtually
async def test_an_address_costs_one_write_in_each_cluster_that_may_use_it() -> None:
    world = SimWorld(["aws", "gcp", "azure"])
    async with world.running():
        world.apply(a_deployment(feedback=EVERYTHING))
        await world.promoted(within_s=120)
        edit(world, "aws", jurisdictions=["eu"])
        await asyncio.sleep(60)
        pods, calls = templates(world), len(world.log.calls)

        edit(world, "gcp", url="https://{model}.{namespace}.gcp.example", jurisdictions=["eu"])
        await asyncio.sleep(60)

        assert set(peers(world, "aws")) == {"gcp"}
        assert peers(world, "aws")["gcp"]["url"] == "https://digits.models.gcp.example"
        assert peers(world, "azure") == {}, "it shares no jurisdiction"
        written = [call for call in world.log.calls[calls:] if call.verb == "patch" and call.cluster != "hub"]
        assert {(call.cluster, call.resource) for call in written} == {("aws", "configmaps"), ("gcp", "configmaps")}
        assert templates(world) == pods
