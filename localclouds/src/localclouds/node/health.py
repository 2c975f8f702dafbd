"""Hooks and probes of one running container: what its record says about being started and ready, and when its
process must end.

Invariants: readiness is asked as long as the process runs, also while it stops; startup and liveness only
until then. Starts nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from localclouds.kube import Json
from localclouds.node.deadline import Deadline
from localclouds.node.probes import HandlerFailed, Probe, Tally, Target, handle
from localclouds.node.status import Record

_POST_START_TIMEOUT_S = 30.0

End = Callable[[Deadline], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How a container tells: its record changed; an event of type, reason and message happened."""

    changed: Callable[[], None]
    event: Callable[[str, str, str], None]


class Health:
    """Watches one container's processes, one after the other."""

    def __init__(self, spec: Json, record: Record, grace_s: float, voice: Voice) -> None:
        self._spec = spec
        self._record = record
        self._grace_s = grace_s
        self._voice = voice

    async def watch(self, target: Target, end: End, stopping: asyncio.Event) -> None:
        """Run hooks and probes of a running process; `end` ends the process.

        Owns: the record's two flags. Ends: when cancelled, or when it ended the process. Retried: probes.
        Fatal: none.
        """
        post_start = (self._spec.get("lifecycle") or {}).get("postStart")
        if post_start and not await self.hook("PostStart", post_start, target, _POST_START_TIMEOUT_S):
            await end(Deadline.after(self._grace_s))
            return
        if "startupProbe" in self._spec:
            probe = Probe.read(self._spec["startupProbe"])
            if not await self._has_started(probe, target):
                await self._give_up("startup", probe, end)
                return
        self._record.is_started = True
        async with asyncio.TaskGroup() as probes:
            if "readinessProbe" in self._spec:
                probes.create_task(self._watch_readiness(Probe.read(self._spec["readinessProbe"]), target))
            else:
                self._record.is_ready = True
            self._voice.changed()
            if "livenessProbe" in self._spec:
                probe = Probe.read(self._spec["livenessProbe"])
                probes.create_task(self._watch_liveness(probe, target, end, stopping))

    async def hook(self, kind: str, handler: Json, target: Target, timeout_s: float) -> bool:
        """Carry out a lifecycle hook; a failure is an event, and False."""
        try:
            await handle(handler, target, timeout_s)
        except HandlerFailed as error:
            self._voice.event("Warning", f"Failed{kind}Hook", str(error))
            return False
        return True

    async def _has_started(self, probe: Probe, target: Target) -> bool:
        tally = Tally()
        await asyncio.sleep(probe.delay_s)
        while True:
            tally = tally.after(await self._ask("Startup", probe, target), probe)
            if tally.verdict is not None:
                return tally.verdict
            await asyncio.sleep(probe.period_s)

    async def _watch_readiness(self, probe: Probe, target: Target) -> None:
        tally = Tally()
        await asyncio.sleep(probe.delay_s)
        while True:
            tally = tally.after(await self._ask("Readiness", probe, target), probe)
            if bool(tally.verdict) != self._record.is_ready:
                self._record.is_ready = bool(tally.verdict)
                self._voice.changed()
            await asyncio.sleep(probe.period_s)

    async def _watch_liveness(self, probe: Probe, target: Target, end: End, stopping: asyncio.Event) -> None:
        tally = Tally()
        await asyncio.sleep(probe.delay_s)
        while not stopping.is_set():
            tally = tally.after(await self._ask("Liveness", probe, target), probe)
            if tally.verdict is False and not stopping.is_set():
                await self._give_up("liveness", probe, end)
                return
            await asyncio.sleep(probe.period_s)

    async def _give_up(self, kind: str, probe: Probe, end: End) -> None:
        text = f"Container {self._record.name} failed {kind} probe, will be restarted"
        self._voice.event("Normal", "Killing", text)
        await end(Deadline.after(self._grace_s if probe.grace_s is None else probe.grace_s))

    async def _ask(self, kind: str, probe: Probe, target: Target) -> bool:
        try:
            await handle(probe.handler, target, probe.timeout_s)
        except HandlerFailed as error:
            self._voice.event("Warning", "Unhealthy", f"{kind} probe failed: {error}")
            return False
        return True
