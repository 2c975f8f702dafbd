"""Rollouts that are not gated on confusion cells: errors of the pods, and losses that only some gates have counted."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from pilotage.hub.kinds import MEMBER_CLUSTERS
from pilotage.kube import Key
from pilotage.kube.resources import CONFIG_MAPS, STATEFUL_SETS
from support.apisim import Link
from support.simworld import V1, V2, V3, SimWorld, a_deployment, confusion
from support.virtual_time import virtually

QUICK: dict[str, Any] = {"feedback": {"labelDelay": "10s"}, "analysis": {"interval": "10s", "minSamples": 50}}
ERRORS = {"name": "errors", "metric": "errorRate", "ceiling": 0.05, "margin": 0.02}
LOSS = {"name": "loss", "metric": "logLoss", "ceiling": 0.9, "margin": 0.1}
BEHIND = {"namespace": "monitoring", "name": "prometheus", "port": "9090"}
ALIKE = {bundle: confusion(0.9) for bundle in (V1, V2, V3)}


def a_world() -> SimWorld:
    """V2 is like V1; V3 fails more requests and is surer of what is wrong."""
    world = SimWorld(["aws", "gcp"], quality=ALIKE, rate=100)
    for traffic in world.traffic.values():
        traffic.errors = {V1: 0.01, V2: 0.01, V3: 0.2}
        traffic.loss = {V1: 0.4, V2: 0.38, V3: 1.3}
    return world


def gated_on(gate: dict[str, Any], bundle: str) -> dict[str, Any]:
    return a_deployment(bundle=bundle, **QUICK, gates=[gate])


@virtually
@pytest.mark.parametrize("gate", [ERRORS, LOSS], ids=lambda gate: gate["metric"])
async def test_a_model_that_is_no_worse_is_promoted(gate: dict[str, Any]) -> None:
    world = a_world()
    async with world.running():
        world.apply(gated_on(gate, V1))
        await world.promoted(within_s=60)
        world.apply(gated_on(gate, V2))
        await world.promoted()
        (result,) = next(
            entry.gates
            for revision in world.revisions().values()
            if revision.model.bundle == V2
            for entry in revision.status.evidence
        )
        assert result.difference is not None
        assert result.difference.estimate == pytest.approx(-0.02 if gate is LOSS else 0.0, abs=0.005)
        assert result.estimate == pytest.approx(0.38 if gate is LOSS else 0.01, abs=0.005)
        assert result.labels_canary > 50


@virtually
@pytest.mark.parametrize("gate", [ERRORS, LOSS], ids=lambda gate: gate["metric"])
async def test_a_model_that_is_worse_comes_back(gate: dict[str, Any]) -> None:
    world = a_world()
    async with world.running():
        world.apply(gated_on(gate, V1))
        await world.promoted(within_s=60)
        world.apply(gated_on(gate, V3))
        await world.sees(lambda: world.outcome() == "RolledBack")
        await world.sees(lambda: world.holds("Promoted", "False", "GateFailed"), within_s=60)


@virtually
async def test_a_prometheus_behind_the_members_api_server_is_as_good_and_lost_with_it() -> None:
    world = a_world()
    for found in world.hub.state.objects(MEMBER_CLUSTERS):
        spec = {**found["spec"], "prometheus": {"service": BEHIND}}
        metadata = {**found["metadata"], "resourceVersion": ""}
        world.hub.state.update(MEMBER_CLUSTERS, {**found, "metadata": metadata, "spec": spec}, manager="test")
    async with world.running():
        world.apply(gated_on(ERRORS, V1))
        await world.promoted(within_s=60)
        world.apply(gated_on(ERRORS, V2))
        await world.sees(lambda: world.holds("Progressing", "True", "WaitingForLabels"), within_s=120)
        world.members["aws"].link = Link.SILENT
        await world.sees(lambda: world.holds("MembersReachable", "False"), within_s=60)
        await asyncio.sleep(120)
        assert world.outcome() == ""
        world.members["aws"].link = Link.UP
        await world.promoted()
        proxied = [call for call in world.log.calls if "/proxy/" in call.resource]
        assert {call.cluster for call in proxied} == {"aws", "gcp"}


@virtually
async def test_the_collector_counts_a_loss_only_while_a_gate_asks_for_it() -> None:
    world = a_world()

    def told() -> Any:
        found = world.members["aws"].state.find(CONFIG_MAPS, Key("models", "digits-collector"))
        assert found is not None
        return json.loads(found["data"]["collector.json"]).get("export")

    async with world.running():
        world.apply(gated_on(ERRORS, V1))
        await world.promoted(within_s=60)
        assert told() is None
        world.apply(gated_on(LOSS, V1))
        await world.sees(lambda: told() == ["loss"], within_s=60)


@virtually
async def test_pods_without_the_counter_that_a_gate_needs_are_missing_metrics_and_no_verdict() -> None:
    world = a_world()
    latency = {"name": "fast", "metric": "latency", "bound": "250ms", "floor": 0.9}
    async with world.running():
        world.apply(gated_on(latency, V1))
        await world.promoted(within_s=60)
        world.apply(gated_on(latency, V2))
        await world.sees(lambda: world.holds("MetricsAvailable", "False", "CountersMissing"), within_s=300)
        assert world.outcome() == ""


@virtually
async def test_another_volume_makes_the_collector_anew_and_nothing_else() -> None:
    world = a_world()
    collector, feedback = Key("models", "digits-collector"), QUICK["feedback"]

    def claims(name: str) -> list[str]:
        found = world.members[name].state.find(STATEFUL_SETS, collector)
        templates = found["spec"].get("volumeClaimTemplates", []) if found is not None else []
        return [claim["spec"]["resources"]["requests"]["storage"] for claim in templates]

    def claimed(size: str) -> bool:
        return all(claims(name) == [size] for name in ("aws", "gcp"))

    async with world.running():
        world.apply(gated_on(ERRORS, V1))
        await world.promoted(within_s=60)
        before = len(world.log.calls)
        for size in ("1Gi", "2Gi"):
            manifest = gated_on(ERRORS, V1)
            manifest["spec"]["feedback"] = {**feedback, "storage": {"size": size}}
            world.apply(manifest)
            await world.sees(partial(claimed, size), within_s=60)
        await world.sees(lambda: world.holds("Promoted"), within_s=60)
        calls = [call for call in world.log.calls[before:] if call.is_write and call.cluster != "hub"]
        deleted = {(call.cluster, call.resource) for call in calls if call.verb == "delete"}
        assert deleted == {("aws", "statefulsets"), ("gcp", "statefulsets")}
        assert not [call for call in calls if call.resource == "deployments"]
