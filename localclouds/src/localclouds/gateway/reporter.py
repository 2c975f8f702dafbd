"""Writes the status of routes and gateways. Level-triggered: it compares what is reported with what is, and
writes the difference.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from localclouds.gateway import status
from localclouds.gateway.status import GROUP, Ours
from localclouds.kube import Api, ApiFailure, Conflict, Json, Key, NotFound, key_of
from localclouds.kube.client import MERGE

_log = logging.getLogger(__name__)

_RETRY_S = 1.0
BASE = f"/apis/{GROUP}/v1"


class Reporter:
    """Keeps statuses right. The mappings are live; `changed` says when to look."""

    def __init__(
        self,
        api: Api,
        controller: str,
        address: str,
        *,
        classes: Mapping[Key, Json],
        gateways: Mapping[Key, Json],
        routes: Mapping[Key, Json],
        services: Mapping[Key, Json],
    ) -> None:
        self._api = api
        self._controller = controller
        self._address = address
        self._classes = classes
        self._gateways = gateways
        self._routes = routes
        self._services = services
        self._dirty = asyncio.Event()

    def changed(self) -> None:
        """Something may have to be reported."""
        self._dirty.set()

    def ours(self) -> Ours:
        """Our Gateways, by what their classes say now."""
        names = {key.name for key, obj in self._classes.items() if self._is_ours(obj)}
        mine = {key: obj for key, obj in self._gateways.items() if obj["spec"]["gatewayClassName"] in names}
        return Ours(controller=self._controller, gateways=mine)

    def served_routes(self) -> Iterable[Json]:
        """The routes that one of our Gateways accepted."""
        ours = self.ours()
        return [route for route in self._routes.values() if status.attached(route, ours)]

    async def run(self) -> None:
        """Write statuses.

        Owns: our entries in them. Ends: when cancelled. Retried: every failure, at the next change or soon.
        Fatal: none.
        """
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._report()
            except (Conflict, NotFound):
                # Ours was an old state; the watch brings the new one, and `changed` with it.
                continue
            except ApiFailure as error:
                _log.info("gateway.status_not_written error=%s", error)
                await asyncio.sleep(_RETRY_S)
                self._dirty.set()

    async def _report(self) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ours = self.ours()
        for key, obj in list(self._classes.items()):
            if self._is_ours(obj):
                await self._write(obj, f"{BASE}/gatewayclasses/{key.name}", status.class_status(obj, now))
        routes = list(self._routes.values())
        for key, obj in list(ours.gateways.items()):
            found = status.gateway_status(obj, routes, ours, self._address, now)
            await self._write(obj, f"{BASE}/namespaces/{key.namespace}/gateways/{key.name}", found)
        for obj in routes:
            parents = status.route_parents(obj, ours, self._services, now)
            key = key_of(obj)
            body = None if parents is None else {"parents": parents}
            await self._write(obj, f"{BASE}/namespaces/{key.namespace}/httproutes/{key.name}", body)

    async def _write(self, obj: Json, path: str, body: Json | None) -> None:
        if body is None:
            return
        guard = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        await self._api.patch(f"{path}/status", {"metadata": guard, "status": body}, MERGE)

    def _is_ours(self, gateway_class: Json) -> bool:
        return bool(gateway_class["spec"].get("controllerName") == self._controller)
