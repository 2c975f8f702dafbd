"""`/livez`, `/readyz` and `/metrics` on one port. Knows three callables, nothing of what they measure.

Live means that the event loop turns: a heartbeat not older than 10 s. Ready means that the hub's objects are in the
cache; a standby is ready too. Both say in words what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from aiohttp import web

HEARTBEAT_S = 1.0
HEARTBEAT_MAX_AGE_S = 10.0
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

log = structlog.get_logger(__name__)


class Heartbeat:
    """Beats once a second on the loop; `lag_s` is by how much the last beat came late."""

    def __init__(self, on_beat: Callable[[float], None] = lambda _lag_s: None) -> None:
        self._last = asyncio.get_running_loop().time()
        self._on_beat = on_beat

    @property
    def age_s(self) -> float:
        """Seconds since the last beat."""
        return asyncio.get_running_loop().time() - self._last

    async def run(self) -> None:
        """Owns: nothing. Ends: when cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            now = loop.time()
            self._on_beat(max(0.0, now - self._last - HEARTBEAT_S))
            self._last = now


class WebServer:
    """The three pages. `missing` returns what readiness waits for, `expose` the metrics as text."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        age_s: Callable[[], float],
        missing: Callable[[], str],
        expose: Callable[[], bytes],
    ) -> None:
        self._host, self._port = host, port
        self._age_s, self._missing, self._expose = age_s, missing, expose
        self.addresses: tuple[tuple[str, int], ...] = ()

    async def run(self) -> None:
        """Serve. Owns: the listening socket. Ends: when cancelled. Fatal: the port is taken."""
        site = web.Application()
        site.add_routes(
            [web.get("/livez", self._livez), web.get("/readyz", self._readyz), web.get("/metrics", self._metrics)]
        )
        runner = web.AppRunner(site, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
            self.addresses = tuple((address[0], address[1]) for address in runner.addresses)
            log.info("web.listening", addresses=[f"{host}:{port}" for host, port in self.addresses])
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        age_s = self._age_s()
        alive = age_s < HEARTBEAT_MAX_AGE_S
        return web.Response(text="ok\n" if alive else f"no heartbeat for {age_s:.0f} s\n", status=200 if alive else 503)

    async def _readyz(self, _request: web.Request) -> web.Response:
        missing = self._missing()
        return web.Response(text=f"waiting for {missing}\n" if missing else "ok\n", status=503 if missing else 200)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._expose(), headers={"Content-Type": METRICS_TYPE})
