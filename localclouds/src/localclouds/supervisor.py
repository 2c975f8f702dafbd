"""The process that owns an instance: starts its clouds, supervises them, obeys commands, and takes all down at its end.

Everything it starts dies with it (the kernel sees to that), and it ends itself when its owner does, however the owner
dies, unless it was told to stay (`keep`). It has exactly one thread. Started by `Clouds` as
`python -m localclouds.supervisor`, with a plan as JSON on stdin; tells its progress as JSON lines on stdout until it is
ready; logs to stderr.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

from localclouds import blueprint, control, kubeconfig, leftovers, procfs
from localclouds.blueprint import Blueprint
from localclouds.errors import CloudsError
from localclouds.orders import obey
from localclouds.plan import Plan
from localclouds.running import RunningCloud
from localclouds.state import write_json


class Supervisor:
    """One instance. `run` is its whole life."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ending = asyncio.Event()
        self._owner_handle: int | None = None
        self._clouds: dict[str, RunningCloud] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._instance = secrets.token_hex(6)
        self._crds: list[dict[str, Any]] = json.loads(plan.crds.read_bytes()) if plan.crds else []
        self._names = [wish.name for wish in plan.wishes]

    async def run(self) -> None:
        """Live. Owns: every process of the instance. Ends: owner gone, SIGTERM, SIGINT, or told to stop.

        Retried: nothing here, each process by its own supervision. Fatal: StartFailed while coming up.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(leftovers.locked(self._plan.state))
            leftovers.sweep_stale(self._plan.state, self._log)
            leftovers.refuse_foreign(self._plan.state, self._names)
            self._record()
            self._watch_owner()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self._ending.set)
            stack.callback(leftovers.clean, self._plan.state, self._names)
            probes = await stack.enter_async_context(AsyncExitStack())
            stack.push_async_callback(self._take_down)
            stack.callback(self._listen().close)
            await self._until_up_or_ending(probes)
            if not self._ending.is_set():
                _report({"event": "ready"})
            _go_quiet()
            await self._ending.wait()
            self._log("supervisor.ending")

    async def _until_up_or_ending(self, probes: AsyncExitStack) -> None:
        coming = asyncio.create_task(self._come_up(probes))
        ending = asyncio.create_task(self._ending.wait())
        await asyncio.wait([coming, ending], return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not coming.done():
            coming.cancel()
            with suppress(asyncio.CancelledError):
                await coming
            return
        coming.result()

    async def _come_up(self, probes: AsyncExitStack) -> None:
        state, prepared = self._plan.state, list[Blueprint]()
        (state / "oci").mkdir(exist_ok=True)
        for wish in self._plan.wishes:
            prepared.append(blueprint.prepare(state, self._instance, wish))
        kubeconfig.write(state / "kubeconfig", [each.admin for each in prepared])
        for each in prepared:
            cloud = RunningCloud(each, self._plan.programs, self._crds)
            self._clouds[cloud.facts.name] = await probes.enter_async_context(cloud)
        async with asyncio.TaskGroup() as group:
            for cloud in self._clouds.values():
                group.create_task(cloud.come_up(self._progress))

    async def _take_down(self) -> None:
        await asyncio.gather(*(cloud.go_down() for cloud in self._clouds.values()))
        for task in self._answering:
            task.cancel()
        swept = procfs.sweep(self._instance)
        self._log("supervisor.down", swept=swept)

    def _record(self) -> None:
        me = os.getpid()
        write_json(
            self._plan.state / "instance.json",
            {
                "instance": self._instance,
                "supervisor": {"pid": me, "start_time": procfs.start_time(me)},
                "owner": self._plan.owner,
                "clouds": self._names,
                "since": time.time(),
            },
        )

    def _watch_owner(self) -> None:
        """End when the owner's process does.

        A pidfd, because a pipe's end may live on in the owner's other children.
        """
        try:
            self._owner_handle = os.pidfd_open(self._plan.owner)
        except ProcessLookupError:
            self._ending.set()
            return
        asyncio.get_running_loop().add_reader(self._owner_handle, self._owner_is_gone)

    def _owner_is_gone(self) -> None:
        self._log("supervisor.owner_gone", owner=self._plan.owner)
        self.keep()
        self._ending.set()

    def keep(self) -> None:
        """Live on when the owner ends."""
        if self._owner_handle is not None:
            asyncio.get_running_loop().remove_reader(self._owner_handle)
            os.close(self._owner_handle)
            self._owner_handle = None

    def end(self) -> None:
        """Begin to take everything down."""
        self._ending.set()

    @property
    def clouds(self) -> dict[str, RunningCloud]:
        """The clouds by name, as far as they have been prepared."""
        return self._clouds

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(control.address(self._plan.state))
        listener.listen(64)
        listener.setblocking(False)
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)
        return listener

    def _accept(self, listener: socket.socket) -> None:
        channel, _ = listener.accept()
        if not control.is_our_user(channel):
            channel.close()
            return
        task = asyncio.get_running_loop().create_task(self._answer(channel))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, channel: socket.socket) -> None:
        """Answer one request. Owns: its connection. Ends: answered, or the caller gone."""
        reader, writer = await asyncio.open_connection(sock=channel)
        with suppress(OSError):
            request = json.loads(await reader.readline() or b"{}")
            self._log("supervisor.request", **request)
            try:
                answer = control.result(await obey(self, request))
            except CloudsError as error:
                answer = control.failure(error)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    def _progress(self, line: str) -> None:
        self._log("supervisor.progress", line=line)
        _report({"event": "progress", "line": line})

    def _log(self, event: str, **fields: Any) -> None:
        sys.stderr.write(json.dumps({"time": round(time.time(), 3), "event": event, **fields}) + "\n")
        sys.stderr.flush()


def _report(event: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def _go_quiet() -> None:
    """Stop writing to the owner: it reads until we are ready, and a full pipe must never block us."""
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, sys.stdout.fileno())
    os.close(silence)


def main() -> int:
    """Read the plan from stdin and run it."""
    plan = Plan.decode(sys.stdin.read())

    async def run() -> None:
        await Supervisor(plan).run()

    failures: list[CloudsError] = []
    try:
        asyncio.run(run())
    except* CloudsError as group:
        failures = _leaves(group)
    if failures:
        _report({"event": "failed", **control.failure(failures[0])})
    return 1 if failures else 0


def _leaves(group: ExceptionGroup[CloudsError]) -> list[CloudsError]:
    found: list[CloudsError] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, ExceptionGroup) else [each]
    return found


if __name__ == "__main__":
    sys.exit(main())
