"""One cloud as the supervisor runs it: its processes, in order, and what the supervisor can do to them.

Owns: the processes and the probe connections of its cloud. Faults are here because they are nothing but signals to
processes: a cut-off cloud is a front that is frozen or gone, while everything behind it goes on.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import aiohttp

from localclouds import bootstrap, components, readiness
from localclouds.blueprint import Blueprint
from localclouds.cache import Progress
from localclouds.errors import StartFailed, UnknownName
from localclouds.kube import Api, ApiFailure
from localclouds.names import INSTANCE_MARK, Component
from localclouds.process import Command, Supervised
from localclouds.readiness import NotYet, Ready
from localclouds.state import Facts

READY_WITHIN_S: Final = 240.0
"""Generous: several instances may start on one busy machine. Four clouds on two idle cores take about ten seconds."""

_FIRST_ASK_AFTER_S: Final = 0.05
_ASK_EVERY_S: Final = 0.25
"""Probes begin quickly and then slow down: while four clouds start, asking more often would delay the answer."""

_HOPELESS_RESTARTS: Final = 3


class Cut(StrEnum):
    """How a cloud is out of reach for clients outside."""

    SILENT = "silent"
    """Connections hang and nothing answers, as when a network drops packets."""
    REFUSED = "refused"
    """Connections are reset and refused, as when a load balancer has lost its target."""


class RunningCloud:
    """The processes of one cloud. Enter it to open its probe connections; all methods run on the supervisor's loop."""

    def __init__(self, blueprint: Blueprint, programs: Mapping[str, Path], crds: list[dict[str, Any]]) -> None:
        self.facts = blueprint.facts
        self._claim = blueprint.claim
        self._crds = crds
        self.processes = {
            component: Supervised(
                Command(
                    name=f"{self.facts.name}/{component}",
                    argv=components.command(component, self.facts, programs),
                    environment={**os.environ, INSTANCE_MARK: self.facts.instance},
                    log=self.facts.log(component),
                    polite_s=components.POLITE_S[component],
                )
            )
            for component in components.START_ORDER
            if component in self.facts.components
        }
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> RunningCloud:
        self._http = await self._stack.enter_async_context(_probing(self.facts))
        self._api = await self._stack.enter_async_context(Api(Path(self.facts.kubeconfig)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        self._claim.release()

    async def come_up(self, progress: Progress) -> None:
        """Start everything in order and wait until all of it is ready; raises StartFailed."""
        for component in (Component.ETCD, Component.API_SERVER):
            await self._start_ready(component)
        progress(f"{self.facts.name}: API server ready at {self.facts.outside.api_server}")
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await self._furnish()
        except (ApiFailure, TimeoutError) as error:
            why = str(error) or f"no answer within {READY_WITHIN_S:.0f} s"
            raise StartFailed(f"{self.facts.name}: the new API server did not take our objects: {why}") from error
        await asyncio.gather(*(self._start_ready(component) for component in self.processes))
        progress(f"{self.facts.name}: ready")

    async def _furnish(self) -> None:
        """Make what the rest needs; the rest starts meanwhile, the gateway once the kinds it watches are served."""
        await bootstrap.apply(self._api, bootstrap.rights(self.facts))
        for component, process in self.processes.items():
            if component is not Component.GATEWAY:
                process.start()
        if Component.GATEWAY in self.processes:
            await bootstrap.prepare_gateway(self._api, self.facts, self._crds)

    async def go_down(self) -> None:
        """Stop everything: who uses the API first, then the API server, then etcd."""
        users = [each for each in self.processes if each not in (Component.ETCD, Component.API_SERVER)]
        await self.stop(users)
        for component in (Component.API_SERVER, Component.ETCD):
            await self.stop([component] if component in self.processes else [])

    def named(self, component: str | None) -> list[Component]:
        """The component of that name, or all of them in start order; raises UnknownName."""
        if component is None:
            return list(self.processes)
        found = [each for each in self.processes if each == component]
        if not found:
            have = ", ".join(self.processes)
            raise UnknownName(f"{self.facts.name} has no component {component}; it has {have}")
        return found

    async def start(self, chosen: Iterable[Component]) -> None:
        """Start components that were stopped, in the given order; readiness is asked for with `await_ready`."""
        for component in chosen:
            self.processes[component].start()

    async def stop(self, chosen: Iterable[Component]) -> None:
        """Stop components and leave them stopped."""
        await asyncio.gather(*(self.processes[component].stop() for component in chosen))

    async def kill(self, chosen: Iterable[Component]) -> None:
        """SIGKILL components; the supervisor starts them anew after its back-off."""
        await asyncio.gather(*(self.processes[component].kill() for component in chosen))

    def pause(self, chosen: Iterable[Component]) -> None:
        """Freeze components: connections stay open, nothing answers."""
        for component in chosen:
            self.processes[component].pause()

    def resume(self, chosen: Iterable[Component]) -> None:
        """Let frozen components go on."""
        for component in chosen:
            self.processes[component].resume()

    async def restart(self, chosen: list[Component], within_s: float) -> None:
        """Stop components, start them again in order, and wait until each is ready."""
        await self.stop(chosen)
        for component in chosen:
            await self._start_ready(component, within_s)

    async def await_ready(self, chosen: Iterable[Component], within_s: float) -> None:
        """Wait until the components do their work; raises StartFailed with what was last seen."""
        await asyncio.gather(*(self._until_ready(component, within_s) for component in chosen))

    async def cut(self, how: Cut) -> None:
        """Make the cloud unreachable for clients outside; it goes on by itself."""
        front = self._front()
        match how:
            case Cut.SILENT:
                front.pause()
            case Cut.REFUSED:
                await front.stop()

    async def mend(self) -> None:
        """Undo `cut`."""
        front = self._front()
        front.resume()
        front.start()
        await self._until_ready(Component.FRONT, READY_WITHIN_S)

    def _front(self) -> Supervised:
        return self.processes[self.named(Component.FRONT)[0]]

    async def _start_ready(self, component: Component, within_s: float = READY_WITHIN_S) -> None:
        self.processes[component].start()
        await self._until_ready(component, within_s)

    async def _until_ready(self, component: Component, within_s: float) -> None:
        process, seen, pause = self.processes[component], "nothing", _FIRST_ASK_AFTER_S
        before = process.status.restarts
        try:
            async with asyncio.timeout(within_s):
                while True:
                    match await readiness.probe(component, self.facts, self._http, self._api):
                        case Ready():
                            return
                        case NotYet(seen=seen):
                            pass
                    if process.status.restarts - before >= _HOPELESS_RESTARTS:
                        seen = f"it died {_HOPELESS_RESTARTS} times, last with exit code {process.status.last_exit}"
                        break
                    await asyncio.sleep(pause)
                    pause = min(1.3 * pause, _ASK_EVERY_S)
        except TimeoutError:
            pass
        raise StartFailed(
            f"{process.command.name} is not ready after {within_s:.0f} s: {seen}\n"
            f"last lines of {process.command.log}:\n{process.tail()}"
        )


def _probing(facts: Facts) -> aiohttp.ClientSession:
    """A session for probes, which trusts the cloud's CA and has no identity."""
    tls = ssl.create_default_context(cafile=facts.ca_file)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls))
