"""Events about pods, as `kubectl describe pod` shows them. Best effort: an event that cannot be written is
lost, and nothing waits.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime

from localclouds.kube import Api, ApiFailure, Json

# The same event of the same pod is told again after this long at the earliest.
_QUIET_S = 60.0
_MOST_REMEMBERED = 2000
_MOST_MESSAGE = 1000


class Events:
    """Writes events. Owns the requests under way; `close` drops them."""

    def __init__(self, api: Api, node_name: str) -> None:
        self._api = api
        self._node_name = node_name
        self._told: dict[tuple[str, str, str], float] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def tell(self, pod: Json, kind: str, reason: str, message: str) -> None:
        """Tell that something happened to the pod; `kind` is Normal or Warning."""
        metadata = pod["metadata"]
        now = asyncio.get_running_loop().time()
        key = (metadata["uid"], reason, message)
        if now - self._told.get(key, -_QUIET_S) < _QUIET_S:
            return
        if len(self._told) >= _MOST_REMEMBERED:
            self._told.clear()
        self._told[key] = now
        task = asyncio.create_task(self._write(metadata, kind, reason, message[:_MOST_MESSAGE]))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def close(self) -> None:
        """Drop what is not written yet."""
        for task in self._writing:
            task.cancel()

    async def _write(self, metadata: Json, kind: str, reason: str, message: str) -> None:
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        namespace = metadata["namespace"]
        event: Json = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{secrets.token_hex(8)}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": metadata["name"],
                "namespace": namespace,
                "uid": metadata["uid"],
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": "localclouds-node", "host": self._node_name},
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        try:
            await self._api.create(f"/api/v1/namespaces/{namespace}/events", event)
        except ApiFailure:
            return
