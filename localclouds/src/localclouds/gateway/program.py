"""The gateway put together: watches, table, listener, admin port, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from aiohttp import web

from localclouds.bootstrap import GATEWAY_CONTROLLER
from localclouds.gateway.client import IDLE_S, ClientConnection
from localclouds.gateway.exchange import ANSWER_S, Core
from localclouds.gateway.metrics import Metrics
from localclouds.gateway.reporter import BASE, Reporter
from localclouds.gateway.table import Table
from localclouds.gateway.upstream import Pool
from localclouds.kube import Api, Json, Reflector, is_ready, is_terminating
from localclouds.state import Facts

_log = logging.getLogger(__name__)

_SWEEP_S = 1.0
# The supervisor kills a gateway a second after it asked it to stop.
_DRAIN_S = 0.8


class Gateway:
    """One cloud's gateway."""

    def __init__(self, facts: Facts, api: Api) -> None:
        self._facts = facts
        self._connections: set[ClientConnection] = set()
        self._classes = Reflector(api, f"{BASE}/gatewayclasses", on_change=self._changed, missing_ok=True)
        self._gateways = Reflector(api, f"{BASE}/gateways", on_change=self._changed, missing_ok=True)
        self._routes = Reflector(api, f"{BASE}/httproutes", on_change=self._changed, missing_ok=True)
        self._services = Reflector(api, "/api/v1/services", on_change=self._changed)
        self._pods = Reflector(api, "/api/v1/pods", on_change=self._pod_changed)
        self._reporter = Reporter(
            api,
            GATEWAY_CONTROLLER,
            facts.gateway_address.host,
            classes=self._classes.items,
            gateways=self._gateways.items,
            routes=self._routes.items,
            services=self._services.items,
        )
        table = Table(self._reporter.served_routes, self._services.items, self._pods.items)
        self._core = Core(table=table, pool=Pool(), metrics=Metrics())

    async def run(self, stopped: asyncio.Event) -> None:
        """Serve until `stopped`.

        Owns: listener, connections, watches. Ends: when `stopped` is set, after requests under way or a
        moment. Retried: within each. Fatal: an address that is taken.
        """
        reflectors = (self._classes, self._gateways, self._routes, self._services, self._pods)
        admin = await self._serve_admin()
        try:
            async with asyncio.TaskGroup() as parts:
                tasks = [parts.create_task(reflector.run()) for reflector in reflectors]
                # A gateway that knows no pods yet would answer 503 where a moment later it need not.
                for reflector in reflectors:
                    await reflector.synced.wait()
                tasks.append(parts.create_task(self._reporter.run()))
                tasks.append(parts.create_task(self._sweep()))
                await self._serve(stopped)
                for task in tasks:
                    task.cancel()
        finally:
            await admin.cleanup()

    async def _serve(self, stopped: asyncio.Event) -> None:
        address = self._facts.gateway_address
        server = await asyncio.get_running_loop().create_server(
            lambda: ClientConnection(self._core, self._connections), address.host, address.port, backlog=1024
        )
        _log.info("gateway.serving url=%s", self._facts.gateway)
        await stopped.wait()
        server.close()
        self._core.is_draining = True
        for connection in list(self._connections):
            connection.close_if_idle()
        end = asyncio.get_running_loop().time() + _DRAIN_S
        while self._core.active and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110  (a second at most)
            await asyncio.sleep(0.02)

    async def _sweep(self) -> None:
        """Once a second: time out exchanges, close idle connections.

        Owns: nothing. Ends: when cancelled. Retried, Fatal: nothing.
        """
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = asyncio.get_running_loop().time()
            self._core.pool.sweep()
            for exchange in [e for e in self._core.active if e.last_progress < now - ANSWER_S]:
                exchange.time_out()
            for connection in list(self._connections):
                connection.close_if_idle(now - IDLE_S)

    def _changed(self, _obj: Json, _gone: bool) -> None:
        self._core.table.changed()
        self._reporter.changed()

    def _pod_changed(self, pod: Json, gone: bool) -> None:
        self._core.table.changed()
        host = pod.get("status", {}).get("podIP")
        if host:
            self._core.pool.set_live(host, not gone and is_ready(pod) and not is_terminating(pod))

    async def _serve_admin(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._health)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        address = self._facts.gateway_admin_address
        await web.TCPSite(runner, address.host, address.port).start()
        return runner

    async def _metrics(self, _request: web.Request) -> web.Response:
        core = self._core
        gauges = {
            "gateway_requests_in_flight": float(len(core.active)),
            "gateway_client_connections": float(len(self._connections)),
            "gateway_upstream_connections_idle": float(core.pool.idle),
            "gateway_upstream_connects": float(core.pool.connects),
        }
        return web.Response(text=core.metrics.text(gauges), content_type="text/plain")

    async def _health(self, _request: web.Request) -> web.Response:
        synced = self._pods.synced.is_set() and self._services.synced.is_set() and self._routes.synced.is_set()
        return web.Response(text="ok" if synced else "not synced", status=200 if synced else 503)


async def run_gateway(facts: Facts, stopped: asyncio.Event) -> None:
    """Run the gateway of a cloud until `stopped`."""
    async with Api(Path(facts.identities["gateway"].kubeconfig)) as api:
        await Gateway(facts, api).run(stopped)
