"""A hub and two members with controllers, and pods that get ready: enough for whole rollouts without gates.

What the fixtures `fleet` and `models` of tests/operator are made of.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from localclouds import Cloud, Clouds
from support.clouds import apply, get
from support.operators import NAMESPACE
from support.polling import eventually
from support.simworld import SERVER, V1

MEMBERS = ("aws", "gcp")


@dataclass(frozen=True, slots=True)
class Fleet:
    """Real control planes: a hub with our CRDs, members that are joined to it."""

    clouds: Clouds

    @property
    def hub(self) -> Cloud:
        return self.clouds["hub"]

    def member(self, name: str) -> Cloud:
        return self.clouds[name]

    def condition(self, namespace: str, kind: str) -> dict[str, Any]:
        found = get(self.hub, "mdep", "digits", "-n", namespace)
        conditions = (found.get("status") or {}).get("conditions") or ()
        return next((each for each in conditions if each["type"] == kind), {})

    def holds(self, namespace: str, kind: str, status: str = "True", reason: str = "") -> bool:
        found = self.condition(namespace, kind)
        generation = get(self.hub, "mdep", "digits", "-n", namespace)["metadata"]["generation"]
        return (
            found.get("status") == status
            and found.get("observedGeneration") == generation
            and reason in ("", found["reason"])
        )

    def promoted(self, namespace: str, within_s: float = 60.0) -> None:
        eventually(lambda: self.holds(namespace, "Promoted"), within_s=within_s, every_s=0.3)

    def bundles(self, name: str, namespace: str) -> set[str]:
        """The models that a member has Deployments of."""
        found = get(self.member(name), "deployments", "-n", namespace)["items"]
        volumes = [volume for each in found for volume in each["spec"]["template"]["spec"]["volumes"]]
        return {volume["image"]["reference"] for volume in volumes if volume["name"] == "bundle"}

    def ready(self, name: str) -> dict[str, Any]:
        found = get(self.hub, "mcl", name)
        return next(iter((found.get("status") or {}).get("conditions") or [{}]), {})

    def join(self, name: str, *, cloud: str = "", kubeconfig: bytes | None = None, **spec: Any) -> None:
        """Secret and MemberCluster of this name for a cloud (by default the one of this name)."""
        content = kubeconfig if kubeconfig is not None else self.member(cloud or name).kubeconfig.read_bytes()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}}
        apply(self.hub, secret | {"data": {"value": base64.b64encode(content).decode()}})
        prometheus = {"url": "http://127.0.0.1:9"}
        access = {"kubeconfigSecretRef": {"name": name}}
        apply(
            self.hub,
            {
                "apiVersion": "pilotage.dev/v1alpha1",
                "kind": "MemberCluster",
                "metadata": {"name": name, "labels": {"tier": "serving"}},
                "spec": {"access": access, "prometheus": prometheus, **spec},
            },
        )


def a_rollout(namespace: str, bundle: str = V1, **changes: Any) -> dict[str, Any]:
    """A ModelDeployment without gates: steps end on readiness alone, so no labels are needed."""
    spec: dict[str, Any] = {
        "model": {"bundle": bundle},
        "server": {"image": SERVER},
        "placement": {"clusterSelector": {"matchLabels": {"tier": "serving"}}, "replicasPerCluster": 2},
        "rollout": {"steps": [{"weight": 50}], "waves": [{"name": "first", "clusters": ["aws"]}, {"name": "rest"}]},
        "traffic": {"mode": "Replicas"},
    }
    metadata = {"name": "digits", "namespace": namespace}
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": metadata,
        "spec": spec | changes,
    }
