"""The cache that agent and gateway see the API through, against a real API server."""

from __future__ import annotations

import asyncio
import gc
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from localclouds import CONTROL_PLANE, Cloud, Clouds
from localclouds.kube import Api, Json, Key, Reflector, Refused, key_of
from support.clouds import kubectl, new_namespace
from support.polling import eventually_async

pytestmark = pytest.mark.xdist_group("node")


@pytest.fixture(scope="module")
def server(start_clouds: Callable[..., Clouds]) -> Cloud:
    """An API server that may be killed."""
    return start_clouds(names=["hub"], components=CONTROL_PLANE)["hub"]


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """Collect connections whose server was killed in the middle of their handshake.

    asyncio leaves them open, and their ResourceWarning would be blamed on whatever test runs when they are found.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def space(server: Cloud) -> str:
    """A namespace."""
    return new_namespace(server)


@asynccontextmanager
async def following(
    server: Cloud, namespace: str, known: Reflector | None = None
) -> AsyncIterator[tuple[Reflector, list[tuple[str, bool]]]]:
    """A reflector of the namespace's ConfigMaps while the block lasts, and what it told."""
    told: list[tuple[str, bool]] = []

    def on_change(obj: Json, gone: bool) -> None:
        told.append((key_of(obj).name, gone))

    path = f"/api/v1/namespaces/{namespace}/configmaps"
    async with Api(Path(server.facts.identities["admin"].kubeconfig)) as api:
        reflector = Reflector(api, path, on_change=on_change)
        if known is not None:
            reflector.items.update(known.items)
            reflector._version = known._version
        task = asyncio.create_task(reflector.run())
        try:
            yield reflector, told
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def do(server: Cloud, namespace: str, *arguments: str) -> None:
    await asyncio.to_thread(kubectl, server, "-n", namespace, *arguments)


async def test_it_follows_what_happens(server: Cloud, space: str) -> None:
    await do(server, space, "create", "configmap", "a")
    async with following(server, space) as (reflector, told):
        async with asyncio.timeout(10):
            await reflector.synced.wait()
        assert set(reflector.items) == {Key(space, "a")}
        await do(server, space, "create", "configmap", "b")
        await do(server, space, "patch", "configmap", "a", "-p", json.dumps({"data": {"x": "1"}}))
        await do(server, space, "delete", "configmap", "b")
        await eventually_async(lambda: told[-1:] == [("b", True)])
        assert told == [("a", False), ("b", False), ("a", False), ("b", True)]
        assert reflector.items[Key(space, "a")]["data"] == {"x": "1"}


async def test_it_goes_on_after_the_server_was_killed(server: Cloud, space: str) -> None:
    async with following(server, space) as (reflector, told):
        async with asyncio.timeout(10):
            await reflector.synced.wait()
        await asyncio.to_thread(server.kill, "kube-apiserver")
        await asyncio.to_thread(server.await_ready, "kube-apiserver")
        await do(server, space, "create", "configmap", "late")
        await eventually_async(lambda: told == [("late", False)], within_s=20)


async def test_what_vanished_while_nobody_looked_is_told_after_a_relist(server: Cloud, space: str) -> None:
    for name in ("stays", "goes", "comes-again"):
        await do(server, space, "create", "configmap", name)
    async with following(server, space) as (before, _):
        async with asyncio.timeout(10):
            await before.synced.wait()
    await do(server, space, "delete", "configmap", "goes", "comes-again")
    await do(server, space, "create", "configmap", "comes-again")
    # A new server remembers no events: the version asked for is too old, and only a list can help.
    await asyncio.to_thread(server.restart, "kube-apiserver")

    async with following(server, space, before) as (reflector, told):
        await eventually_async(lambda: len(told) >= 3, within_s=20)
        assert told[:3] == [("goes", True), ("comes-again", True), ("comes-again", False)]
        assert {key.name for key in reflector.items} == {"stays", "comes-again"}


async def test_a_kind_that_comes_later_is_empty_until_then(server: Cloud) -> None:
    async with Api(Path(server.facts.identities["admin"].kubeconfig)) as api:
        reflector = Reflector(api, "/apis/example.com/v1/nothings", missing_ok=True)
        task = asyncio.create_task(reflector.run())
        async with asyncio.timeout(10):
            await reflector.synced.wait()
        assert reflector.items == {}
        task.cancel()


async def test_a_refusal_says_what_the_server_said(server: Cloud, space: str) -> None:
    async with Api(Path(server.facts.identities["admin"].kubeconfig)) as api:
        with pytest.raises(Refused, match='configmaps "nothing" not found') as refused:
            await api.get(f"/api/v1/namespaces/{space}/configmaps/nothing")
    assert (refused.value.status, refused.value.reason) == (404, "NotFound")
