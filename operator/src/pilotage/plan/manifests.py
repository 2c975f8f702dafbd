"""The objects a member gets, as JSON: Deployments of the arms, Services, HTTPRoute, collector.

Every byte is a promise: a changed template restarts pods in every cluster, so golden texts hold all of it. Pure
construction from a revision and names; which arms, how many pods and which weights is decided in `plan.traffic`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pilotage.api import names
from pilotage.api.types import GatewayRef, ModelRevision, Server
from pilotage.plan.observed import Manifest
from pilotage.plan.views import BOTH

BUNDLE_PATH = "/pilotage/bundle"
FEEDBACK_KEY_PATH = "/pilotage/feedback-key"
BUNDLE_KEYS_PATH = "/pilotage/bundle-keys"
CONFIG_PATH = "/pilotage/config"
DATA_PATH = "/pilotage/data"
COMPONENT_LABEL = "app.kubernetes.io/component"
_GRACE_S = 45


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose objects these are, and where they go."""

    deployment: str
    namespace: str
    origin: str
    cluster: str

    def labels(self, **more: str) -> dict[str, str]:
        """The labels every object of ours carries."""
        return {
            names.MANAGED_BY_LABEL: names.MANAGED_BY,
            names.MODEL_LABEL: self.deployment,
            names.ORIGIN_LABEL: self.origin,
            **more,
        }

    def metadata(self, name: str, **labels: str) -> dict[str, Any]:
        """Metadata of an object of ours."""
        return {"name": name, "namespace": self.namespace, "labels": self.labels(**labels)}


def server_deployment(owner: Owner, revision: ModelRevision, replicas: int) -> Manifest:
    """The pods of one revision in one cluster."""
    name = revision.metadata.name
    marks = {names.REVISION_LABEL: name}
    selector = {names.MODEL_LABEL: owner.deployment, **marks}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": owner.metadata(name, **marks),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {
                    "labels": owner.labels(**marks, **{names.ARM_LABEL: "server"}),
                    "annotations": _scraped(names.ADMIN_PORT),
                },
                "spec": _server_pod(owner, revision),
            },
        },
    }


