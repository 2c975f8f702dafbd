"""A hub and members in memory with the whole operator (but kopf) on them, in virtual time.

    world = SimWorld(["aws", "gcp"])
    async with world.running():
        world.apply(a_deployment(bundle=GOOD))
        await world.promoted()

The hub store is fed by informers; everything else is the production code. `kill` ends a replica as SIGKILL does: no
call of its clients returns or takes effect any more, and no memory survives.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pilotage.api.decode import model_deployment, model_revision
from pilotage.api.types import ModelDeployment, ModelRevision
from pilotage.app import Operator, Stop, World
from pilotage.engine.prometheus import Prometheus
from pilotage.engine.proxied import ApiOf
from pilotage.evidence import Fetch
from pilotage.hub.feed import follow_hub
from pilotage.hub.kinds import MEMBER_CLUSTERS, MODEL_DEPLOYMENTS, MODEL_REVISIONS
from pilotage.hub.secrets import Secrets
from pilotage.hub.store import HubStore
from pilotage.kube import Api, Key, Object
from pilotage.kube.endpoint import Endpoint
from pilotage.kube.resources import SECRETS
from pilotage.metrics import Metrics
from pilotage.settings import Settings
from support.apisim import ApiSim, CallLog, Kind, SimClient
from support.apisim.crd import kind_of_crd
from support.apisim.workloads import Workloads
from support.simtraffic import Rates, Traffic
from support.virtual_time import VirtualClock, until

CRDS = Path(__file__).resolve().parents[2] / "crds"
OPERATOR_NAMESPACE = "pilotage"
KEY = Key("models", "digits")

_DIGEST = "@sha256:" + "0123456789abcdef" * 4
V1, V2, V3 = (f"registry.example.com/models/digits:{n}{_DIGEST[:-1]}{n}" for n in (1, 2, 3))
SERVER = f"registry.example.com/pilotage/server:1{_DIGEST}"


def confusion(recall: float, *, share: float = 0.5) -> Rates:
    """Two classes; `yes` is found with this recall, `no` with 0.95."""
    return {
        "yes": {"yes": share * recall, "no": share * (1 - recall)},
        "no": {"no": (1 - share) * 0.95, "yes": (1 - share) * 0.05},
    }


QUALITY: Mapping[str, Rates] = {V1: confusion(0.90), V2: confusion(0.93), V3: confusion(0.60)}


def a_deployment(*, bundle: str = V1, **changes: Any) -> dict[str, Any]:
    """A valid ModelDeployment with one gate; keyword arguments replace parts of its spec."""
    spec: dict[str, Any] = {
        "model": {"bundle": bundle},
        "server": {"image": SERVER},
        "placement": {"clusterSelector": {"matchLabels": {"tier": "serving"}}, "replicasPerCluster": 2},
        "rollout": {
            "steps": [{"weight": 20}, {"weight": 50}],
            "waves": [{"name": "first", "clusters": ["aws"]}, {"name": "rest"}],
            "progressDeadline": "5m",
            "maxDuration": "2h",
        },
        "feedback": {"labelDelay": "30s"},
        "gates": [{"name": "recall-of-yes", "metric": "recall", "class": "yes", "margin": 0.1}],
        "analysis": {"interval": "30s", "minSamples": 50},
        "traffic": {"mode": "Gateway", "hostnames": ["digits.example.com"]},
    }
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": KEY.name, "namespace": KEY.namespace},
        "spec": spec | changes,
    }


class Replica:
    """One operator process."""

    def __init__(self, world: SimWorld, number: int) -> None:
        self.clients: list[SimClient] = []
        self._world = world
        self.settings = replace(Settings(namespace=OPERATOR_NAMESPACE), identity=f"replica-{number}", **world.settings)
        self.metrics = Metrics()
        self.operator = Operator(self.settings, self._surroundings(), self.metrics)
        self.task = asyncio.create_task(self.operator.run(), name=f"replica {number}")

    def _surroundings(self) -> World:
        hub = self._client(self._world.hub)

        async def feed(store: HubStore, _: Stop) -> None:
            await follow_hub(hub, store, clock=self._world.clock, jitter=_even)

        def make_fetch(store: HubStore, secrets: Secrets, api_of: ApiOf) -> Fetch:
            transport = Prometheus(store.members, secrets, api_of)

            async def fetch(cluster: str, promql: str, at: float | None) -> bytes:
                member = store.members().get(cluster)
                if member is not None and member.prometheus is not None and member.prometheus.service is not None:
                    return await transport.fetch(cluster, promql, at)
                return await self._world.fetch(cluster, promql, at)

            return fetch

        return World(
            hub=hub,
            connect=self._connect,
            feed=feed,
            make_fetch=make_fetch,
            clock=self._world.clock,
            jitter=_even,
            skew_s=lambda name: self._world.skews.get(name),
        )

    def _client(self, sim: ApiSim) -> SimClient:
        client = sim.client("pilotage")
        self.clients.append(client)
        return client

    @asynccontextmanager
    async def _connect(self, _: str, endpoint: Endpoint) -> AsyncIterator[Api]:
        yield self._client(self._world.sims[endpoint.server])

    def kill(self) -> None:
        """SIGKILL: nothing of it takes effect from here on."""
        for client in self.clients:
            client.kill()
        self.task.cancel()


def _even() -> float:
    return 0.5


class SimWorld:
    """See the module. `sims` maps the address in a kubeconfig to the cluster it leads to."""

    def __init__(
        self, names: list[str], *, quality: Mapping[str, Rates] = QUALITY, rate: float = 20.0, **settings: Any
    ) -> None:
        self.settings = settings
        self.clock = VirtualClock()
        self.log = CallLog()
        self.hub = ApiSim("hub", log=self.log, wall=self.clock.now)
        for kind in _our_kinds():
            self.hub.serve(kind)
        self.members = {name: ApiSim(name, log=self.log, wall=self.clock.now) for name in names}
        self.sims = {f"https://{name}.example.com:6443": sim for name, sim in self.members.items()}
        self.workloads = {name: Workloads(sim) for name, sim in self.members.items()}
        self.traffic = {name: Traffic(sim, self.clock, KEY, quality, rate=rate) for name, sim in self.members.items()}
        for name, sim in self.members.items():
            sim.proxied = self.traffic[name].answer_through_proxy
        self.skews: dict[str, float] = {}
        self.replicas: list[Replica] = []
        for name in names:
            self.join(name)

    def join(self, name: str, *, leads_to: str = "", **spec: Any) -> None:
        """Create Secret and MemberCluster; `leads_to`: another name whose cluster the kubeconfig is for."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": OPERATOR_NAMESPACE}}
        content = base64.b64encode(a_kubeconfig(leads_to or name).encode()).decode()
        self.hub.state.create(SECRETS, {**secret, "data": {"kubeconfig": content}}, manager="test")
        member = {
            "apiVersion": "pilotage.dev/v1alpha1",
            "kind": "MemberCluster",
            "metadata": {"name": name, "labels": {"tier": "serving"}},
            "spec": {
                "access": {"kubeconfigSecretRef": {"name": name}},
                "prometheus": {"url": f"http://prometheus.{leads_to or name}.example.com"},
                "gateway": {"name": "public", "namespace": "ingress"},
                **spec,
            },
        }
        self.hub.state.create(MEMBER_CLUSTERS, member, manager="test")

    @asynccontextmanager
    async def running(self, *, replicas: int = 1) -> AsyncIterator[None]:
        """Controllers, traffic and operator run inside the block."""
        async with asyncio.TaskGroup() as tasks:
            around = [tasks.create_task(each.run()) for each in self.workloads.values()]
            around += [tasks.create_task(each.run()) for each in self.traffic.values()]
            for _ in range(replicas):
                self.start()
            try:
                yield
            finally:
                for replica in self.replicas:
                    replica.kill()
                for task in around:
                    task.cancel()
                await asyncio.gather(*(replica.task for replica in self.replicas), return_exceptions=True)

    def start(self) -> Replica:
        """Start another operator process."""
        self.replicas.append(Replica(self, len(self.replicas) + 1))
        return self.replicas[-1]

    async def fetch(self, cluster: str, promql: str, at: float | None) -> bytes:
        return await self.traffic[cluster].answer(promql, at)

    # ------------------------------------------------------------------------------------------------ what a user does

    def apply(self, manifest: Mapping[str, Any]) -> None:
        """`kubectl apply` of a ModelDeployment."""
        self.hub.state.apply(MODEL_DEPLOYMENTS, manifest, manager="kubectl", force=True)

    def annotate(self, name: str, value: str) -> None:
        """`kubectl annotate` the ModelDeployment."""
        found = self.raw()
        metadata = {**found["metadata"], "resourceVersion": ""}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), name: value}
        self.hub.state.update(MODEL_DEPLOYMENTS, {**found, "metadata": metadata}, manager="kubectl")

    # ----------------------------------------------------------------------------------------------- what is to be seen

    def raw(self) -> Object:
        found = self.hub.state.find(MODEL_DEPLOYMENTS, KEY)
        assert found is not None, "there is no ModelDeployment"
        return found

    def deployment(self) -> ModelDeployment:
        return model_deployment(self.raw())

    def revisions(self) -> dict[str, ModelRevision]:
        found = [model_revision(each) for each in self.hub.state.objects(MODEL_REVISIONS)]
        return {each.metadata.name: each for each in found if each is not None}

    def condition(self, kind: str) -> Mapping[str, Any] | None:
        """A condition as it stands in the status."""
        conditions = (self.raw().get("status") or {}).get("conditions") or ()
        return next((each for each in conditions if each["type"] == kind), None)

    def holds(self, kind: str, status: str = "True", reason: str = "") -> bool:
        """Whether a condition has this status (and reason) for the current generation."""
        found = self.condition(kind)
        return (
            found is not None
            and found["status"] == status
            and found["observedGeneration"] == self.raw()["metadata"]["generation"]
            and reason in ("", found["reason"])
        )

    def outcome(self) -> str:
        """How the last rollout ended, empty while it is under way."""
        rollout = (self.raw().get("status") or {}).get("rollout") or {}
        return str(rollout.get("outcome") or "")

    async def sees(self, claim: Callable[[], bool], *, within_s: float = 3600.0, what: str = "") -> None:
        """Wait in virtual time; the failure tells the status as it is."""
        try:
            await until(claim, within_s=within_s, what=what, step_s=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{yaml.safe_dump(self.raw().get('status'))}") from None

    async def promoted(self, *, within_s: float = 3600.0) -> None:
        await self.sees(lambda: self.holds("Promoted"), within_s=within_s, what="Promoted")


@cache
def _our_kinds() -> tuple[Kind, ...]:
    return tuple(kind_of_crd(yaml.safe_load(path.read_text())) for path in sorted(CRDS.glob("*.yaml")))


@cache
def a_kubeconfig(name: str) -> str:
    """A kubeconfig that `kube.endpoint` accepts."""
    authority = base64.b64encode(_authority()).decode()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "clusters": [
                {
                    "name": name,
                    "cluster": {
                        "server": f"https://{name}.example.com:6443",
                        "certificate-authority-data": authority,
                    },
                }
            ],
            "users": [{"name": name, "user": {"token": "a-token"}}],
        }
    )


@cache
def _authority() -> bytes:
    """A certificate; nobody checks anything with it."""
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "simulation")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)
