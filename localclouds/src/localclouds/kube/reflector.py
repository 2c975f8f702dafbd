"""A collection of the API server as a dictionary that follows it.

Invariants: `items` is what the last list and the events since say, nothing else; `synced` is set once the
first list is in and never cleared: during an outage readers keep the last known state. Callbacks run after
the dictionary changed, in the server's order; after a relist, objects that vanished meanwhile are reported as
deleted.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from localclouds.kube.client import Api, ApiFailure, Gone, NotFound
from localclouds.kube.objects import Json, Key, key_of

_log = logging.getLogger(__name__)

PAGE = "500"
# The server ends a watch by itself before its own limit (30 to 60 minutes): short enough to spread
# reconnects.
WATCH_SECONDS = "600"
# A watch that ends sooner is a server in trouble: asking it again at once would make it worse.
_HEALTHY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waiting times that double from `first_s` up to `most_s`. `next()` gives the following state, `reset()`
    the first one.
    """

    first_s: float
    most_s: float
    wait_s: float = 0.0

    def next(self) -> Backoff:
        """The state after one more failure."""
        wait_s = self.first_s if self.wait_s == 0 else min(self.most_s, self.wait_s * 2)
        return Backoff(first_s=self.first_s, most_s=self.most_s, wait_s=wait_s)

    def reset(self) -> Backoff:
        """The state before any failure."""
        return Backoff(first_s=self.first_s, most_s=self.most_s)


class Reflector:
    """Lists and watches one collection.

    `on_change` is called with the new object and False, or the last one seen and True when it is gone.
    `missing_ok` is for kinds that may not be installed yet: their absence is an empty collection, and looked
    for again every few seconds.
    """

    def __init__(
        self,
        api: Api,
        path: str,
        *,
        on_change: Callable[[Json, bool], None] | None = None,
        missing_ok: bool = False,
        **params: str,
    ) -> None:
        self.items: dict[Key, Json] = {}
        self.synced = asyncio.Event()
        self._api = api
        self._path = path
        self._params = params
        self._on_change = on_change or (lambda _obj, _gone: None)
        self._missing_ok = missing_ok
        self._version = ""

    async def run(self) -> None:
        """Follow the collection.

        Owns: `items`. Ends: when cancelled. Retried: every failure of the API, with back-off. Fatal: errors
        of callbacks.
        """
        backoff = Backoff(first_s=0.2, most_s=3.0)
        while True:
            try:
                if not self._version:
                    await self._list()
                began = asyncio.get_running_loop().time()
                await self._watch()
                if asyncio.get_running_loop().time() - began > _HEALTHY_S:
                    backoff = backoff.reset()
                    continue
            except Gone:
                self._version = ""
                continue
            except NotFound as error:
                self._version = ""
                if self._missing_ok:
                    self._replace([])
                    self.synced.set()
                else:
                    _log.warning("kube.watch_refused path=%s error=%s", self._path, error)
            except ApiFailure as error:
                _log.info("kube.watch_lost path=%s error=%s", self._path, error)
            backoff = backoff.next()
            await asyncio.sleep(backoff.wait_s * random.uniform(0.8, 1.2))  # noqa: S311

    async def _list(self) -> None:
        found: list[Json] = []
        token = ""
        while True:
            extra = {"continue": token} if token else {}
            page = await self._api.get(self._path, limit=PAGE, **extra, **self._params)
            found += page.get("items") or []
            token = page["metadata"].get("continue", "")
            if not token:
                break
        self._replace(found)
        self._version = page["metadata"]["resourceVersion"]
        self.synced.set()

    def _replace(self, found: list[Json]) -> None:
        fresh = {key_of(obj): obj for obj in found}
        for key in self.items.keys() - fresh.keys():
            self._on_change(self.items.pop(key), True)
        for key, obj in fresh.items():
            known = self.items.get(key)
            if known is not None and known["metadata"]["uid"] != obj["metadata"]["uid"]:
                self._on_change(self.items.pop(key), True)
                known = None
            self.items[key] = obj
            if known is None or _version(known) != _version(obj):
                self._on_change(obj, False)

    async def _watch(self) -> None:
        params = {
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": WATCH_SECONDS,
        }
        async with self._api.watch(self._path, **params, **self._params) as events:
            async for event in events:
                self._handle(event["type"], event["object"])

    def _handle(self, kind: str, obj: Json) -> None:
        self._version = _version(obj)
        if kind == "BOOKMARK":
            return
        key = key_of(obj)
        if kind == "DELETED":
            self.items.pop(key, None)
            self._on_change(obj, True)
            return
        known = self.items.get(key)
        self.items[key] = obj
        if known is not None and known["metadata"]["uid"] != obj["metadata"]["uid"]:
            self._on_change(known, True)
        self._on_change(obj, False)


def _version(obj: Json) -> Any:
    return obj["metadata"]["resourceVersion"]
