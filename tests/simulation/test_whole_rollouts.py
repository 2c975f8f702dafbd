"""Whole rollouts on simulated clusters: what a user sees, and how little it costs the API servers."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from pilotage.api import names
from pilotage.hub.kinds import KINDS, MODEL_DEPLOYMENTS, MODEL_REVISIONS
from pilotage.kube import Key
from pilotage.kube.resources import DEPLOYMENTS, EVENTS, HTTP_ROUTES, PODS, SERVICES
from support.apisim import Fault, Link, SimCall
from support.counts import CountsOracle
from support.simworld import KEY, V1, V2, V3, SimWorld, a_deployment
from support.virtual_time import virtually

QUICK: dict[str, Any] = {"feedback": {"labelDelay": "10s"}, "analysis": {"interval": "10s", "minSamples": 50}}


def quick(bundle: str = V1, **changes: Any) -> dict[str, Any]:
    return a_deployment(bundle=bundle, **{**QUICK, **changes})


def a_world(*members: str) -> SimWorld:
    return SimWorld(list(members or ("aws", "gcp")), rate=100)


def bundles(world: SimWorld, name: str) -> set[str]:
    """The models that a member has Deployments of."""
    return {
        volume["image"]["reference"]
        for each in world.members[name].state.objects(DEPLOYMENTS)
        for volume in each["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "bundle"
    }


@virtually
async def test_a_better_model_reaches_every_cluster_and_the_old_one_goes() -> None:
    world = a_world()
    world.log.on_call = oracle = CountsOracle(world, actual="yes")
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        world.apply(quick(V2))
        await world.promoted()
        await asyncio.sleep(30)
        assert bundles(world, "aws") == bundles(world, "gcp") == {V2}
        assert world.deployment().status.phase == "Healthy"
        assert oracle.blocks >= 2
        assert not oracle.wrong


@virtually
async def test_a_worse_model_comes_back_and_other_clusters_never_see_it() -> None:
    world = a_world()
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        world.apply(quick(V3))
        await world.sees(lambda: world.outcome() == "RolledBack")
        await asyncio.sleep(30)
        assert bundles(world, "aws") == bundles(world, "gcp") == {V1}
        (worse,) = [each for each in world.revisions().values() if each.model.bundle == V3]
        assert not [c for c in world.log.calls if c.cluster == "gcp" and c.key.name == worse.metadata.name]
        assert world.holds("Available")
        assert world.holds("Promoted", "False", "GateFailed")


@virtually
async def test_without_labels_nothing_is_promoted_and_an_abort_ends_it() -> None:
    world = a_world()
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        for traffic in world.traffic.values():
            traffic.labels_come = False
        rollout = {**a_deployment()["spec"]["rollout"], "maxDuration": "10m"}
        world.apply(quick(V2, rollout=rollout))
        await world.sees(lambda: bool((world.raw()["status"].get("rollout") or {}).get("held")))
        assert world.deployment().status.phase == "Paused"
        await asyncio.sleep(1200)
        assert world.outcome() == ""
        rollout_name = world.deployment().status.rollout
        assert rollout_name is not None
        world.annotate(names.ABORT, rollout_name.name)
        await world.sees(lambda: world.outcome() == "Aborted", within_s=60)
        await asyncio.sleep(30)
        assert bundles(world, "aws") == {V1}


@virtually
async def test_replicas_mode_needs_nothing_but_a_service() -> None:
    world = a_world("aws")
    traffic = {"mode": "Replicas"}
    placement = {**a_deployment()["spec"]["placement"], "replicasPerCluster": 4}
    async with world.running():
        world.apply(quick(V1, traffic=traffic, placement=placement))
        await world.promoted(within_s=60)
        world.apply(quick(V2, traffic=traffic, placement=placement))
        await world.promoted()
        state = world.members["aws"].state
        assert not state.objects(HTTP_ROUTES)
        assert state.find(SERVICES, KEY) is not None


@virtually
async def test_a_whole_rollout_in_one_cluster_costs_at_most_thirty_writes_besides_evidence() -> None:
    world = a_world("aws")
    rollout = {**a_deployment()["spec"]["rollout"], "waves": []}
    async with world.running():
        world.apply(quick(V1, rollout=rollout))
        await world.promoted(within_s=60)
        await asyncio.sleep(30)
        before = len(world.log.calls)
        world.apply(quick(V2, rollout=rollout))
        await world.promoted()
        await asyncio.sleep(30)
        writes = [c for c in world.log.calls[before:] if c.is_write and c.resource != "leases"]
        evidence = [c for c in writes if (c.resource, c.subresource) == ("modelrevisions", "status")]
        assert len(writes) - len(evidence) <= 30, Counter((c.resource, c.subresource, c.verb) for c in writes)


@virtually
async def test_at_rest_there_are_watches_leases_and_probes_and_nothing_else() -> None:
    world = a_world()
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        await asyncio.sleep(60)
        before = len(world.log.calls)
        await asyncio.sleep(240)
        asked = Counter((call.verb, call.resource) for call in world.log.calls[before:] if call.verb != "watch")
        kept = {("update", "leases"), ("get", "/readyz")}
        compared = {("list", kind.plural) for kind in KINDS}
        assert asked.keys() <= kept | compared, asked
        assert all(asked[one] <= 1 for one in compared), "the key list: once in five minutes"


@virtually
async def test_a_restart_decides_once_and_writes_nothing() -> None:
    world = a_world()
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        await asyncio.sleep(60)
        world.replicas[0].kill()
        calls = len(world.log.calls)
        second = world.start()
        await asyncio.sleep(60)
        decided = second.metrics.registry.get_sample_value("pilotage_reconciles_total", {"result": "success"})
        written = {call.resource for call in world.log.calls[calls:] if call.is_write}

    assert decided == 1
    assert written == {"leases"}


@virtually
async def test_drift_is_repaired() -> None:
    world = a_world("aws")
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        state = world.members["aws"].state
        (found,) = state.objects(DEPLOYMENTS)
        state.delete(DEPLOYMENTS, Key.of(found))
        service = state.find(SERVICES, Key("models", "digits-stable"))
        assert service is not None
        meddled = {**service, "metadata": {**service["metadata"], "resourceVersion": ""}}
        state.update(SERVICES, {**meddled, "spec": {**service["spec"], "selector": {"app": "other"}}}, manager="me")
        await asyncio.sleep(10)
        assert [Key.of(each) for each in state.objects(DEPLOYMENTS)] == [Key.of(found)]
        repaired = state.find(SERVICES, Key("models", "digits-stable"))
        assert repaired is not None
        assert names.REVISION_LABEL in repaired["spec"]["selector"]


@virtually
async def test_deletion_removes_what_we_made_and_nothing_else() -> None:
    world = a_world()
    foreign = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}}
    async with world.running():
        for sim in world.members.values():
            sim.state.create(SERVICES, {**foreign, "metadata": {"name": "mine", "namespace": "models"}}, manager="me")
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        world.hub.state.delete(MODEL_DEPLOYMENTS, KEY)
        await asyncio.sleep(120)
        assert not world.hub.state.objects(MODEL_DEPLOYMENTS)
        assert not world.hub.state.objects(MODEL_REVISIONS)
        for sim in world.members.values():
            assert not sim.state.objects(DEPLOYMENTS)
            assert not sim.state.objects(PODS)
            assert [each["metadata"]["name"] for each in sim.state.objects(SERVICES)] == ["mine"]


@virtually
async def test_deleting_a_member_cluster_leaves_its_models_serving() -> None:
    from pilotage.hub.kinds import MEMBER_CLUSTERS

    world = a_world()
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        world.hub.state.delete(MEMBER_CLUSTERS, Key("", "gcp"))
        await asyncio.sleep(120)
        assert bundles(world, "gcp") == {V1}
        assert world.deployment().status.phase == "Healthy"


@virtually
async def test_what_a_dead_member_kept_is_told_as_unclaimed_and_left_serving() -> None:
    world = a_world()
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        world.members["gcp"].link = Link.SILENT
        await asyncio.sleep(60)
        world.hub.state.delete(MODEL_DEPLOYMENTS, KEY)
        await asyncio.sleep(900)
        assert not world.hub.state.objects(MODEL_DEPLOYMENTS), "released after ten minutes"
        kept = world.members["gcp"].state.objects(DEPLOYMENTS)
        world.members["gcp"].link = Link.UP
        world.apply(quick(V2))
        await asyncio.sleep(120)
        told = [each for each in world.hub.state.objects(EVENTS) if each["reason"] == "Unclaimed"]
        assert {each["regarding"]["kind"] for each in told} >= {"MemberCluster"}
        assert world.members["gcp"].state.objects(DEPLOYMENTS) == kept
        assert bundles(world, "aws") == {V2}


# ------------------------------------------------------------------------------------------------------------- outages


@virtually
async def test_a_member_lost_in_a_wave_holds_it_and_it_goes_on_when_the_member_is_back() -> None:
    world = a_world()
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        world.apply(quick(V2))
        await world.sees(lambda: V2 in bundles(world, "aws"), within_s=60)
        world.members["aws"].link = Link.SILENT
        lost_at = world.clock.monotonic()
        await world.sees(lambda: world.holds("MembersReachable", "False"), within_s=30)
        assert world.clock.monotonic() - lost_at <= 30
        await asyncio.sleep(1800)
        assert world.outcome() == "", "deadlines stand still"
        world.members["aws"].link = Link.UP
        await world.sees(lambda: world.holds("MembersReachable"), within_s=30)
        await world.promoted()


@virtually
async def test_an_outage_of_one_member_never_delays_another() -> None:
    world = a_world("aws", "gcp")
    async with world.running():
        world.members["aws"].link = Link.SILENT
        await asyncio.sleep(5)
        rollout = {**a_deployment()["spec"]["rollout"], "waves": [{"name": "a", "clusters": ["gcp"]}]}
        world.apply(quick(V1, rollout=rollout))
        await world.sees(lambda: V1 in bundles(world, "gcp"), within_s=40)


@virtually
@pytest.mark.parametrize("link", [Link.REFUSED, Link.SILENT], ids=["refused", "silent"])
async def test_the_hub_away_for_thirty_seconds_costs_nothing_but_time(link: Link) -> None:
    world = SimWorld(["aws", "gcp"], rate=100, lease_duration_s=60.0, lease_renew_deadline_s=50.0)
    world.log.on_call = oracle = CountsOracle(world, actual="yes")
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        world.apply(quick(V2))
        await world.sees(lambda: V2 in bundles(world, "aws"), within_s=60)
        world.hub.link = link
        await asyncio.sleep(30)
        world.hub.link = Link.UP
        await world.promoted()
        assert not oracle.wrong


@virtually
async def test_a_dead_prometheus_is_told_and_never_a_verdict() -> None:
    world = a_world()
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        world.apply(quick(V2))
        await world.sees(lambda: V2 in bundles(world, "aws"), within_s=60)
        world.traffic["aws"].is_up = False
        await world.sees(lambda: world.holds("MetricsAvailable", "False", "PrometheusUnreachable"), within_s=120)
        await asyncio.sleep(600)
        assert world.outcome() == ""
        world.traffic["aws"].is_up = True
        await world.promoted()


@virtually
async def test_two_replicas_write_as_one_and_the_second_takes_over() -> None:
    world = a_world()
    async with world.running(replicas=2):
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        await asyncio.sleep(20)
        leader = next(each for each in world.replicas if each.operator.elector.valid())
        (standby,) = [each for each in world.replicas if each is not leader]
        assert not standby.operator.elector.valid()
        before = len(world.log.calls)
        leader.kill()
        await world.sees(standby.operator.elector.valid, within_s=18)
        world.apply(quick(V2))
        await world.promoted()
        creates = Counter(
            (c.cluster, c.resource, c.key) for c in world.log.calls[before:] if c.verb == "create" and c.is_write
        )
        assert max(creates.values()) <= 1


# -------------------------------------------------------------------------------------------------------------- faults


@virtually
@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
async def test_every_fifth_call_disturbed_changes_nothing_in_the_end(fault: Fault) -> None:
    world = a_world()
    world.log.on_call = oracle = CountsOracle(world, actual="yes")

    def every_fifth(call: SimCall) -> Fault | None:
        may_be = call.is_write or fault is not Fault.CONFLICT
        return fault if call.number % 5 == 3 and may_be and call.resource != "leases" else None

    world.log.fault_of = every_fifth
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=600)
        world.apply(quick(V2))
        await world.promoted()
        await asyncio.sleep(120)
        assert bundles(world, "aws") == bundles(world, "gcp") == {V2}
        assert not oracle.wrong


@virtually
async def test_a_compacted_history_is_listed_again() -> None:
    world = a_world()
    async with world.running():
        world.apply(quick(V1))
        await world.promoted(within_s=60)
        for sim in (world.hub, *world.members.values()):
            sim.state.compact()
        world.apply(quick(V2))
        await world.promoted()
