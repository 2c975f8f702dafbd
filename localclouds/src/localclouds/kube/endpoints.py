"""Which addresses serve a Service now: ready pods behind its selector, in a stable order.

Invariants: a terminating pod is never an endpoint, whatever its Ready condition says; a pod without an
address is none either. Pure. The API server's own Endpoints are of no use here: their controllers reject pod
addresses in 127/8.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from localclouds.kube.objects import Json, is_ready, is_terminating, selects


class Endpoint(NamedTuple):
    """One ready pod of a Service: the address and port that take a request, and the pod's name for the
    record.
    """

    host: str
    port: int
    pod: str


class NoSuchPort(LookupError):
    """The Service has no such port."""


def service_port(service: Json, port: int | None) -> Json:
    """Return the Service's port entry with this number, or its first one for None.

    Raises NoSuchPort when there is none.
    """
    ports: list[Json] = service.get("spec", {}).get("ports") or []
    for entry in ports:
        if port is None or entry["port"] == port:
            return entry
    raise NoSuchPort(f"Service {service['metadata']['name']} has no port {port}")


def ready_endpoints(service: Json, port: Json, pods: Iterable[Json]) -> tuple[Endpoint, ...]:
    """List the endpoints of one Service port, ordered by pod name.

    `pods` may hold pods of any namespace. A named target port is looked up in each pod; pods without it are
    left out.
    """
    namespace = service["metadata"].get("namespace")
    selector = service["spec"].get("selector")
    found = []
    for pod in pods:
        if pod["metadata"].get("namespace") != namespace or not selects(selector, pod):
            continue
        if not is_ready(pod) or is_terminating(pod):
            continue
        host = pod.get("status", {}).get("podIP")
        number = _target_port(pod, port)
        if host and number:
            found.append(Endpoint(host, number, pod["metadata"]["name"]))
    return tuple(sorted(found, key=lambda endpoint: endpoint.pod))


def _target_port(pod: Json, port: Json) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"].get("containers", ()):
        for entry in container.get("ports") or ():
            if entry.get("name") == target:
                return int(entry["containerPort"])
    return None
