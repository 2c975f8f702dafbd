"""The controllers, kubelets and gateways of a simulated cluster: Deployments and StatefulSets get pods, pods
get ready, HTTPRoutes get accepted. They act on the state directly, so no call of theirs is in the log.

Rolling updates keep `replicas` ready pods and add one at a time (surge 1, unavailable 0). A pod is ready
`ready_s` after it was made, unless `ailment` names a reason why it will not be. Endpoints do not exist: who
wants to know where a Service leads asks `ready_pods`.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from pilotage.kube import Key, Manifest, Object, Resource
from pilotage.kube.resources import DEPLOYMENTS, HTTP_ROUTES, PODS, SERVICES, STATEFUL_SETS
from support.apisim.client import ApiSim
from support.apisim.cluster import ClusterState, copied

REVISION = "pod-template-hash"

Ailment = Callable[[Manifest], str | None]
"""Looks at a pod and says why it will never be ready (its termination message), or None."""


def healthy(_: Manifest) -> str | None:
    """Every pod gets ready."""
    return None


@dataclass(slots=True)
class Workloads:
    """Run it as a task beside the operator. `ready_s` and `accept_s` may be changed while it runs."""

    sim: ApiSim
    ready_s: float = 2.0
    accept_s: float = 0.2
    ailment: Ailment = healthy
    _due: dict[str, float] = field(default_factory=dict)
    _count: int = 0

    async def run(self) -> None:
        """Act on every change and whenever something is due. Ends: when cancelled."""
        while True:
            self._act()
            now = asyncio.get_running_loop().time()
            coming = [due for due in self._due.values() if due > now]
            try:
                async with asyncio.timeout_at(min(coming, default=None)):
                    await self._state.bell.next()
            except TimeoutError:
                continue

    @property
    def _state(self) -> ClusterState:
        return self.sim.state

    def _act(self) -> None:
        """Repeat until nothing changes any more at this instant."""
        before = -1
        while before != self._state.version:
            before = self._state.version
            for found in self._state.objects(PODS):
                self._treat_pod(found)
            for resource in (DEPLOYMENTS, STATEFUL_SETS):
                for found in self._state.objects(resource):
                    self._treat_workload(resource, found)
            for found in self._state.objects(HTTP_ROUTES):
                self._treat_route(found)
        living = {o["metadata"]["uid"] for r in (PODS, HTTP_ROUTES) for o in self._state.objects(r)}
        self._due = {name: due for name, due in self._due.items() if name.partition("@")[0] in living}

    def _is_due(self, name: str, after_s: float) -> bool:
        now = asyncio.get_running_loop().time()
        return now >= self._due.setdefault(name, now + after_s)

    # --- pods
    # --------------------------------------------------------------------------------------------------

    def _treat_pod(self, pod: Object) -> None:
        if pod["metadata"].get("deletionTimestamp") or is_ready(pod):
            return
        why_not = self.ailment(pod)
        if why_not is not None:
            self._set_status(PODS, pod, _sick_status(pod, why_not))
        elif self._is_due(pod["metadata"]["uid"], self.ready_s):
            self._count += 1
            address = f"127.96.{self._count // 250}.{self._count % 250 + 1}"
            self._set_status(PODS, pod, _ready_status(pod, address))

    def _set_status(self, resource: Resource, found: Object, status: dict[str, Any]) -> None:
        metadata = {**found["metadata"], "resourceVersion": ""}
        self._state.update_status(resource, {**found, "metadata": metadata, "status": status})

    # --- workloads
    # ---------------------------------------------------------------------------------------------

    def _treat_workload(self, resource: Resource, found: Object) -> None:
        if found["metadata"].get("deletionTimestamp"):
            return
        digest = _template_digest(found)
        pods = [pod for pod in self._state.objects(PODS) if _is_owned(pod, found)]
        current = [pod for pod in pods if pod["metadata"]["labels"].get(REVISION) == digest]
        old = [pod for pod in pods if pod not in current]
        replicas = found["spec"]["replicas"]
        self._scale(resource, found, digest, current, old, replicas)
        pods = [pod for pod in self._state.objects(PODS) if _is_owned(pod, found)]
        self._set_status(resource, found, _workload_status(resource, found, digest, pods))

    def _scale(
        self,
        resource: Resource,
        owner: Object,
        digest: str,
        current: list[Object],
        old: list[Object],
        replicas: int,
    ) -> None:
        surge = 1 if old and resource is DEPLOYMENTS else 0
        room = replicas + surge - len(current) - len(old)
        for _ in range(min(room, replicas - len(current))):
            self._make_pod(resource, owner, digest)
        ready = sum(is_ready(pod) for pod in current)
        if resource is DEPLOYMENTS:
            spare = len(old) - max(0, replicas - ready)
        else:
            # names are taken, so an old pod goes first, one at a time
            spare = min(1, len(old)) if ready == len(current) else 0
        for pod in _unready_first(old)[: max(0, spare)]:
            self._state.delete(PODS, Key.of(pod))
        for pod in _unready_first(current)[: max(0, len(current) - replicas)]:
            self._state.delete(PODS, Key.of(pod))

    def _make_pod(self, resource: Resource, owner: Object, digest: str) -> None:
        self._count += 1
        name = owner["metadata"]["name"]
        suffix = f"{digest[:6]}-{self._count:04d}" if resource is DEPLOYMENTS else self._ordinal(owner)
        template = copied(owner["spec"]["template"])
        metadata = template.get("metadata") or {}
        metadata["labels"] = {**(metadata.get("labels") or {}), REVISION: digest}
        metadata |= {"name": f"{name}-{suffix}", "namespace": owner["metadata"]["namespace"]}
        metadata["ownerReferences"] = [
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": name,
                "uid": owner["metadata"]["uid"],
                "controller": True,
            }
        ]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        pod["status"] = {"phase": "Pending"}
        self._state.create(PODS, pod, manager="kcm")

    def _ordinal(self, owner: Object) -> str:
        taken = {pod["metadata"]["name"] for pod in self._state.objects(PODS) if _is_owned(pod, owner)}
        name = owner["metadata"]["name"]
        return str(next(n for n in range(len(taken) + 1) if f"{name}-{n}" not in taken))

    # --- routes
    # ------------------------------------------------------------------------------------------------

    def _treat_route(self, route: Object) -> None:
        generation = route["metadata"]["generation"]
        parents = (route.get("status") or {}).get("parents") or []
        is_told = any(c["observedGeneration"] == generation for p in parents for c in p["conditions"])
        if is_told or not self._is_due(f"{route['metadata']['uid']}@{generation}", self.accept_s):
            return
        namespace = route["metadata"]["namespace"]
        backends = [b["name"] for rule in route["spec"]["rules"] for b in rule.get("backendRefs") or ()]
        missing = [n for n in backends if self._state.find(SERVICES, Key(namespace, n)) is None]
        conditions = [
            _condition("Accepted", "True", "Accepted", generation),
            _condition(
                "ResolvedRefs",
                "False" if missing else "True",
                "BackendNotFound" if missing else "ResolvedRefs",
                generation,
            ),
        ]
        status = {
            "parents": [
                {"parentRef": ref, "controllerName": "pilotage.dev/sim", "conditions": conditions}
                for ref in route["spec"].get("parentRefs") or ()
            ]
        }
        self._set_status(HTTP_ROUTES, route, status)


def is_ready(pod: Manifest) -> bool:
    """Tell whether the pod's Ready condition is true."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def ready_pods(state: ClusterState, service: Manifest) -> list[Object]:
    """Return the pods that a Service sends traffic to."""
    selector = service["spec"].get("selector") or {}
    return [
        pod
        for pod in state.objects(PODS)
        if pod["metadata"].get("namespace") == service["metadata"].get("namespace")
        and not pod["metadata"].get("deletionTimestamp")
        and is_ready(pod)
        and selector.items() <= (pod["metadata"].get("labels") or {}).items()
    ]


