"""A pod's volumes as folders of this machine: made before its containers start, kept fresh, removed with the
pod.

ConfigMap, Secret, downward API and projected volumes are rewritten atomically when what they show changes;
tokens before they expire. Image volumes are folders shared by all pods, read-only. Knows nothing of
containers or mounts.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localclouds.images import BadReference, LayoutProblem, MissingArtifact, resolve, unpack
from localclouds.kube import Api, ApiFailure, Json
from localclouds.node import contents
from localclouds.node.atomic import write_all
from localclouds.node.contents import Material, Token, TokenRequest
from localclouds.node.environment import ConfigError
from localclouds.node.objects import Objects, Reference

# A kubelet asks for a new token when 80 % of its time is over.
_TOKEN_SHARE = 0.8
_RETRY_S = 5.0
_PLAIN = ("configMap", "secret", "downwardAPI", "projected")


class VolumeProblem(Exception):
    """A volume cannot be made now. `reason` is the waiting reason of the pod's containers."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where volumes are made from and kept."""

    pod_folder: Path
    image_cache: Path
    oci_store: Path


class Volumes:
    """The volumes of one pod."""

    def __init__(self, api: Api, objects: Objects, places: Places, host_ip: str) -> None:
        self._api = api
        self._objects = objects
        self._places = places
        self._host_ip = host_ip
        self._tokens: dict[TokenRequest, Token] = {}
        self._followed: set[Reference] = set()
        self._stale = asyncio.Event()
        self._images: dict[str, Path] = {}
        self._writable: set[str] = set()

    def path(self, volume: str) -> Path:
        """The folder of a volume, once it is made."""
        return self._images.get(volume) or self._places.pod_folder / "volumes" / volume

    def is_writable(self, volume: str) -> bool:
        """Whether containers may write into it: an empty folder or one of the machine's, not what shows
        objects or images.
        """
        return volume in self._writable

    async def make(self, pod: Json, pod_ip: str) -> None:
        """Make every volume of the pod. Raises VolumeProblem; call again later."""
        for volume in pod["spec"].get("volumes") or ():
            await self._make(volume, pod, pod_ip)

    async def keep_fresh(self, current: Callable[[], Json], pod_ip: str) -> None:
        """Rewrite what changed and renew tokens. `current` gives the pod as it is now.

        Owns: the watches of what is mounted. Ends: when cancelled. Retried: everything that fails. Fatal:
        none.
        """
        # Once at the beginning: something may have changed since the volumes were made.
        self._stale.set()
        try:
            while True:
                self._follow_all(current())
                try:
                    async with asyncio.timeout(self._seconds_to_renewal()):
                        await self._stale.wait()
                except TimeoutError:
                    pass
                self._stale.clear()
                for volume in current()["spec"].get("volumes") or ():
                    if any(kind in volume for kind in _PLAIN):
                        try:
                            await self._write(volume, current(), pod_ip)
                        except VolumeProblem:
                            # What is mounted stays as it was, as with a kubelet; asked again soon.
                            asyncio.get_running_loop().call_later(_RETRY_S, self._stale.set)
        finally:
            for reference in self._followed:
                self._objects.unfollow(reference, self._stale.set)
            self._followed.clear()

    def pod_changed(self) -> None:
        """The pod's own labels or annotations may have changed."""
        self._stale.set()

    def remove(self) -> None:
        """Delete the pod's folder. Image folders stay for the next pod."""
        shutil.rmtree(self._places.pod_folder, ignore_errors=True)

    async def _make(self, volume: Json, pod: Json, pod_ip: str) -> None:
        name = volume["name"]
        if any(kind in volume for kind in _PLAIN):
            await self._write(volume, pod, pod_ip)
        elif "emptyDir" in volume:
            self._writable.add(name)
            self.path(name).mkdir(parents=True, exist_ok=True)
        elif "hostPath" in volume:
            self._writable.add(name)
            target = self.path(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_symlink():
                target.symlink_to(volume["hostPath"]["path"])
        elif "image" in volume:
            self._images[name] = await self._image(name, volume["image"].get("reference", ""))
        else:
            kinds = ", ".join(key for key in volume if key != "name")
            raise VolumeProblem("ContainerCreating", f'volume "{name}": local clouds have no {kinds} volumes')

    async def _image(self, name: str, reference: str) -> Path:
        try:
            manifest = await asyncio.to_thread(resolve, self._places.oci_store, reference)
            return await asyncio.to_thread(unpack, self._places.oci_store, manifest, self._places.image_cache)
        except (BadReference, MissingArtifact, LayoutProblem) as error:
            raise VolumeProblem("ImagePullBackOff", f'volume "{name}": {error}') from error

    async def _write(self, volume: Json, pod: Json, pod_ip: str) -> None:
        name = volume["name"]
        try:
            material = await self._gather(volume, pod, pod_ip)
            files = contents.files(volume, material)
            await asyncio.to_thread(write_all, self.path(name), files)
        except (ConfigError, ValueError) as error:
            raise VolumeProblem("ContainerCreating", f'volume "{name}": {error}') from error
        except ApiFailure as error:
            raise VolumeProblem("ContainerCreating", f'volume "{name}": {error}') from error

    async def _gather(self, volume: Json, pod: Json, pod_ip: str) -> Material:
        namespace = pod["metadata"]["namespace"]
        found = {}
        for kind, name in contents.needed_objects(volume):
            obj = await self._objects.fetch((kind, namespace, name))
            if obj is not None:
                found[kind, name] = obj
        tokens = {}
        for request in contents.needed_tokens(volume):
            tokens[request] = (await self._token(request, pod)).value
        return Material(objects=found, tokens=tokens, pod=pod, pod_ip=pod_ip, host_ip=self._host_ip)

    async def _token(self, request: TokenRequest, pod: Json) -> Token:
        known = self._tokens.get(request)
        if known is not None and time.monotonic() < known.renew_at:
            return known
        namespace, account = pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName", "default")
        answer = await self._api.create(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", request.body(pod)
        )
        lasts_s = float(answer["spec"]["expirationSeconds"])
        token = Token(value=answer["status"]["token"], renew_at=time.monotonic() + lasts_s * _TOKEN_SHARE)
        self._tokens[request] = token
        return token

    def _follow_all(self, pod: Json) -> None:
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes") or ():
            for kind, name in contents.needed_objects(volume):
                reference = (kind, namespace, name)
                if reference not in self._followed:
                    self._followed.add(reference)
                    self._objects.follow(reference, self._stale.set)

    def _seconds_to_renewal(self) -> float | None:
        if not self._tokens:
            return None
        return max(1.0, min(token.renew_at for token in self._tokens.values()) - time.monotonic())
