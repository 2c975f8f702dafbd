"""The node agent put together: what runs, in which order it begins, and how it ends.

On start it kills what an earlier agent left, reserves the addresses that its pods have, and starts them
again. On SIGTERM every process of every pod is killed and the pods stay in the API, to be run again by the
next agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Network
from pathlib import Path

import aiohttp

from localclouds.kube import Api, Json, Reflector, is_terminating
from localclouds.node import reaper
from localclouds.node.addresses import OutOfAddresses, PodAddresses
from localclouds.node.events import Events
from localclouds.node.isolation import best_isolation
from localclouds.node.logs import Logs
from localclouds.node.machine import Machine
from localclouds.node.objects import Objects
from localclouds.node.pod import Pod
from localclouds.node.proxy import ServiceProxy
from localclouds.node.registration import Registration
from localclouds.state import Facts

_log = logging.getLogger(__name__)


class Agent:
    """Runs the pods bound to one node."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._running: dict[str, tuple[Pod, asyncio.Task[None]]] = {}
        self._begun = False
        api, node_name = machine.api, machine.facts.node_name
        self._pods = Reflector(
            api, "/api/v1/pods", on_change=self._pod_changed, fieldSelector=f"spec.nodeName={node_name}"
        )
        self._services = Reflector(api, "/api/v1/services", on_change=lambda _obj, _gone: self._proxy.changed())
        self._proxy = ServiceProxy(self._services.items.values, self._pods.items.values)

    async def run(self, stopped: asyncio.Event) -> None:
        """Run until `stopped`.

        Owns: every pod, the proxy, the log endpoint, the Node. Ends: when `stopped` is set. Retried: within
        each. Fatal: the rest.
        """
        logs = Logs(self._machine.facts)
        await logs.start()
        try:
            async with asyncio.TaskGroup() as parts:
                registration = Registration(self._machine.api, self._machine.facts)
                tasks = [
                    parts.create_task(part)
                    for part in (
                        registration.run(),
                        self._pods.run(),
                        self._services.run(),
                        self._proxy.run(),
                        self._take_over(),
                    )
                ]
                await stopped.wait()
                for task in tasks:
                    task.cancel()
        finally:
            await self._end_pods()
            await logs.stop()

    def _pod_changed(self, obj: Json, gone: bool) -> None:
        if not self._begun:
            return
        uid = obj["metadata"]["uid"]
        known = self._running.get(uid)
        if known is not None:
            if gone:
                known[0].vanish()
            else:
                known[0].update(obj)
        elif not gone:
            self._begin(obj)

    def _begin(self, obj: Json) -> None:
        pod = Pod(obj, self._machine)
        try:
            pod.reserve_address()
        except OutOfAddresses as error:
            self._machine.events.tell(obj, "Warning", "FailedCreatePodSandBox", str(error))
            asyncio.get_running_loop().call_later(5, self._begin_again, obj)
            return
        uid = obj["metadata"]["uid"]
        if is_terminating(obj):
            pod.update(obj)
        task = asyncio.create_task(pod.run())
        task.add_done_callback(lambda task: self._pod_over(uid, task))
        self._running[uid] = (pod, task)

    def _pod_over(self, uid: str, task: asyncio.Task[None]) -> None:
        self._running.pop(uid, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("pod.broken uid=%s", uid, exc_info=error)

    def _begin_again(self, obj: Json) -> None:
        for current in self._pods.items.values():
            if current["metadata"]["uid"] == obj["metadata"]["uid"]:
                self._pod_changed(current, False)

    async def _take_over(self) -> None:
        """Begin with the pods there are, and remove the folders of those that ended while no agent ran."""
        await self._pods.synced.wait()
        self._begun = True
        # Those that have an address first, or a new pod might get the address of one that is taken over.
        for obj in sorted(self._pods.items.values(), key=lambda pod: not pod.get("status", {}).get("podIP")):
            self._begin(obj)
        pods = self._machine.folder / "pods"
        for folder in pods.iterdir() if pods.exists() else ():
            if folder.name not in self._running:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _end_pods(self) -> None:
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def run_agent(facts: Facts, stopped: asyncio.Event) -> None:
    """Run the node agent of a cloud until `stopped`."""
    folder = facts.path / "node"
    (folder / "root").mkdir(parents=True, exist_ok=True)
    # Secrets and tokens of pods are below it.
    folder.chmod(0o700)
    killed = reaper.kill_marked(f"{facts.path}#")
    isolation = best_isolation(folder)
    run = f"{facts.path}#{secrets.token_hex(8)}"
    _log.info("node.starting cloud=%s isolation=%s leftovers=%d", facts.name, isolation, killed)
    with reaping(run):
        async with (
            Api(Path(facts.identities["node"].kubeconfig)) as api,
            # Every probe on a connection of its own, as a kubelet does: a server that recycles connections
            # must not look dead.
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0)) as session,
            _closing(Objects(api), Events(api, facts.node_name)) as (objects, events),
        ):
            machine = Machine(
                facts=facts,
                api=api,
                session=session,
                isolation=isolation,
                addresses=PodAddresses(IPv4Network(facts.pod_cidr)),
                objects=objects,
                events=events,
                run=run,
            )
            await Agent(machine).run(stopped)


@contextlib.asynccontextmanager
async def _closing(objects: Objects, events: Events) -> AsyncIterator[tuple[Objects, Events]]:
    try:
        yield objects, events
    finally:
        objects.close()
        events.close()


@contextlib.contextmanager
def reaping(run: str) -> Iterator[None]:
    """A block after which no process with this run's mark is left, however it ends."""
    command = [sys.executable, "-I", "-S", reaper.__file__, run]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        # Leaving closes the pipe and waits until nothing of this run is left.
        yield
