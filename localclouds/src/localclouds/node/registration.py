"""The Node object of a cloud and its Lease: what tells the control plane that there is a node, and that it is
alive.
"""

from __future__ import annotations

import asyncio
import logging
import platform
from datetime import UTC, datetime
from urllib.parse import quote

from localclouds.kube import Api, ApiFailure, Conflict, Json, NotFound
from localclouds.state import Facts

_log = logging.getLogger(__name__)

# The controller manager takes a node for dead after 40 to 50 s without a renewal.
_RENEWAL_S = 10.0
_LEASE_S = 40
_MANAGER = "localclouds-node"
# Nothing is measured against these: a local cloud must take the requests of manifests written for real ones.
_RESOURCES = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "256Gi", "pods": "250"}


class Registration:
    """Keeps the Node Ready and its Lease renewed."""

    def __init__(self, api: Api, facts: Facts) -> None:
        self._api = api
        self._facts = facts
        self._path = f"/api/v1/nodes/{quote(facts.node_name)}"

    async def run(self) -> None:
        """Renew until cancelled.

        Owns: the Node's conditions and the Lease. Ends: when cancelled. Retried: everything. Fatal: none.
        """
        while True:
            try:
                await self._ensure_ready()
                await self._renew()
            except ApiFailure as error:
                _log.warning("node.not_renewed error=%s", error)
                await asyncio.sleep(1)
            else:
                await asyncio.sleep(_RENEWAL_S)

    async def _ensure_ready(self) -> None:
        try:
            node = await self._api.get(self._path)
        except NotFound:
            node = await self._create()
        version = node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion")
        if not _is_ready(node) or version != self._status()["nodeInfo"]["kubeletVersion"]:
            await self._api.patch(f"{self._path}/status", {"status": self._status()})
            _log.info("node.ready name=%s", self._facts.node_name)

    async def _create(self) -> Json:
        node: Json = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self._facts.node_name, "labels": self._labels()},
            "status": self._status(),
        }
        try:
            return await self._api.create("/api/v1/nodes", node)
        except Conflict:
            return await self._api.get(self._path)

    def _labels(self) -> dict[str, str]:
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        return {
            "kubernetes.io/hostname": self._facts.node_name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture,
            "topology.kubernetes.io/region": self._facts.name,
            "topology.kubernetes.io/zone": f"{self._facts.name}-a",
        }

    def _status(self) -> Json:
        labels, now = self._labels(), _now()
        held = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
        conditions = [
            {
                "type": kind,
                "status": value,
                "reason": "LocalAgent",
                "message": "processes of this machine",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
            for kind, value in held.items()
        ]
        return {
            "addresses": [
                {"type": "InternalIP", "address": self._facts.node_address.host},
                {"type": "Hostname", "address": self._facts.node_name},
            ],
            "allocatable": _RESOURCES,
            "capacity": _RESOURCES,
            "conditions": conditions,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._facts.node_address.port}},
            "nodeInfo": {
                "architecture": labels["kubernetes.io/arch"],
                "bootID": "",
                "containerRuntimeVersion": "process://1",
                "kernelVersion": platform.release(),
                "kubeProxyVersion": "",
                "kubeletVersion": "v1.36.0-localclouds",
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": platform.system(),
                "systemUUID": "",
            },
        }

    async def _renew(self) -> None:
        name = self._facts.node_name
        lease: Json = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-node-lease"},
            "spec": {
                "holderIdentity": name,
                "leaseDurationSeconds": _LEASE_S,
                "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
        await self._api.apply(path, lease, _MANAGER)


def _is_ready(node: Json) -> bool:
    conditions = node.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
