"""Says of every pod in a real cluster that it runs: the kubelet that control planes without nodes lack.

    with Kubelet(cloud): …      pods get ready half a second after they appear

A thread with its own event loop and our own client, as the cluster's admin.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

import yaml

from localclouds import Cloud
from pilotage.kube import ApiError, Key, Manifest
from pilotage.kube.client import ApiClient
from pilotage.kube.endpoint import from_kubeconfig
from pilotage.kube.informer import Informer
from pilotage.kube.resources import PODS
from pilotage.kube.store import Change, Store
from pilotage.kube.watch import Selection

READY_AFTER_S = 0.5


class Kubelet:
    """See the module. Use as a context manager."""

    def __init__(self, cloud: Cloud) -> None:
        self._endpoint = from_kubeconfig(yaml.safe_load(cloud.inside_kubeconfig.read_text()))
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"kubelet {cloud.name}", daemon=True)
        self._numbers = iter(range(1, 60000))

    def __enter__(self) -> Kubelet:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=20)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        pods: asyncio.Queue[Manifest] = asyncio.Queue()

        def heard(change: Change) -> None:
            if change.new is not None:
                pods.put_nowait(change.new)

        async with ApiClient(self._endpoint, field_manager="kubelet") as api:
            informer = Informer(api, Selection(resource=PODS), Store(), on_change=heard)
            tasks = [asyncio.create_task(informer.run()), asyncio.create_task(self._treat_all(api, pods))]
            await self._stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _treat_all(self, api: ApiClient, pods: asyncio.Queue[Manifest]) -> None:
        while True:
            pod = await pods.get()
            with suppress(ApiError):  # changed or gone meanwhile: another event comes
                await self._treat(api, pod)

    async def _treat(self, api: ApiClient, pod: Manifest) -> None:
        key, metadata = Key.of(pod), pod["metadata"]
        # a pod on no node is deleted by the API server at once, so nothing is ever to be stopped here
        if metadata.get("deletionTimestamp") or (pod.get("status") or {}).get("phase") == "Running":
            return
        await asyncio.sleep(READY_AFTER_S)
        await api.patch_status(PODS, key, self._running(pod), version=metadata["resourceVersion"])

    def _running(self, pod: Manifest) -> dict[str, Any]:
        number = next(self._numbers)
        address = f"127.200.{number // 250}.{number % 250 + 1}"
        conditions = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        return {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": name, "status": "True"} for name in conditions],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": True,
                    "started": True,
                    "restartCount": 0,
                    "state": {"running": {}},
                }
                for container in pod["spec"]["containers"]
            ],
        }
