"""What the simulated server knows of each kind: subresources, generation, defaults, validation, merge keys.

Defaults are those that the operator's own objects meet; the conformance suite compares them with a real
server.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pilotage.kube import Cause, Invalid, Object, Resource
from pilotage.kube import resources as r
from pilotage.kube.quantity import canonical_quantity
from support.apisim.fields import Shape

Defaulter = Callable[[Object], None]
"""Fills in what the server would, in place."""

Validator = Callable[[Object, Object | None], None]
"""Raises Invalid for the new object (and the old one, None on create)."""


def nothing(_: Object) -> None:
    """Default nothing."""


def anything(_: Object, __: Object | None) -> None:
    """Refuse nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Rules of one kind. `has_generation`: spec changes are counted."""

    resource: Resource
    has_status: bool = False
    has_generation: bool = False
    needs_version_on_update: bool = False
    default: Defaulter = nothing
    validate: Validator = anything
    shape: Shape = field(default_factory=Shape)


def custom(
    resource: Resource,
    *,
    default: Defaulter = nothing,
    validate: Validator = anything,
    shape: Shape | None = None,
) -> Kind:
    """Return the rules of a custom resource with a status subresource; its lists are atomic unless `shape`
    says more.
    """
    return Kind(
        resource=resource,
        has_status=True,
        has_generation=True,
        needs_version_on_update=True,
        default=default,
        validate=validate,
        shape=shape or CUSTOM_SHAPE,
    )


CUSTOM_SHAPE = Shape(keyed_lists={"ownerReferences": ("uid",)}, atomic_maps=frozenset())


def invalid(kind: str, name: str, path: str, reason: str, message: str) -> Invalid:
    """Return the error a real server makes of one bad field."""
    text = f'{kind} "{name}" is invalid: {path}: {message}'
    return Invalid(text, causes=(Cause(field=path, reason=reason, message=message),))


def _default_pod(spec: dict[str, Any]) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for container in spec.get("containers") or ():
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        is_latest = ":" not in container.get("image", "").partition("@")[0] and "@" not in container.get("image", "")
        container.setdefault("imagePullPolicy", "Always" if is_latest else "IfNotPresent")
        for bounds in container.setdefault("resources", {}).values():
            if isinstance(bounds, dict):
                bounds |= {name: canonical_quantity(value) for name, value in bounds.items()}
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe in container:
                _default_probe(container[probe])
        for variable in container.get("env") or ():
            _default_variable(variable)
    for volume in spec.get("volumes") or ():
        for source in ("secret", "configMap", "projected", "downwardAPI"):
            if source in volume:
                volume[source].setdefault("defaultMode", 420)
        if "image" in volume:
            volume["image"].setdefault("pullPolicy", "IfNotPresent")


def _default_probe(probe: dict[str, Any]) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    if "httpGet" in probe:
        probe["httpGet"].setdefault("scheme", "HTTP")
        probe["httpGet"].setdefault("path", "/")


def _default_variable(variable: dict[str, Any]) -> None:
    reference = (variable.get("valueFrom") or {}).get("fieldRef")
    if reference is not None:
        reference.setdefault("apiVersion", "v1")


def _default_deployment(found: Object) -> None:
    spec = found.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("maxSurge", "25%")
        strategy["rollingUpdate"].setdefault("maxUnavailable", "25%")
    _default_pod(spec.setdefault("template", {}).setdefault("spec", {}))


def _default_stateful_set(found: Object) -> None:
    spec = found.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    _default_pod(spec.setdefault("template", {}).setdefault("spec", {}))


def _default_service(found: Object) -> None:
    spec = found.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    name = f"{found['metadata'].get('namespace')}/{found['metadata']['name']}".encode()
    high, low = hashlib.sha256(name).digest()[:2]
    spec.setdefault("clusterIP", f"127.96.{high}.{low or 1}")
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])


def _default_route(found: Object) -> None:
    """As the Gateway API's CRD does (v1, standard channel)."""
    spec = found.setdefault("spec", {})
    for parent in spec.get("parentRefs") or ():
        parent.setdefault("group", "gateway.networking.k8s.io")
        parent.setdefault("kind", "Gateway")
    for rule in spec.setdefault("rules", [{}]):
        rule.setdefault("matches", [{"path": {"type": "PathPrefix", "value": "/"}}])
        for backend in rule.get("backendRefs") or ():
            backend.setdefault("group", "")
            backend.setdefault("kind", "Service")
            backend.setdefault("weight", 1)


def _validate_workload(found: Object, old: Object | None) -> None:
    kind, name, spec = found["kind"], found["metadata"]["name"], found["spec"]
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    labels: Mapping[str, str] = (spec["template"].get("metadata") or {}).get("labels") or {}
    if not wanted:
        raise invalid(kind, name, "spec.selector", "FieldValueRequired", "Required value")
    if any(labels.get(key) != value for key, value in wanted.items()):
        message = f"Invalid value: {labels}: `selector` does not match template `labels`"
        raise invalid(kind, name, "spec.template.metadata.labels", "FieldValueInvalid", message)
    if old is not None and old["spec"]["selector"] != spec["selector"]:
        raise invalid(kind, name, "spec.selector", "FieldValueInvalid", "Invalid value: field is immutable")


def _validate_config_map(found: Object, old: Object | None) -> None:
    for key, value in (found.get("data") or {}).items():
        if not isinstance(value, str):
            raise Invalid(f"ConfigMap in version v1 cannot be handled: data.{key} is no string", code=400)
    if old is not None and old.get("immutable") and old.get("data") != found.get("data"):
        message = "Forbidden: field is immutable when `immutable` is set"
        raise invalid("ConfigMap", found["metadata"]["name"], "data", "FieldValueForbidden", message)


ROUTE_SHAPE = Shape(keyed_lists={"ownerReferences": ("uid",)}, atomic_maps=frozenset())

BUILT_IN: tuple[Kind, ...] = (
    Kind(resource=r.NAMESPACES, has_status=True),
    Kind(resource=r.PODS, has_status=True, default=lambda pod: _default_pod(pod.setdefault("spec", {}))),
    Kind(resource=r.SERVICES, has_status=True, default=_default_service),
    Kind(resource=r.CONFIG_MAPS, validate=_validate_config_map),
    Kind(resource=r.SECRETS),
    Kind(resource=r.EVENTS),
    Kind(
        resource=r.DEPLOYMENTS,
        has_status=True,
        has_generation=True,
        default=_default_deployment,
        validate=_validate_workload,
    ),
    Kind(
        resource=r.STATEFUL_SETS,
        has_status=True,
        has_generation=True,
        default=_default_stateful_set,
        validate=_validate_workload,
    ),
    Kind(resource=r.LEASES, needs_version_on_update=True),
    custom(r.HTTP_ROUTES, default=_default_route, shape=ROUTE_SHAPE),
    Kind(resource=r.CRDS, has_status=True, has_generation=True),
)
