"""The real world around an `Operator`: sockets, kopf, the machine's clocks, the web server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import structlog
import yaml

from pilotage.api.names import FIELD_MANAGER
from pilotage.app import CannotStart, Operator, Stop, World
from pilotage.engine.prometheus import Prometheus
from pilotage.engine.proxied import ApiOf
from pilotage.evidence import Fetch
from pilotage.fleet.skew import Skews, skew_of
from pilotage.hub.handlers import run_kopf
from pilotage.hub.secrets import Secrets
from pilotage.hub.store import HubStore
from pilotage.kube import Api, EndpointRefused, SystemClock
from pilotage.kube.client import ApiClient
from pilotage.kube.endpoint import Endpoint, from_kubeconfig, in_cluster
from pilotage.kube.transport import Call, Observer
from pilotage.metrics import Metrics
from pilotage.settings import Settings
from pilotage.web import Heartbeat, WebServer

HUB = "hub"

log = structlog.get_logger(__name__)


def hub_endpoint(settings: Settings) -> Endpoint:
    """Where the hub is: a kubeconfig if one is named, else the pod's service account. Raises CannotStart."""
    try:
        if not settings.kubeconfig:
            return in_cluster()
        document = yaml.safe_load(Path(settings.kubeconfig).read_text())
        return from_kubeconfig(document, context=settings.context)
    except (EndpointRefused, OSError, yaml.YAMLError) as error:
        raise CannotStart(f"cannot reach the hub: {error}") from None


async def run(settings: Settings) -> None:
    """One replica, from first connection to last. Fatal: what `Operator.run` says."""
    endpoint, metrics, clock = hub_endpoint(settings), Metrics(), SystemClock()
    skews = Skews()
    fetchers: list[Prometheus] = []

    def make_fetch(store: HubStore, secrets: Secrets, api_of: ApiOf) -> Fetch:
        fetchers.append(Prometheus(store.members, secrets, api_of))
        return fetchers[0].fetch

    async def feed(store: HubStore, stop: Stop) -> None:
        await run_kopf(endpoint, store, stop=stop)

    hub = ApiClient(endpoint, field_manager=FIELD_MANAGER, observer=_observer(HUB, metrics, None, clock))
    world = World(
        hub=hub,
        connect=_connector(metrics, skews, clock),
        feed=feed,
        make_fetch=make_fetch,
        clock=clock,
        skew_s=skews.of,
    )
    operator = Operator(settings, world, metrics)
    heartbeat = Heartbeat(metrics.set_lag)
    host, _, port = settings.listen.rpartition(":")
    web = WebServer(
        host=host, port=int(port), age_s=lambda: heartbeat.age_s, missing=operator.missing, expose=metrics.expose
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            around = [tasks.create_task(heartbeat.run()), tasks.create_task(web.run(), name="web")]
            await operator.run()
            for task in around:
                task.cancel()
    finally:
        for fetcher in fetchers:
            await fetcher.close()
        await hub.close()


def _connector(
    metrics: Metrics, skews: Skews, clock: SystemClock
) -> Callable[[str, Endpoint], AbstractAsyncContextManager[Api]]:
    @asynccontextmanager
    async def connect(name: str, endpoint: Endpoint) -> AsyncIterator[Api]:
        observer = _observer(name, metrics, skews, clock)
        async with ApiClient(endpoint, field_manager=FIELD_MANAGER, observer=observer) as api:
            yield api

    return connect


def _observer(member: str, metrics: Metrics, skews: Skews | None, clock: SystemClock) -> Observer:
    """Counts every finished call of one cluster, and reads the other side's clock off it."""

    def observe(call: Call) -> None:
        metrics.count_request(member, call.method.lower(), call.code)
        if skews is not None and call.date:
            answered_at = clock.now()
            asked_at = answered_at - timedelta(seconds=call.seconds)
            skews.note(member, skew_of(call.date, asked_at=asked_at, answered_at=answered_at))

    return observe
