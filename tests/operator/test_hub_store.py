"""The hub's cache: newest wins, echoes are no news, the dead stay dead, and the key list proves completeness."""

import asyncio
from typing import Any

import pytest

from pilotage.hub.feed import follow_hub
from pilotage.hub.keys import BlindWatch, KeyList
from pilotage.hub.kinds import KINDS, MODEL_DEPLOYMENTS, MODEL_REVISIONS
from pilotage.hub.store import HubStore
from pilotage.kube import Key, Resource
from support.apisim import ApiSim
from support.apisim.kinds import custom
from support.virtual_time import VirtualClock, virtually

KEY = Key("models", "digits")


def an_object(version: int, **metadata: Any) -> dict[str, Any]:
    facts = {"name": "digits", "namespace": "models", "uid": "u1", "generation": 1, "resourceVersion": str(version)}
    return {"metadata": facts | metadata, "spec": {}}


class Heard:
    """A store and what its listener was told."""

    def __init__(self) -> None:
        self.store = HubStore()
        self.news: list[tuple[Key, bool]] = []
        self.store.listen(lambda _kind, key, listed: self.news.append((key, listed)))

    def version(self) -> int | None:
        entry = self.store.entry(MODEL_DEPLOYMENTS, KEY)
        return entry.version if entry else None


def test_the_echo_of_a_status_write_is_no_news() -> None:
    heard = Heard()
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(5))
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(6) | {"status": {"phase": "Healthy"}})
    assert heard.news == [(KEY, False)]
    assert heard.version() == 6


@pytest.mark.parametrize("change", [{"generation": 2}, {"annotations": {"a": "b"}}, {"labels": {"a": "b"}}], ids=str)
def test_what_a_person_changed_is_news(change: dict[str, Any]) -> None:
    heard = Heard()
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(5))
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(6, **change))
    assert len(heard.news) == 2


def test_a_late_event_does_not_undo_our_own_write() -> None:
    heard = Heard()
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(5))
    heard.store.write_through(MODEL_DEPLOYMENTS, an_object(9))
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(7, generation=2))
    assert heard.version() == 9


def test_what_was_deleted_does_not_come_back_by_a_late_answer() -> None:
    heard = Heard()
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(5))
    heard.store.remove(MODEL_DEPLOYMENTS, an_object(8))
    heard.store.write_through(MODEL_DEPLOYMENTS, an_object(7))
    assert heard.version() is None


def test_a_new_object_of_the_same_name_replaces_a_deleted_one() -> None:
    heard = Heard()
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(5))
    heard.store.remove(MODEL_DEPLOYMENTS, an_object(8))
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(3, uid="u2"))
    assert heard.version() == 3


def test_a_late_deletion_of_a_namesake_leaves_the_new_object() -> None:
    heard = Heard()
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(5, uid="u2"))
    heard.store.remove(MODEL_DEPLOYMENTS, an_object(8, uid="u1"))
    assert heard.version() == 5


def test_removing_the_last_finalizer_of_a_deleted_object_ends_it() -> None:
    heard = Heard()
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(5, finalizers=["pilotage.dev/cleanup"]))
    heard.store.write_through(MODEL_DEPLOYMENTS, an_object(6, deletionTimestamp="2026-01-01T00:00:00Z"))
    assert heard.version() is None


def test_namespaces_go_with_their_last_deployment() -> None:
    heard = Heard()
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(5))
    heard.store.upsert(MODEL_DEPLOYMENTS, an_object(6, name="faces", uid="u2"))
    heard.store.remove(MODEL_DEPLOYMENTS, an_object(7))
    assert heard.store.namespaces() == {"models"}
    heard.store.remove(MODEL_DEPLOYMENTS, an_object(8, name="faces", uid="u2"))
    assert heard.store.namespaces() == frozenset()


# ------------------------------------------------------------------------------------------------------------ key list


class Hub:
    """A simulated hub, a store fed from it, and the key list that watches the store."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.sim = ApiSim("hub", wall=self.clock.now)
        for kind in KINDS:
            self.sim.serve(custom(kind))
        self.store = HubStore()
        self.keys = KeyList(self.sim.client(), self.store, self.clock, interval_s=300)

    def feed(self, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        return tasks.create_task(
            follow_hub(self.sim.client(), self.store, clock=self.clock, jitter=lambda: 0.5), name="feed"
        )

    def add(self, name: str, kind: Resource = MODEL_DEPLOYMENTS) -> None:
        manifest = {"apiVersion": kind.api_version, "kind": kind.kind, "spec": {}}
        self.sim.state.create(kind, manifest | {"metadata": {"name": name, "namespace": "models"}}, manager="t")


@virtually
async def test_synced_means_that_the_store_holds_all_of_the_hub() -> None:
    hub = Hub()
    for number in range(30):
        hub.add(f"d{number}")
    async with asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(hub.keys.run())]
        await asyncio.sleep(3)
        assert not hub.keys.synced.is_set()
        watching.append(hub.feed(tasks))
        async with asyncio.timeout(20):
            await hub.keys.synced.wait()
        assert len(hub.store.deployments()) == 30
        for task in watching:
            task.cancel()


@virtually
async def test_what_vanished_unheard_is_dropped_and_told() -> None:
    hub = Hub()
    hub.add("digits")
    news: list[Key] = []
    async with asyncio.TaskGroup() as tasks:
        watching = [hub.feed(tasks), tasks.create_task(hub.keys.run())]
        await hub.keys.synced.wait()
        watching[0].cancel()
        hub.store.listen(lambda _kind, key, _listed: news.append(key))
        hub.sim.state.delete(MODEL_DEPLOYMENTS, KEY)
        await asyncio.sleep(310)
        assert news == [KEY]
        assert hub.store.deployment(KEY) is None
        watching[1].cancel()


@virtually
async def test_a_blind_watch_ends_the_process() -> None:
    hub = Hub()

    async def live() -> None:
        async with asyncio.TaskGroup() as tasks:
            feed = hub.feed(tasks)
            tasks.create_task(hub.keys.run())
            await hub.keys.synced.wait()
            feed.cancel()
            hub.add("unseen", MODEL_REVISIONS)

    with pytest.raises(ExceptionGroup) as failed:
        await live()
    assert failed.group_contains(BlindWatch, match="modelrevisions.*unseen")
