"""Events for `kubectl describe`: one per transition, repeated ones counted on the same object, never waited for.

An event's name is a hash of what it says about whom, so a crash that replays a transition meets its own event and
counts it instead of multiplying it. Posting has its own task and a bounded queue: an API server that refuses events
costs events, not rollouts. Writes only while leading.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from pilotage.api.names import API_VERSION, GROUP
from pilotage.kube import AlreadyExists, Api, ApiError, Clock, Key, NotFound
from pilotage.kube.resources import EVENTS

QUEUED_AT_MOST = 1000
REPEAT_AFTER_S = 600.0
REMEMBERED = 4096
NOTE_LENGTH = 1000
"""The API server takes 1024 bytes."""
CLUSTER_SCOPED_NAMESPACE = "default"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regarding:
    """Whom an event is about."""

    kind: str
    key: Key
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Happening:
    regarding: Regarding
    type: str
    reason: str
    note: str
    at: datetime


class EventRecorder:
    """`record` and go on; `run` posts."""

    def __init__(self, api: Api, clock: Clock, *, instance: str, leading: Callable[[], bool]) -> None:
        self._api, self._clock, self._instance, self._leading = api, clock, instance, leading
        self._queue: asyncio.Queue[_Happening] = asyncio.Queue(QUEUED_AT_MOST)
        self._posted: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def record(self, regarding: Regarding, *, type_: str, reason: str, note: str) -> None:
        """Queue one event; one that was posted in the last ten minutes is not posted again."""
        happening = _Happening(
            regarding=regarding, type=type_, reason=reason, note=_clipped(note), at=self._clock.now()
        )
        name = _name(happening)
        posted_at = self._posted.get(name)
        if posted_at is not None and self._clock.monotonic() - posted_at < REPEAT_AFTER_S:
            return
        try:
            self._queue.put_nowait(happening)
        except asyncio.QueueFull:
            log.warning("events.dropped", key=str(regarding.key), reason=reason)
            return
        self._posted[name] = self._clock.monotonic()
        while len(self._posted) > REMEMBERED:
            oldest = next(iter(self._posted))
            del self._posted[oldest]
            self._counts.pop(oldest, None)

    async def run(self) -> None:
        """Post what is recorded. Ends: when cancelled. Retried: nothing, an event that fails is logged and lost."""
        while True:
            happening = await self._queue.get()
            if not self._leading():
                continue
            try:
                await self._post(happening)
            except ApiError as error:
                log.warning(
                    "events.failed", key=str(happening.regarding.key), reason=happening.reason, error=str(error)
                )

    async def _post(self, happening: _Happening) -> None:
        manifest = self._manifest(happening)
        try:
            await self._api.create(EVENTS, manifest)
        except AlreadyExists:
            await self._count(Key.of(manifest), happening)
        except NotFound:
            log.debug("events.namespace_gone", key=str(happening.regarding.key))

    async def _count(self, key: Key, happening: _Happening) -> None:
        """Count it again on the event that is there; what came before this process started counts as one."""
        self._counts[key.name] = self._counts.get(key.name, 1) + 1
        series = {"count": self._counts[key.name], "lastObservedTime": _micro(happening.at)}
        await self._api.merge_patch(EVENTS, key, {"series": series})

    def _manifest(self, happening: _Happening) -> dict[str, Any]:
        regarding = happening.regarding
        namespace = regarding.key.namespace or CLUSTER_SCOPED_NAMESPACE
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": _name(happening), "namespace": namespace},
            "eventTime": _micro(happening.at),
            "reportingController": f"{GROUP}/operator",
            "reportingInstance": self._instance[:128],
            "action": happening.reason,
            "reason": happening.reason,
            "type": happening.type,
            "note": happening.note,
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": regarding.kind,
                "namespace": regarding.key.namespace,
                "name": regarding.key.name,
                "uid": regarding.uid,
            },
        }


def _name(happening: _Happening) -> str:
    said = "\0".join((happening.regarding.uid, happening.type, happening.reason, happening.note))
    return f"{happening.regarding.key.name}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _clipped(note: str) -> str:
    encoded = note.encode()
    return note if len(encoded) <= NOTE_LENGTH else encoded[:NOTE_LENGTH].decode(errors="ignore") + "…"


def _micro(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
