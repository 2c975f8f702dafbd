"""What a conformance test is given: one cluster, simulated or real, and nothing that tells which."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from localclouds import gatewayapi
from pilotage.kube import Alive, Api, Key, NotFound, Resource, WatchEvent
from pilotage.kube import resources as r
from pilotage.kube.client import ApiClient
from pilotage.kube.endpoint import Endpoint
from support import gadgets
from support.apisim import ApiSim
from support.apisim.crd import kind_of_crd


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Two clients (field managers `pilotage` and `other`) and a namespace. `forget` compacts, where it can be asked."""

    api: Api
    other: Api
    namespace: str
    forget: Callable[[], None] | None

    def key(self, name: str = "one") -> Key:
        return Key(self.namespace, name)

    def gadget(self, name: str = "one", **spec: Any) -> dict[str, Any]:
        return gadgets.a_gadget(name, namespace=self.namespace, **spec)

    def config_map(self, name: str = "one", **data: Any) -> dict[str, Any]:
        return gadgets.a_config_map(name, namespace=self.namespace, **data)

    def deployment(self, name: str = "one", **given: Any) -> dict[str, Any]:
        return gadgets.a_deployment(name, namespace=self.namespace, **given)

    def examples(self) -> list[tuple[Resource, dict[str, Any]]]:
        """Return one object of every kind that the operator writes into members."""
        here = self.namespace
        return [
            (r.DEPLOYMENTS, gadgets.a_deployment(namespace=here, env={"A": "1"})),
            (r.STATEFUL_SETS, gadgets.a_stateful_set(namespace=here)),
            (r.SERVICES, gadgets.a_service(namespace=here)),
            (r.CONFIG_MAPS, gadgets.a_config_map(namespace=here, labels={"a": "b"}, key="value")),
            (r.HTTP_ROUTES, gadgets.a_route(namespace=here)),
        ]


class Watching:
    """A watch from a version on, as an async context manager; `next` leaves bookmarks out."""

    def __init__(self, subject: Subject, resource: Resource, *, version: str, labels: str = "") -> None:
        events = subject.api.watch(resource, version=version, namespace=subject.namespace, labels=labels, silence_s=20)
        self._events = cast(AsyncGenerator[WatchEvent, None], events)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Watching":
        await self._stack.enter_async_context(aclosing(self._events))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def next(self) -> WatchEvent:
        while isinstance(event := await anext(self._events), Alive):
            continue
        return event


def simulated() -> Subject:
    """Return a fresh simulated cluster."""
    sim = ApiSim(latency_s=0.0)
    sim.serve(kind_of_crd(gadgets.GADGET_CRD))
    return Subject(api=sim.client("pilotage"), other=sim.client("other"), namespace="test", forget=sim.state.compact)


@asynccontextmanager
async def served(endpoint: Endpoint) -> AsyncIterator[Subject]:
    """Give a new namespace of the real cluster."""
    namespace = f"test-{uuid.uuid4().hex[:10]}"
    async with (
        ApiClient(endpoint, field_manager="pilotage") as api,
        ApiClient(endpoint, field_manager="other") as other,
    ):
        await _install_kinds(api)
        await api.create(r.NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        yield Subject(api=api, other=other, namespace=namespace, forget=None)


async def _install_kinds(api: Api) -> None:
    await _install(api, gadgets.GADGETS, gadgets.GADGET_CRD)
    standard = json.loads(gatewayapi.ensure().read_text())
    route_crd = next(o for o in standard if o["metadata"]["name"].startswith("httproutes."))
    await _install(api, r.HTTP_ROUTES, route_crd)


async def _install(api: Api, resource: Resource, crd: dict[str, Any]) -> None:
    try:
        await api.list(resource)
    except NotFound:
        await api.apply(r.CRDS, crd)
    async with asyncio.timeout(20):
        while True:
            try:
                await api.list(resource)
            except NotFound:
                await asyncio.sleep(0.05)
            else:
                return
