"""What a new cloud holds before anybody uses it: rights of its own programs, the Gateway API, one Gateway.

Applied server-side with the admin identity, so applying twice changes nothing. The objects are data; only
`apply` talks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

from localclouds import gatewayapi
from localclouds.kube import Api, Json, Unreachable
from localclouds.names import Component
from localclouds.state import Facts

GATEWAY_CLASS: Final = "localclouds"
GATEWAY_CONTROLLER: Final = "pilotage.dev/localclouds-gateway"
GATEWAY_NAMESPACE: Final = "ingress"
GATEWAY_NAME: Final = "public"
"""Every cloud's ingress: the Gateway that MemberCluster.spec.gateway and HTTPRoute.parentRefs name."""

_MANAGER: Final = "localclouds"
_AGAIN_AFTER_S: Final = 0.2
_ASK_EVERY_S: Final = 0.05
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


def rights(facts: Facts) -> list[Json]:
    """ClusterRoles and bindings of the programs that are no part of Kubernetes, for the components present."""
    objects: list[Json] = []
    for component, rules in ((Component.PROMETHEUS, _PROMETHEUS_RULES), (Component.GATEWAY, _GATEWAY_RULES)):
        if component in facts.components:
            objects += _role(f"localclouds:{component}", rules, facts.identities[component].user)
    return objects


def gateway(facts: Facts) -> list[Json]:
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


async def prepare_gateway(api: Api, facts: Facts, crds: list[Json]) -> None:
    """Install the Gateway API, wait until it is served, make the Gateway."""
    await apply(api, crds)
    for kind in gatewayapi.SERVED:
        await _established(api, f"{_PATHS['CustomResourceDefinition']}/{kind}.gateway.networking.k8s.io")
    for each in gateway(facts):
        await apply(api, [each])


async def apply(api: Api, objects: Iterable[Json]) -> None:
    """Server-side apply objects of the kinds known here, one after the other.

    A request that gets no answer in time is repeated until the caller's deadline: on a machine where several
    instances start at once, a new API server may take longer over a large CRD than anybody expects.
    """
    for each in objects:
        await _insist(partial(api.apply, _path(each), each, _MANAGER))


async def _insist(request: Callable[[], Awaitable[Json]]) -> Json:
    while True:
        try:
            return await request()
        except Unreachable:
            await asyncio.sleep(_AGAIN_AFTER_S)


def _path(obj: Json) -> str:
    return f"{_PATHS[obj['kind']]}/{obj['metadata']['name']}"


async def _established(api: Api, path: str) -> None:
    while True:
        crd = await _insist(lambda: api.get(path))
        conditions = crd.get("status", {}).get("conditions") or []
        if any(each["type"] == "Established" and each["status"] == "True" for each in conditions):
            return
        await asyncio.sleep(_ASK_EVERY_S)


def _role(name: str, rules: list[Json], user: str) -> list[Json]:
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
