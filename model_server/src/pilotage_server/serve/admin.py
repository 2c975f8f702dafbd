"""The admin plane.

Metrics and health on their own port, so that probes and scrapes never queue behind clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from pilotage_server.serve.body import Receive
from pilotage_server.serve.lifecycle import Lifecycle, Phase
from pilotage_server.serve.pages import live, ready
from pilotage_server.serve.replies import Reply, error_body

Send = Callable[[Any], Awaitable[None]]


class AdminApp:
    """Answers on the admin port."""

    def __init__(self, registry: CollectorRegistry, lifecycle: Lifecycle) -> None:
        self._registry = registry
        self._lifecycle = lifecycle
        self._pages: dict[str, Callable[[Lifecycle], Reply]] = {"/v2/health/live": live, "/v2/health/ready": ready}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3, http only)."""
        path = scope["path"]
        shows_all = self._lifecycle.phase is Phase.DRAINED
        status, headers, body = await self._answer(scope["method"], path)
        sent = [*headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": body})
        if path == "/metrics" and shows_all:
            self._lifecycle.scraped.set()

    async def _answer(self, method: str, path: str) -> Reply:
        if method not in ("GET", "HEAD"):
            return 405, ((b"allow", b"GET, HEAD"),), error_body(f"{path[:128]}: use GET")
        if path == "/metrics":
            return await self._metrics()
        if path in self._pages:
            return self._pages[path](self._lifecycle)
        return 404, (), error_body(f"{path[:128]}: nothing here; try /metrics or /v2/health/ready")

    async def _metrics(self) -> Reply:
        # A matrix of 50 × 50 classes takes 33 ms to render: not on the event loop.
        body = await asyncio.to_thread(generate_latest, self._registry)
        return 200, ((b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode()),), body
