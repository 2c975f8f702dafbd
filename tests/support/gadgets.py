"""A custom resource for tests of the Kubernetes kit, and one example of each kind that the operator writes."""

from typing import Any

from pilotage.kube import Resource

GADGETS = Resource(group="test.pilotage.dev", version="v1", plural="gadgets", kind="Gadget")

GADGET_CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.test.pilotage.dev"},
    "spec": {
        "group": "test.pilotage.dev",
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "size": {"type": "integer", "minimum": 0, "default": 1},
                                    "mode": {"type": "string", "enum": ["Slow", "Fast"], "default": "Slow"},
                                    "steps": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "atomic",
                                        "items": {
                                            "type": "object",
                                            "properties": {"weight": {"type": "integer", "default": 10}},
                                        },
                                    },
                                    "gates": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                        "items": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {
                                                "name": {"type": "string"},
                                                "floor": {"type": "number"},
                                            },
                                        },
                                    },
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {
                                    "phase": {"type": "string"},
                                    "message": {"type": "string"},
                                    "marks": {"type": "object", "additionalProperties": {"type": "string"}},
                                },
                            },
                        },
                    }
                },
            }
        ],
    },
}


def a_gadget(name: str = "one", *, namespace: str = "", **spec: Any) -> dict[str, Any]:
    """Return a Gadget."""
    return {
        "apiVersion": "test.pilotage.dev/v1",
        "kind": "Gadget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def a_config_map(
    name: str = "one", *, namespace: str = "", labels: dict[str, str] | None = None, **data: str
) -> dict[str, Any]:
    """Return a ConfigMap."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def a_deployment(
    name: str = "one", *, namespace: str = "", replicas: int = 2, env: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return a Deployment as the operator writes it for a revision: every field that it uses."""
    labels = {"pilotage.dev/model": "digits", "pilotage.dev/revision": name}
    probe = {"httpGet": {"path": "/v2/health/ready", "port": 8081}, "periodSeconds": 2}
    server = {
        "name": "server",
        "image": "pilotage.dev/server:dev@sha256:" + "0" * 64,
        "args": ["serve", "--host", "$(POD_IP)"],
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 8081}],
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            *({"name": key, "value": value} for key, value in (env or {}).items()),
        ],
        "resources": {"requests": {"cpu": "0.1", "memory": "1024Mi"}, "limits": {"cpu": "1000m"}},
        "startupProbe": probe | {"failureThreshold": 60},
        "readinessProbe": probe,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "bundle", "mountPath": "/pilotage/bundle", "readOnly": True},
            {"name": "feedback-key", "mountPath": "/pilotage/feedback-key", "readOnly": True},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": labels, "annotations": {"prometheus.io/scrape": "true"}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 45,
                    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [server],
                    "volumes": [
                        {
                            "name": "bundle",
                            "image": {"reference": "example.com/m@sha256:" + "1" * 64, "pullPolicy": "IfNotPresent"},
                        },
                        {"name": "feedback-key", "secret": {"secretName": "pilotage-feedback-key"}},
                    ],
                },
            },
        },
    }


def a_stateful_set(name: str = "one", *, namespace: str = "") -> dict[str, Any]:
    """Return a StatefulSet as the operator writes it for a collector."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "serviceName": name,
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [
                        {
                            "name": "collector",
                            "image": "pilotage.dev/server@sha256:" + "0" * 64,
                            "ports": [{"name": "http", "containerPort": 8090}],
                            "volumeMounts": [{"name": "data", "mountPath": "/pilotage/data"}],
                        }
                    ],
                    "volumes": [{"name": "data", "emptyDir": {}}, {"name": "config", "configMap": {"name": name}}],
                },
            },
        },
    }


def a_service(name: str = "one", *, namespace: str = "", selector: dict[str, str] | None = None) -> dict[str, Any]:
    """Return a Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": selector or {"pilotage.dev/model": "digits"},
            "ports": [{"name": "http", "port": 8080, "targetPort": "http"}],
        },
    }


def a_route(name: str = "one", *, namespace: str = "", weights: tuple[int, int] = (90, 10)) -> dict[str, Any]:
    """Return an HTTPRoute between two Services."""
    stable, canary = weights
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "parentRefs": [{"name": "public", "namespace": "ingress"}],
            "hostnames": ["digits.example.com"],
            "rules": [
                {
                    "backendRefs": [
                        {"name": f"{name}-stable", "port": 8080, "weight": stable},
                        {"name": f"{name}-canary", "port": 8080, "weight": canary},
                    ]
                }
            ],
        },
    }