def service(owner: Owner, name: str, selects: str) -> Manifest:
    """A Service for traffic: the pods of one revision, or of `BOTH` arms."""
    what = {names.ARM_LABEL: "server"} if selects == BOTH else {names.REVISION_LABEL: selects}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner.metadata(name),
        "spec": {
            "selector": {names.MODEL_LABEL: owner.deployment, **what},
            "ports": [{"name": "http", "port": names.SERVER_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def route(owner: Owner, gateway: GatewayRef, hostnames: tuple[str, ...], weights: tuple[int, int]) -> Manifest:
    """The HTTPRoute that divides requests between the arms."""
    backends = (names.stable_service(owner.deployment), names.canary_service(owner.deployment))
    spec: dict[str, Any] = {
        "parentRefs": [{"name": gateway.name, "namespace": gateway.namespace}],
        "rules": [
            {
                "backendRefs": [
                    {"name": name, "port": names.SERVER_PORT, "weight": weight}
                    for name, weight in zip(backends, weights, strict=True)
                ]
            }
        ],
    }
    if hostnames:
        spec["hostnames"] = list(hostnames)
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": owner.metadata(owner.deployment),
        "spec": spec,
    }


def collector(owner: Owner, server: Server, label_delay_s: float) -> tuple[Manifest, Manifest, Manifest]:
    """ConfigMap, Service and StatefulSet of the collector, in the order they must exist."""
    name = names.collector_name(owner.deployment)
    selector = {names.MODEL_LABEL: owner.deployment, COMPONENT_LABEL: "collector"}
    config = {
        "model": owner.deployment,
        "namespace": owner.namespace,
        "cluster": owner.cluster,
        "labelDelaySeconds": label_delay_s,
    }
    return (
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": owner.metadata(name),
            "data": {"collector.json": json.dumps(config, sort_keys=True)},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": owner.metadata(name),
            "spec": {
                "selector": selector,
                "ports": [{"name": "http", "port": names.COLLECTOR_PORT, "targetPort": "http", "protocol": "TCP"}],
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": owner.metadata(name),
            "spec": {
                "replicas": 1,
                "serviceName": name,
                "selector": {"matchLabels": selector},
                "template": {
                    "metadata": {
                        "labels": owner.labels(**{COMPONENT_LABEL: "collector"}),
                        "annotations": _scraped(names.COLLECTOR_ADMIN_PORT),
                    },
                    "spec": _collector_pod(name, server),
                },
            },
        },
    )


def _scraped(port: int) -> dict[str, str]:
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(port), "prometheus.io/path": "/metrics"}


def _server_pod(owner: Owner, revision: ModelRevision) -> dict[str, Any]:
    server = revision.server
    container: dict[str, Any] = {
        "name": "server",
        "image": server.image,
        "command": ["pilotage-server"],
        "args": [
            *("serve", "--bundle", BUNDLE_PATH, "--host", "$(POD_IP)"),
            *("--port", str(names.SERVER_PORT), "--admin-port", str(names.ADMIN_PORT)),
        ],
        "env": _server_env(owner, revision),
        "ports": _ports(names.SERVER_PORT, names.ADMIN_PORT),
        "startupProbe": _probe("/v2/health/ready", period_s=1, failures=300),
        "readinessProbe": _probe("/v2/health/ready", period_s=2, failures=3),
        "livenessProbe": _probe("/v2/health/live", period_s=10, failures=6),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _container_security(),
        "volumeMounts": [
            {"name": "bundle", "mountPath": BUNDLE_PATH, "readOnly": True},
            {"name": "feedback-key", "mountPath": FEEDBACK_KEY_PATH, "readOnly": True},
            {"name": "bundle-keys", "mountPath": BUNDLE_KEYS_PATH, "readOnly": True},
        ],
    }
    if server.resources is not None:
        container["resources"] = server.resources
    pod = _pod(server, container)
    pod["volumes"] = [
        {"name": "bundle", "image": {"reference": revision.model.bundle, "pullPolicy": "IfNotPresent"}},
        {"name": "feedback-key", "secret": {"secretName": names.FEEDBACK_KEY_SECRET}},
        {"name": "bundle-keys", "configMap": {"name": names.BUNDLE_KEYS_CONFIGMAP}},
    ]
    return pod


def _server_env(owner: Owner, revision: ModelRevision) -> list[Mapping[str, Any]]:
    ours: list[dict[str, Any]] = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "PILOTAGE_CLUSTER", "value": owner.cluster},
        {"name": "PILOTAGE_NAMESPACE", "value": owner.namespace},
        {"name": "PILOTAGE_MODEL", "value": owner.deployment},
        {"name": "PILOTAGE_REVISION", "value": revision.metadata.name},
        {"name": "PILOTAGE_COLLECTOR_SERVICE", "value": names.collector_name(owner.deployment)},
        {"name": "PILOTAGE_FEEDBACK_KEY_DIR", "value": FEEDBACK_KEY_PATH},
        {"name": "PILOTAGE_BUNDLE_KEY_DIR", "value": BUNDLE_KEYS_PATH},
    ]
    # A name given twice is refused by server-side apply; ours are what the program cannot do without.
    taken = {entry["name"] for entry in ours}
    return [*ours, *(entry for entry in revision.server.env or () if entry.get("name") not in taken)]


def _collector_pod(name: str, server: Server) -> dict[str, Any]:
    pod = _pod(
        server,
        {
            "name": "collector",
            "image": server.image,
            "command": ["pilotage-server"],
            "args": [
                *("collect", "--config", f"{CONFIG_PATH}/collector.json", "--data", DATA_PATH),
                *("--key-dir", FEEDBACK_KEY_PATH, "--host", "$(POD_IP)"),
                *("--port", str(names.COLLECTOR_PORT), "--admin-port", str(names.COLLECTOR_ADMIN_PORT)),
            ],
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "ports": _ports(names.COLLECTOR_PORT, names.COLLECTOR_ADMIN_PORT),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": _container_security(),
            "volumeMounts": [
                {"name": "config", "mountPath": CONFIG_PATH, "readOnly": True},
                {"name": "data", "mountPath": DATA_PATH},
                {"name": "feedback-key", "mountPath": FEEDBACK_KEY_PATH, "readOnly": True},
            ],
        },
    )
    pod["volumes"] = [
        {"name": "config", "configMap": {"name": name}},
        {"name": "data", "emptyDir": {}},
        {"name": "feedback-key", "secret": {"secretName": names.FEEDBACK_KEY_SECRET}},
    ]
    return pod


def _pod(server: Server, container: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": _GRACE_S,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    if server.node_selector is not None:
        pod["nodeSelector"] = server.node_selector
    if server.tolerations is not None:
        pod["tolerations"] = list(server.tolerations)
    if server.image_pull_secrets is not None:
        pod["imagePullSecrets"] = list(server.image_pull_secrets)
    return pod


def _ports(http: int, admin: int) -> list[dict[str, Any]]:
    return [
        {"name": "http", "containerPort": http, "protocol": "TCP"},
        {"name": "admin", "containerPort": admin, "protocol": "TCP"},
    ]


def _probe(path: str, *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "admin"},
        "periodSeconds": period_s,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def _container_security() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
