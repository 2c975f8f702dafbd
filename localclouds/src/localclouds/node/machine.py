"""What every pod of a node shares: the API, addresses, folders, caches. Handed around, changed by nobody."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from localclouds.images import Image, pull
from localclouds.kube import Api, Json
from localclouds.names import INSTANCE_MARK
from localclouds.node.addresses import PodAddresses
from localclouds.node.events import Events
from localclouds.node.isolation import Isolation
from localclouds.node.objects import Objects
from localclouds.node.reaper import MARK
from localclouds.state import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The node as its pods see it. `run` marks the processes of this run of the agent."""

    facts: Facts
    api: Api
    session: aiohttp.ClientSession
    isolation: Isolation
    addresses: PodAddresses
    objects: Objects
    events: Events
    run: str

    @property
    def folder(self) -> Path:
        """Where the node keeps pods' files."""
        return self.facts.path / "node"

    @property
    def host_ip(self) -> str:
        """The node's address."""
        return self.facts.node_address.host

    @property
    def root(self) -> Path:
        """An empty folder on which containers mount their file systems, each in its own namespace."""
        return self.folder / "root"

    @property
    def oci_store(self) -> Path:
        """Where image volumes come from."""
        return Path(self.facts.oci_store)

    @property
    def api_address(self) -> tuple[str, int]:
        """Host and port of the API server, as pods are told."""
        url = urlsplit(self.facts.api_server)
        return url.hostname or "", url.port or 443

    def pod_folder(self, uid: str) -> Path:
        """The files of one pod."""
        return self.folder / "pods" / uid

    def log(self, pod: Json, container: str) -> Path:
        """The log of a container: everything that its runs wrote, kept after the pod's end."""
        metadata = pod["metadata"]
        return self.facts.path / "pods" / f"{metadata['namespace']}_{metadata['name']}" / f"{container}.log"

    async def pull(self, reference: str) -> Image:
        """The program behind an image. Raises PullFailed."""
        return await asyncio.to_thread(pull, reference, self.facts.path.parent)

    async def services(self, namespace: str) -> Iterable[Json]:
        """The namespace's Services, asked now: a container that starts must find those that were made before
        it.
        """
        answer = await self.api.get(f"/api/v1/namespaces/{namespace}/services")
        items: list[Json] = answer["items"]
        return items

    def base_environment(self, pod: Json) -> Mapping[str, str]:
        """What containers find before anything of the pod's own: the commands of this Python's environment
        first on PATH.
        """
        commands = Path(sys.executable).parent
        return {
            "PATH": f"{commands}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/",
            "LANG": "C.UTF-8",
            "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
            INSTANCE_MARK: os.environ.get(INSTANCE_MARK, self.facts.instance),
            MARK: self.run,
        }
