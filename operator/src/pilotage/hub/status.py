"""Writes `.status` of the hub's objects: only a difference, only over the version it was decided on.

The answer goes into the store at once. What the server would not keep (a field that its schema does not know) is
remembered per object, so that the same write is not tried again until something else changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from pilotage.hub.store import Entry, HubStore
from pilotage.kube import Api, Key, Resource
from pilotage.kube.merge import merge_diff

REMEMBERED = 1024

log = structlog.get_logger(__name__)


class StatusWriter:
    """One writer for all kinds of ours."""

    def __init__(self, api: Api, store: HubStore) -> None:
        self._api, self._store = api, store
        self._not_kept: dict[str, tuple[int, Mapping[str, Any]]] = {}

    async def write(self, kind: Resource, entry: Entry, status: Mapping[str, Any]) -> bool:
        """Make the object's status say `status`; returns whether a request was needed.

        Raises Conflict when the object is no longer at `entry`'s version, and the other errors of `kube`.
        """
        before = entry.raw.get("status") or {}
        patch = merge_diff(before, status)
        if not patch or self._not_kept.get(entry.uid) == (entry.version, status):
            return False
        key = Key.of(entry.raw)
        answer = await self._api.patch_status(kind, key, patch, version=str(entry.version))
        self._store.write_through(kind, answer)
        self._check_kept(kind, key, entry.uid, answer, status)
        return True

    def _check_kept(
        self, kind: Resource, key: Key, uid: str, answer: Mapping[str, Any], status: Mapping[str, Any]
    ) -> None:
        lost = merge_diff(answer.get("status") or {}, status)
        if not lost:
            self._not_kept.pop(uid, None)
            return
        version = int(answer["metadata"]["resourceVersion"])
        self._not_kept[uid] = (version, status)
        while len(self._not_kept) > REMEMBERED:
            del self._not_kept[next(iter(self._not_kept))]
        log.warning("status.not_kept", kind=kind.kind, key=str(key), fields=sorted(lost))
