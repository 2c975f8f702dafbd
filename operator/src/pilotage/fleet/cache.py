"""What is ours in one namespace of one member: an informer and a store per kind, looked up by origin.

Only objects with our managed-by label are followed, selected by the server. A cluster without the Gateway API has no
HTTPRoutes: that is an empty kind, not an error. A right that is missing is told with verb, resource and namespace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from pilotage.api.names import MANAGED_BY, MANAGED_BY_LABEL, MODEL_LABEL, ORIGIN_LABEL
from pilotage.kube import Api, Clock, Forbidden, Key, Manifest, NotFound, Resource
from pilotage.kube.informer import Informer
from pilotage.kube.resources import CONFIG_MAPS, DEPLOYMENTS, HTTP_ROUTES, PODS, SERVICES, STATEFUL_SETS
from pilotage.kube.store import Change, Store
from pilotage.kube.watch import Selection

WRITTEN = (CONFIG_MAPS, SERVICES, STATEFUL_SETS, DEPLOYMENTS, HTTP_ROUTES)
"""Kinds we make."""
BY_KIND: Mapping[str, Resource] = {resource.kind: resource for resource in WRITTEN}
SETTLE_POLL_S = 0.05

Notify = Callable[[Key], None]


class NamespaceCache:
    """One namespace of one member. `notify` is called with the ModelDeployment that a changed object belongs to."""

    def __init__(self, api: Api, namespace: str, *, notify: Notify, clock: Clock, jitter: Callable[[], float]) -> None:
        self.namespace = namespace
        self._notify, self._clock = notify, clock
        self._stores = {resource: Store(_origin_of) for resource in (*WRITTEN, PODS)}
        labels = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
        self._informers = {
            resource: Informer(
                api,
                Selection(resource=resource, namespace=namespace, labels=labels),
                store,
                on_change=self._changed,
                clock=clock,
                jitter=jitter,
            )
            for resource, store in self._stores.items()
        }

    async def run(self) -> None:
        """Follow every kind. Owns: the informers. Ends: when cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for resource, informer in self._informers.items():
                tasks.create_task(informer.run(), name=f"informer {self.namespace} {resource}")

    async def settled(self) -> None:
        """Return once every kind has been listed, or it is known why not."""
        while not self.is_synced and self.forbidden is None:
            await self._clock.sleep(SETTLE_POLL_S)

    @property
    def is_synced(self) -> bool:
        """Whether every kind that exists there has been listed."""
        return all(self._has_listed(resource, informer) for resource, informer in self._informers.items())

    @property
    def forbidden(self) -> str | None:
        """The right that is missing, in words, or None."""
        for resource, informer in self._informers.items():
            if isinstance(informer.error, Forbidden):
                return f"may not list or watch {resource} in namespace {self.namespace}"
        return None

    def objects(self, origin: str) -> tuple[Manifest, ...]:
        """Everything of the kinds we make that carries this origin, in a stable order."""
        return tuple(found for resource in WRITTEN for found in self._stores[resource].by_owner(origin))

    def pods(self, origin: str) -> tuple[Manifest, ...]:
        """The pods of this origin."""
        return self._stores[PODS].by_owner(origin)

    def origins(self) -> frozenset[str]:
        """Every origin that something here carries."""
        return frozenset(origin for resource in WRITTEN for origin in self._stores[resource].owners())

    def get(self, resource: Resource, name: str) -> Manifest | None:
        """One object with our managed-by label, whatever its origin."""
        return self._stores[resource].get(Key(self.namespace, name))

    def put(self, resource: Resource, answer: Manifest) -> None:
        """Take the answer to one of our own writes."""
        self._stores[resource].put(answer)

    def drop(self, resource: Resource, gone: Manifest) -> None:
        """Take a deletion that the server has confirmed."""
        self._stores[resource].drop(gone)

    def _has_listed(self, resource: Resource, informer: Informer) -> bool:
        if informer.synced.is_set():
            return True
        return resource is HTTP_ROUTES and isinstance(informer.error, NotFound)

    def _changed(self, change: Change) -> None:
        for seen in (change.new, change.old):
            key = deployment_of(seen) if seen is not None else None
            if key is not None:
                self._notify(key)
                return


def deployment_of(manifest: Manifest) -> Key | None:
    """The ModelDeployment that an object in a member says it belongs to."""
    metadata: Mapping[str, Any] = manifest["metadata"]
    model = (metadata.get("labels") or {}).get(MODEL_LABEL)
    return Key(metadata.get("namespace", ""), model) if model else None


def _origin_of(manifest: Manifest) -> str | None:
    return (manifest["metadata"].get("labels") or {}).get(ORIGIN_LABEL)
