"""What a new cloud holds before anybody uses it: rights of its own programs, the Gateway API, one Gateway.

Applied server-side with the admin identity, so applying twice changes nothing. The objects are data; only
`apply` talks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from localclouds.kube import Api
from localclouds.names import Component
from localclouds.state import Facts

GATEWAY_CLASS: Final = "localclouds"
GATEWAY_CONTROLLER: Final = "pilotage.dev/localclouds-gateway"
GATEWAY_NAMESPACE: Final = "ingress"
GATEWAY_NAME: Final = "public"
"""Every cloud's ingress: the Gateway that MemberCluster.spec.gateway and HTTPRoute.parentRefs name."""

_MANAGER: Final = "localclouds"
_PATHS: Final = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "Namespace": "/api/v1/namespaces",
    "GatewayClass": "/apis/gateway.networking.k8s.io/v1/gatewayclasses",
    "Gateway": f"/apis/gateway.networking.k8s.io/v1/namespaces/{GATEWAY_NAMESPACE}/gateways",
}

_READ: Final = ["get", "list", "watch"]
_GATEWAY_RULES: Final = [
    {"apiGroups": [""], "resources": ["pods", "services", "namespaces"], "verbs": _READ},
    {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["*"], "verbs": _READ},
    {
        "apiGroups": ["gateway.networking.k8s.io"],
        "resources": ["gatewayclasses/status", "gateways/status", "httproutes/status"],
        "verbs": ["get", "patch", "update"],
    },
    {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
]
_PROMETHEUS_RULES: Final = [{"apiGroups": [""], "resources": ["pods"], "verbs": _READ}]


def rights(facts: Facts) -> list[dict[str, Any]]:
    """ClusterRoles and bindings of the programs that are no part of Kubernetes, for the components present."""
    objects: list[dict[str, Any]] = []
    for component, rules in ((Component.PROMETHEUS, _PROMETHEUS_RULES), (Component.GATEWAY, _GATEWAY_RULES)):
        if component in facts.components:
            objects += _role(f"localclouds:{component}", rules, facts.identities[component].user)
    return objects


def gateway(facts: Facts) -> list[dict[str, Any]]:
    """The class and the one Gateway that this cloud's gateway program stands for."""
    listener = {
        "name": "http",
        "protocol": "HTTP",
        "port": facts.gateway_address.port,
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    version = "gateway.networking.k8s.io/v1"
    return [
        {
            "apiVersion": version,
            "kind": "GatewayClass",
            "metadata": {"name": GATEWAY_CLASS},
            "spec": {"controllerName": GATEWAY_CONTROLLER},
        },
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GATEWAY_NAMESPACE}},
        {
            "apiVersion": version,
            "kind": "Gateway",
            "metadata": {"name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE},
            "spec": {"gatewayClassName": GATEWAY_CLASS, "listeners": [listener]},
        },
    ]


async def prepare_gateway(api: Api, facts: Facts, crds: list[dict[str, Any]]) -> None:
    """Install the Gateway API, wait until it is served, make the Gateway."""
    await apply(api, crds)
    for kind in ("gatewayclasses", "gateways", "httproutes", "referencegrants"):
        await _established(api, f"{_PATHS['CustomResourceDefinition']}/{kind}.gateway.networking.k8s.io")
    for each in gateway(facts):
        await apply(api, [each])


async def apply(api: Api, objects: Iterable[dict[str, Any]]) -> None:
    """Server-side apply objects of the kinds known here, all at once."""
    await asyncio.gather(
        *(api.apply(f"{_PATHS[each['kind']]}/{each['metadata']['name']}", each, _MANAGER) for each in objects)
    )


async def _established(api: Api, path: str) -> None:
    while True:
        conditions = (await api.get(path)).get("status", {}).get("conditions", [])
        if any(each["type"] == "Established" and each["status"] == "True" for each in conditions):
            return
        await asyncio.sleep(0.05)


def _role(name: str, rules: list[dict[str, Any]], user: str) -> list[dict[str, Any]]:
    version = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        },
    ]
