"""The objects the demo applies: what a user would write by hand, with the plan's numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from demo import plan

NAMESPACE = "models"
OPERATOR_NAMESPACE = "pilotage"
NAME = "digits"
REPLICAS = 2


def model_deployment(bundle: str, image: str, hostname: str) -> dict[str, Any]:
    """The ModelDeployment `digits` serving `bundle`; every version of the demo differs in nothing else."""
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "model": {"bundle": bundle},
            "server": {"image": image, "resources": {"requests": {"cpu": "100m", "memory": "96Mi"}}},
            "placement": {
                "clusterSelector": {"matchLabels": {"pilotage.dev/tier": "serving"}},
                "replicasPerCluster": REPLICAS,
            },
            "rollout": {
                "steps": [{"weight": weight} for weight in plan.WEIGHTS],
                "waves": [{"name": name, "clusters": list(clusters)} for name, clusters in plan.WAVES.items()],
                "progressDeadline": "2m",
            },
            "feedback": {"labelDelay": f"{plan.LABEL_DELAY_S:g}s"},
            "gates": [dict(gate) for gate in plan.GATES],
            "analysis": dict(plan.ANALYSIS),
            "traffic": {"mode": "Gateway", "hostnames": [hostname]},
        },
    }


def member_cluster(name: str, prometheus: str, gateway: Mapping[str, str]) -> dict[str, Any]:
    """The MemberCluster of one cloud; its kubeconfig lies in Secret `<name>-kubeconfig`."""
    return {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "MemberCluster",
        "metadata": {"name": name, "labels": {"pilotage.dev/tier": "serving"}},
        "spec": {
            "access": {"kubeconfigSecretRef": {"name": f"{name}-kubeconfig", "key": "kubeconfig"}},
            "prometheus": {"url": prometheus},
            "gateway": dict(gateway),
        },
    }


def kubeconfig_secret(name: str, kubeconfig: str) -> dict[str, Any]:
    """The Secret that a MemberCluster names, in the operator's namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{name}-kubeconfig", "namespace": OPERATOR_NAMESPACE},
        "stringData": {"kubeconfig": kubeconfig},
    }


def kubeconfig(server: str, ca_data: str, token: str) -> dict[str, Any]:
    """A kubeconfig of one context with a token, as chart pilotage-member's notes tell to make it."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "member",
        "contexts": [{"name": "member", "context": {"cluster": "member", "user": "hub"}}],
        "clusters": [{"name": "member", "cluster": {"server": server, "certificate-authority-data": ca_data}}],
        "users": [{"name": "hub", "user": {"token": token}}],
    }
