"""One container: pulled, started, probed, restarted, stopped; its record is what the pod reports.

Invariants: at most one process at a time; after `stop` no process starts any more; every way out leaves no
process. The readiness probe goes on while the container stops, the other two do not. Knows its own spec and
its surroundings, not the API.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import aiohttp

from localclouds.images import Image, PullFailed
from localclouds.kube import Backoff, Json
from localclouds.node.deadline import Deadline
from localclouds.node.environment import ConfigError, expand
from localclouds.node.health import Health, Voice
from localclouds.node.isolation import Command, Isolation, Mount
from localclouds.node.probes import HandlerFailed, Target
from localclouds.node.process import Process, StartFailed, run_inside
from localclouds.node.status import Record, Running, Terminated, Waiting
from localclouds.node.terminationlog import TerminationLog

_log = logging.getLogger(__name__)

# A kubelet begins at 10 s and ends at 5 min; a local cloud is for people who wait for it (KEP-4603 has 1 s
# and 60 s).
_RESTARTS = Backoff(first_s=1.0, most_s=60.0)
_PULLS = Backoff(first_s=1.0, most_s=15.0)
# A container that ran this long starts its back-off anew.
_RAN_WELL_S = 600.0
# What SIGTERM gets at least, when the preStop hook used up the grace period: as in a kubelet.
_LEAST_TERM_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What surrounds one container: how its image, environment and mounts are found, and where its files are.

    `root` is where its file system is made (in its own namespace), `ending` its termination message file.
    """

    pull: Callable[[str], Awaitable[Image]]
    environment: Callable[[Json, Image], Awaitable[Mapping[str, str]]]
    mounts: Callable[[Json, Mount], tuple[Mount, ...]]
    isolation: Isolation
    root: Path
    ending: Path
    log: Path
    session: aiohttp.ClientSession
    pod_ip: str
    grace_s: float
    restart_policy: str
    changed: Callable[[], None]
    event: Callable[[str, str, str], None]


