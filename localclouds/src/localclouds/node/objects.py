"""ConfigMaps and Secrets that pods of this node use, each followed by a watch of its own.

A node may read only the objects its pods refer to, one by one (the Node authorizer), so there is one watch
per object, shared by its users and ended with the last of them. `fetch` always asks the API server: a
container that starts must see what is true now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from localclouds.kube import Api, Json, NotFound, Reflector

Reference = tuple[str, str, str]
"""Kind (configmaps or secrets), namespace and name."""


@dataclass(slots=True, kw_only=True)
class _Follower:
    task: asyncio.Task[None]
    listeners: list[Callable[[], None]] = field(default_factory=list)


class Objects:
    """Reads and follows single objects. Owns the watches; `close` ends them."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._followers: dict[Reference, _Follower] = {}

    async def fetch(self, reference: Reference) -> Json | None:
        """The object as it is now, or None. Raises ApiFailure."""
        kind, namespace, name = reference
        try:
            return await self._api.get(f"/api/v1/namespaces/{namespace}/{kind}/{name}")
        except NotFound:
            return None

    def follow(self, reference: Reference, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the object may have changed, until `unfollow`."""
        follower = self._followers.get(reference)
        if follower is None:
            kind, namespace, name = reference
            reflector = Reflector(
                self._api,
                f"/api/v1/namespaces/{namespace}/{kind}",
                on_change=lambda _obj, _gone: self._changed(reference),
                fieldSelector=f"metadata.name={name}",
            )
            follower = _Follower(task=asyncio.create_task(reflector.run()))
            self._followers[reference] = follower
        follower.listeners.append(listener)

    def unfollow(self, reference: Reference, listener: Callable[[], None]) -> None:
        """End what `follow` began; the last one ends the watch."""
        follower = self._followers.get(reference)
        if follower is None or listener not in follower.listeners:
            return
        follower.listeners.remove(listener)
        if not follower.listeners:
            follower.task.cancel()
            del self._followers[reference]

    def close(self) -> None:
        """End every watch."""
        for follower in self._followers.values():
            follower.task.cancel()
        self._followers.clear()

    def _changed(self, reference: Reference) -> None:
        follower = self._followers.get(reference)
        for listener in list(follower.listeners) if follower else ():
            listener()
