"""One pod's life on this node: address, volumes, containers, status, and its end.

Level-triggered: `update` hands in the pod as the API has it, `run` brings processes and status in line.
Invariants: the pod's deletion is confirmed to the API server (by UID) only when no process of it is left; its
address is released after that. A pod that vanished without asking (deleted by force) is killed at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from localclouds.images import Image
from localclouds.kube import ApiFailure, Backoff, Conflict, Json, NotFound, is_terminating
from localclouds.node.container import Container, Shell
from localclouds.node.deadline import Deadline
from localclouds.node.environment import ConfigError, Surroundings, container_environment, sources
from localclouds.node.isolation import POD_ROOT, Isolation, Mount, link_mounts
from localclouds.node.machine import Machine
from localclouds.node.mounts import container_mounts
from localclouds.node.status import Record, Terminated, Waiting, pod_status, seed
from localclouds.node.volumes import Places, VolumeProblem, Volumes

_log = logging.getLogger(__name__)

_SETUP = Backoff(first_s=0.2, most_s=5.0)
_PATIENCE_S = 0.5
_WRITES = Backoff(first_s=0.2, most_s=5.0)


class Pod:
    """Runs one pod, known by its UID."""

    def __init__(self, pod: Json, machine: Machine) -> None:
        self._pod = pod
        self._machine = machine
        self._uid: str = pod["metadata"]["uid"]
        self._ending = asyncio.Event()
        self._vanished = asyncio.Event()
        self._changed = asyncio.Event()
        self._deadline: Deadline | None = None
        self._sent: Json | None = None
        self._started_at = datetime.now(UTC)
        self._volumes_made = False
        self._is_over = False
        self._ip: str | None = None
        places = Places(
            pod_folder=machine.pod_folder(self._uid),
            image_cache=machine.folder / "images",
            oci_store=machine.oci_store,
        )
        self._volumes = Volumes(machine.api, machine.objects, places, machine.host_ip)
        self._init_containers: list[Container] = []
        self._containers: list[Container] = []

    def update(self, pod: Json) -> None:
        """The pod changed: what it tells its containers may have, what others wrote into its status, or its
        deletion was asked for.
        """
        if _version(pod) < _version(self._pod):
            # Older than our own last write, whose answer we have: only the status is ours, the rest is news
            # all the same.
            pod = {**pod, "status": self._pod.get("status", {})}
        elif self._sent is not None and not _says(pod, self._sent):
            # The node controller marks pods unready when it misses the node's lease; nobody else would
            # correct that.
            self._sent = None
        if any(pod["metadata"].get(field) != self._pod["metadata"].get(field) for field in ("labels", "annotations")):
            self._volumes.pod_changed()
        self._pod = pod
        if is_terminating(pod):
            self._ending.set()
            if self._deadline is not None:
                self._deadline.shorten(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        self._changed.set()

    def vanish(self) -> None:
        """The pod is no longer there: nothing of it may go on."""
        self._vanished.set()
        self._ending.set()
        if self._deadline is not None:
            self._deadline.shorten(0)

    def reserve_address(self) -> None:
        """Take the address the pod has or is to have. Raises OutOfAddresses."""
        if self._pod["spec"].get("hostNetwork"):
            self._ip = self._machine.host_ip
        else:
            known = self._pod.get("status", {}).get("podIP")
            self._ip = self._machine.addresses.take(self._uid, known)

    async def run(self) -> None:
        """Run the pod until it is deleted.

        Owns: its processes, folder and address. Ends: when the API server has no such pod any more. Retried:
        everything. Fatal: none.
        """
        publishing = asyncio.create_task(self._publish())
        living = asyncio.create_task(self._live())
        try:
            await self._ending.wait()
            await self._stop(living)
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            await self._confirm_deletion()
            self._machine.addresses.release(self._uid)
            await asyncio.to_thread(self._volumes.remove)
        finally:
            publishing.cancel()
            living.cancel()
            self.kill()
            await asyncio.gather(publishing, living, return_exceptions=True)

    def kill(self) -> None:
        """Kill every process of the pod, now."""
        for container in (*self._init_containers, *self._containers):
            container.kill()

    async def _live(self) -> None:
        try:
            self._make_containers()
            if self._is_over:
                return
            await self._make_volumes()
            async with asyncio.TaskGroup() as life:
                fresh = life.create_task(self._volumes.keep_fresh(lambda: self._pod, self._ip or ""))
                await self._run_containers()
                fresh.cancel()
        except* Exception:
            # A defect of ours must not take the other pods down; the pod shows no progress and the log says
            # why.
            _log.exception("pod.broken namespace=%s name=%s", *self._names)

    async def _run_containers(self) -> None:
        for container in self._init_containers:
            if not isinstance(container.record.state, Terminated):
                await container.run()
            if self._ending.is_set():
                return
            if not isinstance(container.record.state, Terminated) or container.record.state.exit_code != 0:
                break
        else:
            async with asyncio.TaskGroup() as running:
                for container in self._containers:
                    if not isinstance(container.record.state, Terminated):
                        running.create_task(container.run())
        self._is_over = True
        self._changed.set()

    def _make_containers(self) -> None:
        status = self._pod.get("status", {})
        if status.get("startTime"):
            self._started_at = datetime.fromisoformat(status["startTime"].replace("Z", "+00:00"))
        self._is_over = status.get("phase") in ("Succeeded", "Failed")
        policy = self._pod["spec"].get("restartPolicy", "Always")
        self._init_containers = [
            self._container(spec, "OnFailure" if policy == "Always" else policy, "initContainerStatuses")
            for spec in self._pod["spec"].get("initContainers") or ()
        ]
        self._containers = [
            self._container(spec, policy, "containerStatuses") for spec in self._pod["spec"]["containers"]
        ]
        self._changed.set()

    def _container(self, spec: Json, policy: str, statuses: str) -> Container:
        record = Record(name=spec["name"], image=spec["image"])
        for known in self._pod.get("status", {}).get(statuses) or ():
            if known["name"] == record.name and seed(record, known, datetime.now(UTC)):
                ended = record.state
                assert isinstance(ended, Terminated)
                if not self._is_over and (policy == "Always" or (policy != "Never" and ended.exit_code != 0)):
                    record.last, record.state = ended, Waiting(reason="ContainerCreating")
                    record.restarts += 1
        grace = self._pod["spec"].get("terminationGracePeriodSeconds")
        shell = Shell(
            pull=self._machine.pull,
            environment=self._environment,
            mounts=self._mounts,
            isolation=self._machine.isolation,
            root=self._machine.root,
            ending=self._machine.pod_folder(self._uid) / "endings" / record.name,
            log=self._machine.log(self._pod, record.name),
            session=self._machine.session,
            pod_ip=self._ip or "",
            grace_s=30.0 if grace is None else float(grace),
            restart_policy=policy,
            changed=self._changed.set,
            event=self._tell,
        )
        return Container(spec, record, shell, f"{self._uid}-{record.name}")

    async def _make_volumes(self) -> None:
        backoff = _SETUP
        while True:
            try:
                await self._volumes.make(self._pod, self._ip or "")
            except VolumeProblem as problem:
                backoff = backoff.next()
                # Not at once: the Node authorizer learns a moment after the node that a pod may be served.
                if backoff.wait_s > _PATIENCE_S:
                    self._tell("Warning", "FailedMount", str(problem))
                    for container in self._containers:
                        container.record.state = Waiting(reason=problem.reason, message=str(problem))
                    self._changed.set()
                await asyncio.sleep(backoff.wait_s)
            else:
                self._volumes_made = True
                return

    async def _environment(self, spec: Json, image: Image) -> Mapping[str, str]:
        namespace = self._pod["metadata"]["namespace"]
        try:
            services = await self._machine.services(namespace)
            objects = {}
            for source in sources(spec):
                obj = await self._machine.objects.fetch((source.kind, namespace, source.name))
                if obj is not None:
                    objects[source.kind, source.name] = obj
        except ApiFailure as error:
            raise ConfigError(str(error)) from error
        base = dict(self._machine.base_environment(self._pod))
        if self._machine.isolation is Isolation.FOLDER:
            base[POD_ROOT] = str(self._machine.pod_folder(self._uid) / "roots" / spec["name"])
        around = Surroundings(
            pod=self._pod,
            pod_ip=self._ip or "",
            host_ip=self._machine.host_ip,
            services=services,
            api_server=self._machine.api_address,
            objects=objects,
            base=base,
        )
        return container_environment(spec, around)

    def _mounts(self, spec: Json, more: Mount) -> tuple[Mount, ...]:
        mounts = (*container_mounts(spec, self._volumes), more)
        if self._machine.isolation is Isolation.FOLDER:
            link_mounts(self._machine.pod_folder(self._uid) / "roots" / spec["name"], mounts)
        return mounts

    async def _stop(self, living: asyncio.Task[None]) -> None:
        asked = self._pod["metadata"].get("deletionGracePeriodSeconds")
        grace_s = 0.0 if self._vanished.is_set() or asked is None else float(asked)
        self._deadline = Deadline.after(grace_s)
        async with asyncio.TaskGroup() as stopping:
            for container in (*self._containers, *self._init_containers):
                stopping.create_task(container.stop(self._deadline))
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        self._is_over = True
        if not self._vanished.is_set():
            try:
                await self._send(self._status())
            except ApiFailure:
                return

    async def _confirm_deletion(self) -> None:
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._uid}}
        backoff = _WRITES
        while not self._vanished.is_set():
            try:
                await self._machine.api.delete(self._path, body)
                return
            except (NotFound, Conflict):
                return
            except ApiFailure:
                backoff = backoff.next()
                await asyncio.sleep(backoff.wait_s)

    async def _publish(self) -> None:
        """Report every change of the pod's records.

        Owns: the status of the pod. Ends: when cancelled or the pod is gone. Retried: every failure. Fatal:
        none.
        """
        backoff = _WRITES
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._send(self._status())
            except (NotFound, Conflict):
                return
            except ApiFailure as error:
                _log.info("pod.status_not_sent namespace=%s name=%s error=%s", *self._names, error)
                backoff = backoff.next()
                await asyncio.sleep(backoff.wait_s)
                self._changed.set()
            else:
                backoff = _WRITES

    def _status(self) -> Json:
        return pod_status(
            self._pod,
            pod_ip=self._ip,
            host_ip=self._machine.host_ip,
            containers=[container.record for container in self._containers],
            init_containers=[container.record for container in self._init_containers],
            volumes_made=self._volumes_made,
            is_over=self._is_over,
            started_at=self._started_at,
            now=datetime.now(UTC),
        )

    async def _send(self, status: Json) -> None:
        if status == self._sent or not self._containers:
            return
        # Strategic merge keeps the conditions of others (PodScheduled); the UID refuses a new pod of the same
        # name.
        body = {"metadata": {"uid": self._uid}, "status": status}
        answer = await self._machine.api.patch(f"{self._path}/status", body)
        self._sent = status
        # Transition times of the next status come from here; the watch may bring it later.
        metadata = {**self._pod["metadata"], "resourceVersion": answer["metadata"]["resourceVersion"]}
        self._pod = {**self._pod, "metadata": metadata, "status": answer.get("status", {})}

    def _tell(self, kind: str, reason: str, message: str) -> None:
        self._machine.events.tell(self._pod, kind, reason, message)

    @property
    def _names(self) -> tuple[str, str]:
        metadata = self._pod["metadata"]
        return metadata["namespace"], metadata["name"]

    @property
    def _path(self) -> str:
        namespace, name = self._names
        return f"/api/v1/namespaces/{namespace}/pods/{name}"


def _version(pod: Json) -> int:
    # Resource versions may be compared as numbers (KEP-5504).
    return int(pod["metadata"]["resourceVersion"])


def _says(pod: Json, sent: Json) -> bool:
    found = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions") or ()}
    return all(found.get(condition["type"]) == condition["status"] for condition in sent["conditions"])