class Container:
    """Runs one container. `record` tells its state."""

    def __init__(self, spec: Json, record: Record, shell: Shell, identity: str) -> None:
        self.spec = spec
        self.record = record
        self._shell = shell
        self._identity = identity
        self._process: Process | None = None
        self._health = Health(spec, record, shell.grace_s, Voice(changed=shell.changed, event=shell.event))
        self._stopped = asyncio.Event()
        self._environment: Mapping[str, str] = {}
        self._ending = TerminationLog(spec, shell.ending, shell.log)

    async def run(self) -> None:
        """Run until the restart policy is content or the container is stopped.

        Owns: the process. Ends: when the container is over for good; when cancelled, its process is killed.
        Retried: pulls, starts and exits, each with back-off. Fatal: none.
        """
        backoff = _RESTARTS.reset()
        try:
            while not self._stopped.is_set():
                image = await self._pull()
                began = asyncio.get_running_loop().time()
                ended = await self._run_once(image)
                if ended is None or not self._restarts_after(ended):
                    return
                if asyncio.get_running_loop().time() - began > _RAN_WELL_S:
                    backoff = _RESTARTS.reset()
                await self._wait_for_restart(ended, backoff)
                backoff = backoff.next()
        finally:
            if self._process is not None:
                self._process.kill()

    async def stop(self, deadline: Deadline) -> None:
        """Stop for good: preStop hook, SIGTERM, and SIGKILL at the deadline. Returns when no process is left."""
        self._stopped.set()
        await self._end_process(deadline)

    def kill(self) -> None:
        """Kill at once, for good."""
        self._stopped.set()
        if self._process is not None:
            self._process.kill()

    async def _pull(self) -> Image:
        backoff = _PULLS.reset()
        while True:
            try:
                image = await self._shell.pull(self.spec["image"])
            except PullFailed as error:
                self._shell.event("Warning", "Failed", str(error))
                first = backoff.wait_s == 0
                backoff = backoff.next()
                self._set(Waiting(reason="ErrImagePull" if first else "ImagePullBackOff", message=str(error)))
                await self._pause(backoff.wait_s)
            else:
                self.record.image_id = image.image_id
                return image

    async def _run_once(self, image: Image) -> Terminated | None:
        """Start the container and wait for its end; None when it was stopped before it ran."""
        while not self._stopped.is_set():
            try:
                self._environment = await self._shell.environment(self.spec, image)
                break
            except ConfigError as error:
                self._shell.event("Warning", "Failed", str(error))
                self._set(Waiting(reason="CreateContainerConfigError", message=str(error)))
                await self._pause(1.0)
        if self._stopped.is_set():
            return None
        container_id = f"process://{self._identity}-{self.record.restarts}"
        started_at = datetime.now(UTC)
        try:
            self._ending.begin()
            process = await self._start(image)
        except (StartFailed, ConfigError, OSError) as error:
            code = error.exit_code if isinstance(error, StartFailed) else 125
            return self._ended("StartError", str(error), code, None, container_id)
        self._process = process
        if self._stopped.is_set():
            process.signal(signal.SIGTERM)
        self.record.container_id = container_id
        self._set(Running(started_at=started_at))
        self._shell.event("Normal", "Started", f"Started container {self.record.name} (process {process.pid})")
        end = partial(self._end_process, process=process)
        watching = asyncio.create_task(self._health.watch(self._target(), end, self._stopped))
        try:
            code = await asyncio.shield(process.exited)
        finally:
            watching.cancel()
            process.kill()
        for defect in await asyncio.gather(watching, return_exceptions=True):
            if isinstance(defect, Exception):
                _log.error("container.watch_broken id=%s", container_id, exc_info=defect)
        reason = "Completed" if code == 0 else "Error"
        return self._ended(reason, self._ending.message(code), code, started_at, container_id)

    async def _start(self, image: Image) -> Process:
        argv = list(self.spec.get("command") or image.program.entrypoint) + list(self.spec.get("args") or ())
        command = Command(
            argv=[expand(part, self._environment) for part in argv],
            env=self._environment,
            cwd=self.spec.get("workingDir") or "/",
        )
        mounts = self._shell.mounts(self.spec, self._ending.mount())
        output = os.open(self._shell.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            return await Process.start(
                command,
                isolation=self._shell.isolation,
                root=self._shell.root,
                output=output,
                mounts=mounts,
            )
        finally:
            os.close(output)

    def _ended(
        self, reason: str, message: str, code: int, started_at: datetime | None, container_id: str
    ) -> Terminated:
        self._process = None
        ended = Terminated(
            exit_code=code,
            reason=reason,
            message=message,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            container_id=container_id,
        )
        self.record.is_ready = self.record.is_started = False
        self._set(ended)
        return ended

    def _restarts_after(self, ended: Terminated) -> bool:
        if self._stopped.is_set() or self._shell.restart_policy == "Never":
            return False
        return self._shell.restart_policy == "Always" or ended.exit_code != 0

    async def _wait_for_restart(self, ended: Terminated, backoff: Backoff) -> None:
        self.record.last = ended
        if backoff.wait_s:
            text = f"back-off {backoff.wait_s:g}s restarting failed container={self.record.name}"
            self._shell.event("Warning", "BackOff", text)
            self._set(Waiting(reason="CrashLoopBackOff", message=text))
            await self._pause(backoff.wait_s)
        if not self._stopped.is_set():
            self.record.restarts += 1

    async def _end_process(self, deadline: Deadline, process: Process | None = None) -> None:
        process = process or self._process
        if process is None or not process.is_running:
            return
        pre_stop = (self.spec.get("lifecycle") or {}).get("preStop")
        if pre_stop:
            hook = asyncio.create_task(
                self._health.hook("PreStop", pre_stop, self._target(), max(1.0, deadline.left_s))
            )
            await deadline.wait_for(hook, process.exited)
            hook.cancel()
            deadline.leave_at_least(_LEAST_TERM_S)
        process.signal(signal.SIGTERM)
        await deadline.wait_for(process.exited)
        process.kill()
        await asyncio.shield(process.exited)

    def _target(self) -> Target:
        ports = {port["name"]: port["containerPort"] for port in self.spec.get("ports") or () if "name" in port}
        return Target(host=self._shell.pod_ip, ports=ports, session=self._shell.session, execute=self._execute)

    async def _execute(self, argv: list[str], timeout_s: float) -> tuple[int, str]:
        if self._process is None:
            raise HandlerFailed("the container is not running")
        command = Command(argv=argv, env=self._environment, cwd=self.spec.get("workingDir") or "/")
        return await run_inside(
            self._process,
            command,
            isolation=self._shell.isolation,
            root=self._shell.root,
            timeout_s=timeout_s,
        )

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return

    def _set(self, state: Waiting | Running | Terminated) -> None:
        self.record.state = state
        self._shell.changed()
