"""The kit against a real kube-apiserver that is frozen, killed, restarted or out of reach."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import yaml

from localclouds import Cloud
from pilotage.kube import Key, LeadershipLost, Transient, Unauthorized
from pilotage.kube.client import ApiClient
from pilotage.kube.endpoint import Endpoint, Token, from_kubeconfig
from pilotage.kube.informer import Informer
from pilotage.kube.lease import Elector, Timings
from pilotage.kube.resources import CONFIG_MAPS, LEASES
from pilotage.kube.store import Store
from pilotage.kube.transport import Limits
from pilotage.kube.watch import Selection
from support.gadgets import a_config_map
from support.virtual_time import until

pytestmark = pytest.mark.clouds

QUICK = Limits(connect_s=1.0, read_s=1.0, total_s=3.0)
BACK_S = 60.0


@pytest.fixture
def endpoint(hub: Cloud) -> Endpoint:
    return from_kubeconfig(yaml.safe_load(hub.kubeconfig.read_text()))


@asynccontextmanager
async def following(client: ApiClient, namespace: str) -> AsyncIterator[tuple[Informer, Store]]:
    store = Store()
    selection = Selection(resource=CONFIG_MAPS, namespace=namespace, labels="followed=yes")
    informer = Informer(client, selection, store, silence_s=3.0)
    task = asyncio.create_task(informer.run())
    try:
        await asyncio.wait_for(informer.synced.wait(), BACK_S)
        yield informer, store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def a_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    manifest = a_config_map(name, namespace=namespace, labels={"followed": "yes"})
    return manifest | {"data": data}


async def written(client: ApiClient, manifest: dict[str, Any]) -> None:
    """Write, again and again, until the server has it."""
    async with asyncio.timeout(BACK_S):
        while True:
            try:
                await client.apply(CONFIG_MAPS, manifest)
            except Transient:
                await asyncio.sleep(0.2)
            else:
                return


async def test_a_frozen_server_is_a_timeout_and_is_taken_up_after_its_thaw(
    hub: Cloud, endpoint: Endpoint, namespace: str
) -> None:
    async with ApiClient(endpoint, field_manager="pilotage", limits=QUICK) as client:
        await client.apply(CONFIG_MAPS, a_map(namespace, "before"))
        async with following(client, namespace) as (informer, store):
            with hub.paused("kube-apiserver"):
                with pytest.raises(Transient):
                    await client.get(CONFIG_MAPS, Key(namespace, "before"))
                await until(lambda: informer.error is not None, within_s=20, what="the silence is noticed")
            await written(client, a_map(namespace, "after"))
            await until(lambda: Key(namespace, "after") in store, within_s=BACK_S)

            assert Key(namespace, "before") in store


async def test_a_killed_server_loses_nothing(hub: Cloud, endpoint: Endpoint, namespace: str) -> None:
    async with ApiClient(endpoint, field_manager="pilotage", limits=QUICK) as client:
        for name in ("stays", "goes"):
            await client.apply(CONFIG_MAPS, a_map(namespace, name))
        async with following(client, namespace) as (_, store):
            with hub.stopped("kube-apiserver"), pytest.raises(Transient):
                await client.get(CONFIG_MAPS, Key(namespace, "stays"))
            await written(client, a_map(namespace, "stays", x="1"))
            await client.delete(CONFIG_MAPS, Key(namespace, "goes"))
            await until(lambda: store.keys() == (Key(namespace, "stays"),), within_s=BACK_S, what=str(store.keys()))
            await until(lambda: (store.get(Key(namespace, "stays")) or {}).get("data") == {"x": "1"}, within_s=BACK_S)


async def test_a_wrong_token_is_unauthorized(endpoint: Endpoint) -> None:
    stranger = Endpoint(server=endpoint.server, ca=endpoint.ca, credential=Token(value="nobody"))

    async with ApiClient(stranger, field_manager="pilotage") as client:
        with pytest.raises(Unauthorized):
            await client.get(CONFIG_MAPS, Key("default", "x"))


async def test_paths_that_are_no_resources_are_read(endpoint: Endpoint) -> None:
    async with ApiClient(endpoint, field_manager="pilotage") as client:
        assert await client.raw_get("/readyz") == b"ok"
        assert b'"major": "1"' in await client.raw_get("/version")


async def test_one_of_two_leads_and_the_other_takes_over(endpoint: Endpoint, namespace: str) -> None:
    key, timings = Key(namespace, "pilotage"), Timings(duration_s=3.0, renew_s=2.0, retry_s=0.2)
    async with ApiClient(endpoint, field_manager="pilotage") as client:
        first, second = (Elector(client, key, identity=name, timings=timings) for name in ("first", "second"))
        leading = asyncio.create_task(first.run())
        await asyncio.wait_for(first.acquired.wait(), 10)
        waiting = asyncio.create_task(second.run())
        await asyncio.sleep(1)
        assert (first.valid(), second.valid()) == (True, False)

        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
        await first.release()
        await asyncio.wait_for(second.acquired.wait(), 10)
        assert (first.valid(), second.valid()) == (False, True)
        assert (await client.get(LEASES, key))["spec"]["leaseTransitions"] == 1

        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_leader_whose_server_is_gone_ends(hub: Cloud, endpoint: Endpoint, namespace: str) -> None:
    timings = Timings(duration_s=4.0, renew_s=2.5, retry_s=0.3)
    async with ApiClient(endpoint, field_manager="pilotage", limits=QUICK) as client:
        elector = Elector(client, Key(namespace, "pilotage"), identity="only", timings=timings)
        leading = asyncio.create_task(elector.run())
        await asyncio.wait_for(elector.acquired.wait(), 10)
        with hub.paused("kube-apiserver"):
            with pytest.raises(LeadershipLost):
                await asyncio.wait_for(leading, 15)
            assert not elector.valid()
