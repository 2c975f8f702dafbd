"""The pods of a member's Deployments and StatefulSet: containers, environment, probes, volumes, restrictions.

Part of the golden manifests: a change here restarts pods in every cluster. Programs and paths are those of
`pilotage_server`, which resolves every mount path itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pilotage.api import names
from pilotage.api.types import Feedback, ModelRevision, Server, Storage
from pilotage.plan.feedback import Addition, for_collectors, for_servers

BUNDLE_PATH = "/pilotage/bundle"
FEEDBACK_KEY_PATH = "/pilotage/feedback-key"
BUNDLE_KEYS_PATH = "/pilotage/bundle-keys"
CONFIG_PATH = "/pilotage/config"
DATA_PATH = "/pilotage/data"
_GRACE_S = 45
_GROUP = 65532
"""Of the user in our images."""


def scraped(port: int) -> dict[str, str]:
    """Annotations by which a member's Prometheus finds a pod's metrics."""
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(port), "prometheus.io/path": "/metrics"}


def server_pod(
    revision: ModelRevision, *, cluster: str, namespace: str, deployment: str, feedback: Feedback
) -> dict[str, Any]:
    """One pod that serves a revision."""
    server, more = revision.server, for_servers(feedback, deployment)
    container: dict[str, Any] = {
        "name": "server",
        "image": server.image,
        "command": ["pilotage-server"],
        "args": [
            *("serve", "--bundle", BUNDLE_PATH, "--host", "$(POD_IP)"),
            *("--port", str(names.SERVER_PORT), "--admin-port", str(names.ADMIN_PORT)),
        ],
        "env": _server_env(revision, cluster, namespace, deployment, more),
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
            *more.mounts,
        ],
    }
    if server.resources is not None:
        container["resources"] = server.resources
    pod = _pod(server, container)
    pod["volumes"] = [
        {"name": "bundle", "image": {"reference": revision.model.bundle, "pullPolicy": "IfNotPresent"}},
        {"name": "feedback-key", "secret": {"secretName": names.FEEDBACK_KEY_SECRET}},
        {"name": "bundle-keys", "configMap": {"name": names.BUNDLE_KEYS_CONFIGMAP}},
        *more.volumes,
    ]
    return pod


def _server_env(
    revision: ModelRevision, cluster: str, namespace: str, deployment: str, more: Addition
) -> list[Mapping[str, Any]]:
    ours: list[dict[str, Any]] = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "PILOTAGE_CLUSTER", "value": cluster},
        {"name": "PILOTAGE_NAMESPACE", "value": namespace},
        {"name": "PILOTAGE_MODEL", "value": deployment},
        {"name": "PILOTAGE_REVISION", "value": revision.metadata.name},
        {"name": "PILOTAGE_COLLECTOR_SERVICE", "value": names.collector_name(deployment)},
        {"name": "PILOTAGE_FEEDBACK_KEY_DIR", "value": FEEDBACK_KEY_PATH},
        {"name": "PILOTAGE_BUNDLE_KEY_DIR", "value": BUNDLE_KEYS_PATH},
        *more.env,
    ]
    # A name given twice is refused by server-side apply; ours are what the program cannot do without.
    taken = {entry["name"] for entry in ours} | more.replaces
    return [*ours, *(entry for entry in revision.server.env or () if entry.get("name") not in taken)]


def collector_pod(name: str, server: Server, feedback: Feedback) -> dict[str, Any]:
    """The one pod that counts labels; `name` is its ConfigMap's. With storage its volume is claimed, not the pod's."""
    more = for_collectors(feedback)
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
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, *more.env],
            "ports": _ports(names.COLLECTOR_PORT, names.COLLECTOR_ADMIN_PORT),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": _container_security(),
            "volumeMounts": [
                {"name": "config", "mountPath": CONFIG_PATH, "readOnly": True},
                {"name": "data", "mountPath": DATA_PATH},
                {"name": "feedback-key", "mountPath": FEEDBACK_KEY_PATH, "readOnly": True},
                *more.mounts,
            ],
        },
    )
    pod["volumes"] = [
        {"name": "config", "configMap": {"name": name}},
        {"name": "feedback-key", "secret": {"secretName": names.FEEDBACK_KEY_SECRET}},
        *more.volumes,
    ]
    if feedback.storage is not None:
        # a claimed volume belongs to root until it is given to a group
        pod["securityContext"] |= {"fsGroup": _GROUP, "fsGroupChangePolicy": "OnRootMismatch"}
    else:
        pod["volumes"].insert(1, {"name": "data", "emptyDir": {}})
    return pod


def data_claim(storage: Storage) -> dict[str, Any]:
    """The claim of the collector's database; it outlives the StatefulSet, and is never resized by us."""
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}


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