def _is_owned(pod: Manifest, owner: Manifest) -> bool:
    uid = owner["metadata"]["uid"]
    return any(reference["uid"] == uid for reference in pod["metadata"].get("ownerReferences") or ())


def _unready_first(pods: list[Object]) -> list[Object]:
    return sorted(pods, key=lambda pod: (is_ready(pod), pod["metadata"]["name"]))


def _template_digest(found: Manifest) -> str:
    encoded = orjson.dumps(found["spec"]["template"], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(encoded).hexdigest()[:10]


def _ready_status(pod: Object, address: str) -> dict[str, Any]:
    containers = [
        {
            "name": container["name"],
            "ready": True,
            "started": True,
            "restartCount": 0,
            "image": container.get("image", ""),
            "state": {"running": {}},
        }
        for container in pod["spec"]["containers"]
    ]
    conditions = [
        {"type": name, "status": "True"} for name in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": conditions,
        "containerStatuses": containers,
    }


def _sick_status(pod: Object, message: str) -> dict[str, Any]:
    containers = [
        {
            "name": container["name"],
            "ready": False,
            "started": False,
            "restartCount": 1,
            "image": container.get("image", ""),
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": message}},
        }
        for container in pod["spec"]["containers"]
    ]
    conditions = [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]
    return {"phase": "Running", "conditions": conditions, "containerStatuses": containers}


def _workload_status(resource: Resource, found: Object, digest: str, pods: list[Object]) -> dict[str, Any]:
    updated = [pod for pod in pods if pod["metadata"]["labels"].get(REVISION) == digest]
    ready = sum(is_ready(pod) for pod in pods)
    replicas = found["spec"]["replicas"]
    status: dict[str, Any] = {
        "observedGeneration": found["metadata"]["generation"],
        "replicas": len(pods),
        "updatedReplicas": len(updated),
        "readyReplicas": ready,
        "availableReplicas": ready,
    }
    if resource is STATEFUL_SETS:
        name = f"{found['metadata']['name']}-{digest}"
        is_done = len(updated) == len(pods) == replicas
        earlier = (found.get("status") or {}).get("currentRevision")
        return status | {"updateRevision": name, "currentRevision": name if is_done or not earlier else earlier}
    status["unavailableReplicas"] = max(0, replicas - ready)
    is_available = ready >= replicas
    status["conditions"] = [
        {
            "type": "Available",
            "status": "True" if is_available else "False",
            "reason": "MinimumReplicasAvailable" if is_available else "MinimumReplicasUnavailable",
        },
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
    ]
    return {name: value for name, value in status.items() if value != 0 or name == "observedGeneration"}


def _condition(name: str, status: str, reason: str, generation: int) -> dict[str, Any]:
    return {
        "type": name,
        "status": status,
        "reason": reason,
        "message": "",
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
