"""Objects as people write them, valid by default: a test names only what it is about.

    a_deployment().serving("v2").with_steps(10, 50).with_gates(recall_of("8", floor=0.9))
    a_cluster("aws")

Builders are immutable; `.manifest()` gives the JSON that a user would apply.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pilotage.api.names import API_VERSION

SERVER_IMAGE = "registry.example.com/pilotage/server:1@sha256:" + "5" * 64


def bundle(tag: str) -> str:
    """The reference of a bundle, by a short name such as `v1`."""
    digest = "".join(f"{ord(letter):02x}" for letter in tag).ljust(64, "0")[:64]
    return f"registry.example.com/models/digits:{tag}@sha256:{digest}"


def tag_of(reference: str) -> str:
    """The short name in a bundle's reference."""
    return reference.split("@")[0].rsplit(":", 1)[1]


def a_gate(name: str, metric: str, **more: Any) -> dict[str, Any]:
    """One of `spec.gates`; `class_` spells `class`."""
    return {"name": name, "metric": metric, **{key.rstrip("_"): value for key, value in more.items()}}


@dataclass(frozen=True)
class DeploymentBuilder:
    """A ModelDeployment on its way to being written."""

    spec: Mapping[str, Any]
    name: str = "digits"
    namespace: str = "models"

    def _with(self, path: str, value: Any) -> DeploymentBuilder:
        spec = copy.deepcopy(dict(self.spec))
        *parents, last = path.split(".")
        place = spec
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
        return replace(self, spec=spec)

    def named(self, name: str) -> DeploymentBuilder:
        return replace(self, name=name)

    def serving(self, tag: str) -> DeploymentBuilder:
        return self._with("model.bundle", bundle(tag))

    def with_steps(self, *steps: int | Mapping[str, Any]) -> DeploymentBuilder:
        return self._with(
            "rollout.steps", [{"weight": step} if isinstance(step, int) else dict(step) for step in steps]
        )

    def with_waves(self, **waves: list[str] | None) -> DeploymentBuilder:
        return self._with(
            "rollout.waves",
            [{"name": name, **({"clusters": clusters} if clusters else {})} for name, clusters in waves.items()],
        )

    def with_gates(self, *gates: Mapping[str, Any]) -> DeploymentBuilder:
        return self._with("gates", [dict(gate) for gate in gates])

    def with_rollout(self, **fields: Any) -> DeploymentBuilder:
        built = self
        for key, value in fields.items():
            built = built._with(f"rollout.{key}", value)
        return built

    def with_analysis(self, **fields: Any) -> DeploymentBuilder:
        built = self
        for key, value in fields.items():
            built = built._with(f"analysis.{key}", value)
        return built

    def with_feedback(self, **fields: Any) -> DeploymentBuilder:
        built = self
        for key, value in fields.items():
            built = built._with(f"feedback.{key}", value)
        return built

    def with_label_delay(self, delay: str) -> DeploymentBuilder:
        return self._with("feedback.labelDelay", delay)

    def with_replicas(self, replicas: int) -> DeploymentBuilder:
        return self._with("placement.replicasPerCluster", replicas)

    def placed_on(self, **labels: str) -> DeploymentBuilder:
        return self._with("placement.clusterSelector", {"matchLabels": labels} if labels else {})

    def by_gateway(self, *hostnames: str) -> DeploymentBuilder:
        return self._with("traffic", {"mode": "Gateway", **({"hostnames": list(hostnames)} if hostnames else {})})

    def by_replicas(self) -> DeploymentBuilder:
        return self._with("traffic", {"mode": "Replicas"})

    def paused(self, paused: bool = True) -> DeploymentBuilder:
        return self._with("paused", paused)

    def manifest(self) -> dict[str, Any]:
        return {
            "apiVersion": API_VERSION,
            "kind": "ModelDeployment",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": copy.deepcopy(dict(self.spec)),
        }


def a_deployment() -> DeploymentBuilder:
    """v1 with three pods in every cluster, by Gateway, steps 10 and 50, one gate on recall."""
    return DeploymentBuilder(
        spec={
            "model": {"bundle": bundle("v1")},
            "server": {"image": SERVER_IMAGE},
            "placement": {"clusterSelector": {}, "replicasPerCluster": 3},
            "rollout": {"steps": [{"weight": 10}, {"weight": 50}]},
            "feedback": {"labelDelay": "60s"},
            "gates": [a_gate("recall-of-yes", "recall", class_="yes", floor=0.8, margin=0.05)],
            "analysis": {"interval": "30s"},
            "traffic": {"mode": "Gateway"},
        }
    )


def a_cluster(
    name: str, labels: Mapping[str, str] | None = None, *, gateway: bool = True, prometheus: bool = True
) -> dict[str, Any]:
    """A MemberCluster."""
    spec: dict[str, Any] = {"access": {"kubeconfigSecretRef": {"name": f"{name}-kubeconfig", "key": "kubeconfig"}}}
    if prometheus:
        spec["prometheus"] = {"url": f"https://prometheus.{name}.example.com"}
    if gateway:
        spec["gateway"] = {"name": "ingress", "namespace": "gateway-system"}
    return {
        "apiVersion": API_VERSION,
        "kind": "MemberCluster",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": spec,
    }
