"""What a watch tells: the same claims about the simulator and about a real kube-apiserver."""

import asyncio
from contextlib import aclosing
from typing import Any, cast

import pytest

from pilotage.kube import Deleted, Gone, Key, Resource, Upserted, version_of
from pilotage.kube.client import ApiClient
from pilotage.kube.endpoint import Endpoint
from pilotage.kube.informer import Informer
from pilotage.kube.resources import CONFIG_MAPS
from pilotage.kube.store import Store
from pilotage.kube.watch import Listed, Selection, version_after, watch
from support.conformance import Subject, Watching
from support.gadgets import GADGETS
from support.virtual_time import until


async def _version(subject: Subject, resource: Resource = GADGETS) -> str:
    return (await subject.api.list(resource, namespace=subject.namespace)).version


async def test_tells_of_creation_change_and_deletion_in_order(subject: Subject) -> None:
    version = await _version(subject)

    async with Watching(subject, GADGETS, version=version) as events:
        made = await subject.api.create(GADGETS, subject.gadget(size=1))
        changed = await subject.api.merge_patch(GADGETS, subject.key(), {"spec": {"size": 2}})
        await subject.api.delete(GADGETS, subject.key())
        first, second, third = [await events.next() for _ in range(3)]

    assert isinstance(first, Upserted)
    assert isinstance(second, Upserted)
    assert isinstance(third, Deleted)
    assert [version_of(first.object), version_of(second.object)] == [version_of(made), version_of(changed)]
    assert version_of(third.object) > version_of(changed)
    assert third.object["spec"] == changed["spec"]


async def test_starts_right_after_its_version(subject: Subject) -> None:
    first = await subject.api.create(GADGETS, subject.gadget("a"))
    await subject.api.create(GADGETS, subject.gadget("b"))

    async with Watching(subject, GADGETS, version=first["metadata"]["resourceVersion"]) as events:
        event = await events.next()

    assert isinstance(event, Upserted)
    assert Key.of(event.object) == subject.key("b")


async def test_leaves_managed_fields_out(subject: Subject) -> None:
    version = await _version(subject)

    async with Watching(subject, GADGETS, version=version) as events:
        await subject.api.create(GADGETS, subject.gadget())
        event = await events.next()

    assert isinstance(event, Upserted)
    assert "managedFields" not in event.object["metadata"]
    assert event.object["kind"] == "Gadget"


async def test_leaving_the_selection_is_a_deletion_and_entering_it_an_addition(subject: Subject) -> None:
    manifest = subject.gadget()
    manifest["metadata"]["labels"] = {"tier": "web"}
    await subject.api.create(GADGETS, manifest)
    version = await _version(subject)

    async with Watching(subject, GADGETS, version=version, labels="tier=web") as events:
        left = await subject.api.merge_patch(GADGETS, subject.key(), {"metadata": {"labels": {"tier": "db"}}})
        await subject.api.merge_patch(GADGETS, subject.key(), {"spec": {"size": 7}})
        back = await subject.api.merge_patch(GADGETS, subject.key(), {"metadata": {"labels": {"tier": "web"}}})
        first, second = await events.next(), await events.next()

    assert isinstance(first, Deleted)
    assert version_of(first.object) == version_of(left)
    assert isinstance(second, Upserted)
    assert version_of(second.object) == version_of(back)


async def test_tells_nothing_of_other_namespaces_and_kinds(subject: Subject) -> None:
    version = await _version(subject)

    async with Watching(subject, GADGETS, version=version) as events:
        await subject.api.create(CONFIG_MAPS, subject.config_map())
        await subject.api.create(CONFIG_MAPS, subject.config_map("x") | _in("default", f"x-{subject.namespace}"))
        await subject.api.delete(CONFIG_MAPS, Key("default", f"x-{subject.namespace}"))
        await subject.api.create(GADGETS, subject.gadget("last"))
        event = await events.next()

    assert isinstance(event, Upserted)
    assert Key.of(event.object) == subject.key("last")


async def test_a_held_deletion_is_a_change_and_its_release_a_deletion(subject: Subject) -> None:
    manifest = subject.gadget()
    manifest["metadata"]["finalizers"] = ["pilotage.dev/cleanup"]
    await subject.api.create(GADGETS, manifest)
    version = await _version(subject)

    async with Watching(subject, GADGETS, version=version) as events:
        await subject.api.delete(GADGETS, subject.key())
        held = await events.next()
        await subject.api.merge_patch(GADGETS, subject.key(), {"metadata": {"finalizers": None}})
        gone = await events.next()

    assert isinstance(held, Upserted)
    assert held.object["metadata"]["deletionTimestamp"]
    assert isinstance(gone, Deleted)


async def test_a_version_that_is_forgotten_is_gone(subject: Subject) -> None:
    await subject.api.create(GADGETS, subject.gadget())
    if subject.forget is not None:
        subject.forget()

    with pytest.raises(Gone):
        async with Watching(subject, GADGETS, version="1") as events:
            await events.next()


async def test_list_and_watch_are_one_stream_that_can_be_taken_up_again(subject: Subject) -> None:
    await subject.api.create(GADGETS, subject.gadget("a"))
    selection = Selection(resource=GADGETS, namespace=subject.namespace)

    async with aclosing(cast(Any, watch(subject.api, selection))) as facts:
        listed = await anext(facts)
    await subject.api.create(GADGETS, subject.gadget("b"))
    async with aclosing(cast(Any, watch(subject.api, selection, version=version_after(listed)))) as facts:
        resumed = await anext(facts)

    assert isinstance(listed, Listed)
    assert set(listed.objects) == {subject.key("a")}
    assert isinstance(resumed, Upserted)
    assert Key.of(resumed.object) == subject.key("b")


async def test_an_informer_follows(subject: Subject) -> None:
    await subject.api.create(GADGETS, subject.gadget("a", size=1))
    store = Store()
    informer = Informer(subject.api, Selection(resource=GADGETS, namespace=subject.namespace), store)
    task = asyncio.create_task(informer.run())
    try:
        await asyncio.wait_for(informer.synced.wait(), 10)
        listed = store.keys()
        await subject.api.create(GADGETS, subject.gadget("b"))
        await subject.api.merge_patch(GADGETS, subject.key("b"), {"spec": {"size": 5}})
        await subject.api.delete(GADGETS, subject.key("a"))
        await until(lambda: store.keys() == (subject.key("b"),), within_s=10, what=str(store.keys()))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert listed == (subject.key("a"),)
    found = store.get(subject.key("b"))
    assert found is not None
    assert found["spec"]["size"] == 5


@pytest.mark.clouds
async def test_long_lists_are_read_in_pages(real_endpoint: Endpoint) -> None:
    async with ApiClient(real_endpoint, field_manager="pilotage", page=3) as client:
        names = [f"page-{number}" for number in range(7)]
        for name in names:
            await client.apply(
                CONFIG_MAPS,
                {"apiVersion": "v1", "kind": "ConfigMap", **_in("default", name, {"paged": "yes"})},
            )

        listing = await client.list(CONFIG_MAPS, namespace="default", labels="paged=yes")
        keys = await client.list_keys(CONFIG_MAPS, namespace="default", labels="paged=yes")

    assert [item["metadata"]["name"] for item in listing.items] == names
    assert {key.name for key in keys.versions} == set(names)
    assert all(item["kind"] == "ConfigMap" for item in listing.items)


def _in(namespace: str, name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels or {}}}
