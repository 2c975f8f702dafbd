"""Bad input and what it gets: a condition with its reason, an event, a message that names the remedy, and no hot retry.

The stable revision goes on serving in every case; what is wrong is looked at again at a bounded pace.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pilotage.hub.kinds import MEMBER_CLUSTERS, MODEL_DEPLOYMENTS
from pilotage.kube import Forbidden, Invalid, Key, Listing, Object
from pilotage.kube.resources import DEPLOYMENTS, EVENTS, SECRETS, SERVICES
from support.apisim import SimClient
from support.apisim.cluster import ClusterState
from support.simworld import OPERATOR_NAMESPACE, V1, V2, SimWorld, a_deployment, a_kubeconfig
from support.virtual_time import virtually

CALLS_PER_MINUTE = 12
"""Beyond watches, leases, probes and questions to Prometheus: more would be a hot retry."""


def member(world: SimWorld, name: str) -> Object:
    found = world.hub.state.find(MEMBER_CLUSTERS, Key("", name))
    assert found is not None
    return found


def ready(world: SimWorld, name: str) -> Mapping[str, Any]:
    conditions = (member(world, name).get("status") or {}).get("conditions") or [{}]
    return next(iter(conditions))


def events(world: SimWorld, reason: str) -> list[str]:
    return [each["note"] for each in world.hub.state.objects(EVENTS) if each["reason"] == reason]


async def calm(world: SimWorld) -> None:
    """No hot retry: in five minutes not more than a handful of calls beyond what always goes on."""
    before = len(world.log.calls)
    await asyncio.sleep(300)
    usual = {"leases", "/readyz"}
    calls = [c for c in world.log.calls[before:] if c.resource not in usual and c.verb != "watch"]
    assert len(calls) <= 5 * CALLS_PER_MINUTE, [f"{c.cluster} {c.verb} {c.resource} {c.key}" for c in calls]


def set_secret(world: SimWorld, name: str, data: Mapping[str, bytes] | None) -> None:
    state = world.hub.state
    found = state.find(SECRETS, Key(OPERATOR_NAMESPACE, name))
    assert found is not None
    if data is None:
        state.delete(SECRETS, Key(OPERATOR_NAMESPACE, name))
        return
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {**found["metadata"], "resourceVersion": ""}
    state.update(SECRETS, {**found, "metadata": metadata, "data": encoded}, manager="test")


# ------------------------------------------------------------------------------------------------------------- members


@dataclass(frozen=True, slots=True, kw_only=True)
class BadMember:
    """Something wrong with member gcp, what its Ready condition says, and how it is mended."""

    title: str
    spoil: Callable[[SimWorld], None]
    reason: str
    says: str
    mend: Callable[[SimWorld], None] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.title.replace(" ", "-")


def _kubeconfig_with(**user: str) -> dict[str, bytes]:
    import yaml

    document = yaml.safe_load(a_kubeconfig("gcp"))
    document["users"][0]["user"] = user
    return {"kubeconfig": yaml.safe_dump(document).encode()}


def _good(world: SimWorld) -> None:
    set_secret(world, "gcp", {"kubeconfig": a_kubeconfig("gcp").encode()})


BAD_MEMBERS = (
    BadMember(
        title="missing Secret",
        spoil=lambda world: set_secret(world, "gcp", None),
        reason="SecretNotFound",
        says="Secret gcp is not in namespace pilotage; create it there",
    ),
    BadMember(
        title="missing key",
        spoil=lambda world: set_secret(world, "gcp", {"config": b"x"}),
        reason="KeyNotFound",
        says="has no key value or kubeconfig (it has: config)",
        mend=_good,
    ),
    BadMember(
        title="kubeconfig that runs a program",
        spoil=lambda world: set_secret(world, "gcp", _kubeconfig_with(exec="/bin/sh")),
        reason="KubeconfigRefused",
        says="user.exec",
        mend=_good,
    ),
    BadMember(
        title="kubeconfig that reads a file",
        spoil=lambda world: set_secret(world, "gcp", _kubeconfig_with(tokenFile="/etc/passwd")),
        reason="KubeconfigRefused",
        says="user.tokenFile",
        mend=_good,
    ),
    BadMember(
        title="Secret that is no kubeconfig",
        spoil=lambda world: set_secret(world, "gcp", {"kubeconfig": b"{{ not yaml"}),
        reason="KubeconfigRefused",
        says="not YAML; store the output of `kubectl config view",
        mend=_good,
    ),
    BadMember(
        title="kubeconfig of another member",
        spoil=lambda world: set_secret(world, "gcp", {"kubeconfig": a_kubeconfig("aws").encode()}),
        reason="DuplicateCluster",
        says="leads to the same cluster as MemberCluster aws",
        mend=_good,
    ),
    BadMember(
        title="clock ahead",
        spoil=lambda world: world.skews.update(gcp=95.0),
        reason="ClockSkew",
        says="its clock is 95 s ahead of the hub's; set both by NTP",
        mend=lambda world: world.skews.update(gcp=0.0),
    ),
)


@virtually
@pytest.mark.parametrize("case", BAD_MEMBERS, ids=str)
async def test_a_member_that_cannot_be_used_says_why_and_what_to_do(case: BadMember) -> None:
    world = SimWorld(["aws", "gcp"])
    case.spoil(world)
    async with world.running():
        world.apply(a_deployment())
        await world.sees(lambda: ready(world, "gcp").get("reason") == case.reason, within_s=60, what=case.reason)
        assert ready(world, "gcp")["status"] == "False"
        assert case.says in ready(world, "gcp")["message"]
        await world.sees(lambda: world.holds("MembersReachable", "False"), within_s=60)
        assert any(case.says in note for note in events(world, case.reason))
        await world.sees(lambda: bool(world.members["aws"].state.objects(DEPLOYMENTS)), within_s=60, what="aws serves")
        await calm(world)
        if case.mend is not None:
            case.mend(world)
            await world.sees(lambda: ready(world, "gcp").get("status") == "True", within_s=60, what="mended")
            await world.promoted(within_s=300)


@virtually
async def test_a_missing_right_names_verb_kind_namespace_and_the_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    permitted = SimClient.list

    async def refused(client: SimClient, resource: Any, **options: Any) -> Listing:
        if resource is DEPLOYMENTS and client._sim.name == "gcp":
            raise Forbidden("deployments.apps is forbidden", code=403)
        return await permitted(client, resource, **options)

    world = SimWorld(["aws", "gcp"])
    async with world.running():
        with monkeypatch.context() as patch:
            patch.setattr(SimClient, "list", refused)
            world.hub.state.create(MODEL_DEPLOYMENTS, a_deployment(), manager="kubectl")
            await world.sees(lambda: ready(world, "gcp").get("reason") == "Forbidden", within_s=60)
            message = ready(world, "gcp")["message"]
            assert "may not list or watch deployments.apps in namespace models" in message
            assert "install chart pilotage-member" in message
            assert world.holds("MembersReachable", "False", "Forbidden")
            await calm(world)
        await world.sees(lambda: ready(world, "gcp").get("status") == "True", within_s=60)
        await world.promoted(within_s=300)


@virtually
async def test_a_credential_that_leads_elsewhere_is_noticed() -> None:
    world = SimWorld(["aws"])
    elsewhere = SimWorld(["other"])
    async with world.running():
        world.apply(a_deployment())
        await world.promoted(within_s=120)
        pinned = member(world, "aws")["status"]["clusterUid"]
        world.sims |= elsewhere.sims
        set_secret(world, "aws", {"kubeconfig": a_kubeconfig("other").encode()})
        await world.sees(lambda: ready(world, "aws").get("reason") == "IdentityChanged", within_s=60)
        assert pinned in ready(world, "aws")["message"]
        assert member(world, "aws")["status"]["clusterUid"] == pinned
        await calm(world)
        assert not elsewhere.members["other"].state.objects(DEPLOYMENTS)


@virtually
async def test_of_two_names_for_one_cluster_the_older_keeps_it_over_a_restart() -> None:
    world = SimWorld(["aws"])
    async with world.running():
        world.apply(a_deployment())
        await world.promoted(within_s=120)
        world.join("twin", leads_to="aws")
        await world.sees(lambda: ready(world, "twin").get("reason") == "DuplicateCluster", within_s=60)
        world.replicas[-1].kill()
        world.start()
        await asyncio.sleep(60)
        assert ready(world, "aws")["status"] == "True"
        assert ready(world, "twin")["reason"] == "DuplicateCluster"
        assert "clusterUid" not in member(world, "twin")["status"]


# --------------------------------------------------------------------------------------------------------- deployments


@dataclass(frozen=True, slots=True, kw_only=True)
class BadSpec:
    """A spec that the schema lets pass and only the operator can see through."""

    title: str
    changes: Mapping[str, Any]
    condition: str
    reason: str
    says: str

    def __str__(self) -> str:
        return self.title.replace(" ", "-")


GATE: dict[str, Any] = {"name": "g", "metric": "recall", "class": "yes", "margin": 0.1}
BAD_SPECS = (
    BadSpec(
        title="no cluster matches",
        changes={"placement": {"clusterSelector": {"matchLabels": {"tier": "none"}}, "replicasPerCluster": 1}},
        condition="Progressing",
        reason="NoClusterMatches",
        says="placement.clusterSelector",
    ),
    BadSpec(
        title="unknown class",
        changes={"gates": [{**GATE, "class": "maybe"}]},
        condition="SpecValid",
        reason="UnknownClass",
        says="maybe",
    ),
)


@virtually
@pytest.mark.parametrize("case", BAD_SPECS, ids=str)
async def test_a_spec_that_cannot_work_says_why_and_stable_serves_on(case: BadSpec) -> None:
    world = SimWorld(["aws"])
    async with world.running():
        world.apply(a_deployment(bundle=V1))
        await world.promoted(within_s=120)
        await asyncio.sleep(120)
        world.apply(a_deployment(bundle=V2, **case.changes))
        await world.sees(lambda: world.holds(case.condition, "False", case.reason), within_s=180, what=case.reason)
        found = world.condition(case.condition)
        assert found is not None
        assert case.says in found["message"]
        assert any(case.says in note for note in events(world, case.reason))
        assert world.holds("Available")
        await calm(world)


@virtually
async def test_a_foreign_object_in_the_way_is_not_written() -> None:
    world = SimWorld(["aws"])
    spec = {"ports": [{"port": 80}], "selector": {"app": "mine"}}
    foreign = {"apiVersion": "v1", "kind": "Service", "spec": spec}
    name = Key("models", "digits-stable")
    state = world.members["aws"].state
    state.create(SERVICES, {**foreign, "metadata": {"name": name.name, "namespace": name.namespace}}, manager="me")
    async with world.running():
        world.apply(a_deployment())
        await world.sees(lambda: bool(events(world, "NameTaken")), within_s=120, what="NameTaken")
        assert "digits-stable" in events(world, "NameTaken")[0]
        await calm(world)
        found = state.find(SERVICES, name)
        assert found is not None
        assert found["spec"]["selector"] == {"app": "mine"}
        assert "labels" not in found["metadata"]
        state.delete(SERVICES, name)
        await world.promoted(within_s=300)


@virtually
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("bundle refused: signature does not match any key in pilotage-bundle-keys", "BundleRefused"),
        ("bundle refused: digest of model.onnx differs", "BundleRefused"),
    ],
)
async def test_a_bundle_that_the_server_refuses_is_told_in_its_words(message: str, reason: str) -> None:
    world = SimWorld(["aws"])
    async with world.running():
        world.apply(a_deployment(bundle=V1))
        await world.promoted(within_s=120)

        def ailment(pod: Mapping[str, Any]) -> str | None:
            volumes = pod["spec"].get("volumes") or ()
            return message if any((each.get("image") or {}).get("reference") == V2 for each in volumes) else None

        world.workloads["aws"].ailment = ailment
        world.apply(a_deployment(bundle=V2))
        await world.sees(lambda: bool(events(world, reason)), within_s=180, what=reason)
        assert message.partition(": ")[2] in " ".join(events(world, reason))
        assert world.holds("Available")
        await calm(world)


@virtually
async def test_a_wrong_prometheus_address_holds_the_rollout_and_says_so() -> None:
    world = SimWorld(["aws"])
    async with world.running():
        world.apply(a_deployment(bundle=V1))
        await world.promoted(within_s=120)
        world.traffic["aws"].is_up = False
        world.apply(a_deployment(bundle=V2))
        await world.sees(lambda: world.holds("MetricsAvailable", "False", "PrometheusUnreachable"), within_s=180)
        await calm(world)
        assert world.holds("Available")
        world.traffic["aws"].is_up = True
        await world.promoted()


@virtually
async def test_a_refusal_by_a_members_api_server_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    permitted = ClusterState.apply

    def refused(state: ClusterState, resource: Any, *rest: Any, **options: Any) -> Object:
        if resource is DEPLOYMENTS:
            raise Invalid("exceeded quota: compute, requested: cpu=1, used: cpu=9, limited: cpu=9", code=403)
        return permitted(state, resource, *rest, **options)

    world = SimWorld(["aws"])
    async with world.running():
        with monkeypatch.context() as patch:
            patch.setattr(ClusterState, "apply", refused)
            world.hub.state.create(MODEL_DEPLOYMENTS, a_deployment(), manager="kubectl")
            await world.sees(lambda: bool(events(world, "ApplyRefused")), within_s=120, what="ApplyRefused")
            assert "exceeded quota" in " ".join(events(world, "ApplyRefused"))
            await calm(world)
        await world.promoted(within_s=300)
