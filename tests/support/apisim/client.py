"""A client of a simulated cluster, as `pilotage.kube.Api`: adds calls, latency, faults and the state of the
network.

Every verb passes `_call`: recorded, disturbed if asked, then done at one instant of (virtual) time. `kill`
models the death of the process behind it: whatever is called, or still under way, never returns and has no
further effect.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import Any, TypeVar, cast

from pilotage.kube import (
    Alive,
    ApiError,
    Conflict,
    Deleted,
    Gone,
    Key,
    KeyListing,
    Listing,
    Manifest,
    Object,
    Propagation,
    Resource,
    Throttled,
    Timeout,
    Unavailable,
    Unreachable,
    Upserted,
    WatchEvent,
    version_of,
)
from pilotage.kube.api import SILENCE_S
from pilotage.kube.merge import merge
from support.apisim.calls import CallLog, Fault, Moment, SimCall
from support.apisim.cluster import ClusterState, Record, copied
from support.apisim.kinds import Kind
from support.apisim.patches import json_patch
from support.apisim.selectors import field_selector, label_selector

T = TypeVar("T")

READ_S = 10.0
BOOKMARK_S = 60.0
WATCH_S = 300.0


Proxied = Callable[[str, Mapping[str, str]], Awaitable[bytes]]
"""What answers behind the API server's proxy of Services: path and query to a body."""


class Link(Enum):
    """The way between clients and a cluster."""

    UP = auto()
    REFUSED = auto()
    """Connections are refused at once: the server is down."""
    SILENT = auto()
    """Nothing comes back: the server is frozen or the network is cut."""


class ApiSim:
    """One simulated cluster: its state, and its link to the clients made by `client`."""

    def __init__(
        self,
        name: str = "sim",
        *,
        log: CallLog | None = None,
        wall: Callable[[], datetime] | None = None,
        latency_s: float = 0.002,
    ) -> None:
        self.name = name
        self.log = log if log is not None else CallLog()
        self.state = ClusterState(name=name, wall=wall) if wall else ClusterState(name=name)
        self.latency_s = latency_s
        self.proxied: Proxied | None = None
        self._link = Link.UP

    def serve(self, kind: Kind) -> None:
        """Add a kind, as installing its CRD does."""
        self.state.serve(kind)

    def client(self, name: str = "pilotage") -> "SimClient":
        """Return a client whose field manager is `name`."""
        return SimClient(self, name)

    @property
    def link(self) -> Link:
        return self._link

    @link.setter
    def link(self, link: Link) -> None:
        self._link = link
        self.state.bell.ring()


class SimClient:
    """`Api` over an ApiSim."""

    def __init__(self, sim: ApiSim, name: str) -> None:
        self.name = name
        self._sim = sim
        self._is_dead = False

    def kill(self) -> None:
        """Let no call return or take effect any more."""
        self._is_dead = True

    async def __aenter__(self) -> "SimClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def close(self) -> None:
        return None

    async def get(self, resource: Resource, key: Key) -> Object:
        return await self._call("get", resource, key, lambda: self._sim.state.need(resource, key))

    async def list(self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = "") -> Listing:
        matches = _selection(namespace, labels, fields)

        def effect() -> Listing:
            found = [_without_managers(o) for o in self._sim.state.objects(resource) if matches(o)]
            return Listing(items=tuple(found), version=str(self._sim.state.version))

        listing = await self._call("list", resource, Key(namespace, ""), effect)
        return Listing(items=copied(listing.items), version=listing.version)

    async def list_keys(
        self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> KeyListing:
        listing = await self.list(resource, namespace=namespace, labels=labels, fields=fields)
        return KeyListing(versions={Key.of(item): version_of(item) for item in listing.items}, version=listing.version)

    async def create(self, resource: Resource, manifest: Manifest) -> Object:
        key = Key(manifest["metadata"].get("namespace") or "", manifest["metadata"].get("name") or "")
        return await self._write(
            "create", resource, key, lambda: self._sim.state.create(resource, manifest, manager=self.name)
        )

    async def replace(self, resource: Resource, manifest: Manifest) -> Object:
        key = Key.of(manifest)
        return await self._write(
            "update", resource, key, lambda: self._sim.state.update(resource, manifest, manager=self.name)
        )

    async def apply(self, resource: Resource, manifest: Manifest, *, force: bool = True) -> Object:
        state = self._sim.state
        return await self._write(
            "patch",
            resource,
            Key.of(manifest),
            lambda: state.apply(resource, manifest, manager=self.name, force=force),
        )

    async def merge_patch(self, resource: Resource, key: Key, patch: Manifest) -> Object:
        def effect() -> Object:
            return self._sim.state.update(
                resource, self._patched(resource, key, lambda old: merge(old, patch)), manager=self.name
            )

        return await self._write("patch", resource, key, effect)

    async def json_patch(self, resource: Resource, key: Key, operations: Sequence[Manifest]) -> Object:
        def effect() -> Object:
            return self._sim.state.update(
                resource, self._patched(resource, key, lambda old: json_patch(old, operations)), manager=self.name
            )

        return await self._write("patch", resource, key, effect)

    async def patch_status(self, resource: Resource, key: Key, status: Manifest, *, version: str) -> Object:
        patch = {"metadata": {"resourceVersion": version}, "status": status}

        def effect() -> Object:
            return self._sim.state.update_status(resource, self._patched(resource, key, lambda old: merge(old, patch)))

        return await self._write("patch", resource, key, effect, subresource="status")

    async def delete(
        self,
        resource: Resource,
        key: Key,
        *,
        uid: str = "",
        propagation: Propagation = Propagation.BACKGROUND,
    ) -> None:
        state = self._sim.state
        await self._call("delete", resource, key, lambda: state.delete(resource, key, uid=uid, propagation=propagation))

    async def raw_get(
        self, path: str, *, query: Mapping[str, str] | None = None, max_bytes: int | None = None
    ) -> bytes:
        del max_bytes
        answers = {"/readyz": b"ok", "/livez": b"ok", "/version": b'{"major":"1","minor":"36"}'}
        nowhere = Resource(group="", version="", plural=path, kind="", namespaced=False)
        answer = await self._call("get", nowhere, Key("", ""), lambda: answers.get(path, b"ok"))
        if self._sim.proxied is not None and "/proxy/" in path:
            return await self._sim.proxied(path, query or {})
        return answer

    async def watch(
        self,
        resource: Resource,
        *,
        version: str,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        silence_s: float = SILENCE_S,
    ) -> AsyncIterator[WatchEvent]:
        """Yield what happens after `version`; bookmarks each minute, the end after five."""
        state, matches = self._sim.state, _selection(namespace, labels, fields)
        await self._call("watch", resource, Key(namespace, ""), lambda: state.kind_of(resource))
        loop = asyncio.get_running_loop()
        position, ends, heard = int(version), loop.time() + WATCH_S, loop.time()
        next_bookmark = loop.time() + BOOKMARK_S
        while loop.time() < ends:
            await self._pass_link(heard + silence_s)
            if position < state.compacted:
                raise Gone("The resourceVersion for the provided watch is too old.", code=410)
            for record in [rec for rec in state.history if rec.version > position]:
                position = record.version
                event = _event(record, matches) if record.resource == resource else None
                if event is not None:
                    heard = loop.time()
                    yield event
            if position >= state.version or not state.history:
                if loop.time() >= next_bookmark:
                    next_bookmark, heard = loop.time() + BOOKMARK_S, loop.time()
                    yield Alive(str(max(position, state.version)))
                await self._rings(min(ends, next_bookmark))
        if self._sim.link is Link.UP:
            # so that the next watch starts from here, as real servers see to
            yield Alive(str(position))

    async def _rings(self, until: float) -> None:
        """Return when the cluster or the link changes, or at that time."""
        try:
            async with asyncio.timeout_at(until):
                await self._sim.state.bell.next()
        except TimeoutError:
            return
        # the event takes its time over the network
        await asyncio.sleep(self._sim.latency_s)

    async def _pass_link(self, deadline: float) -> None:
        """Return when the link is up. Raises Unreachable when it is refused, Timeout when it is silent too
        long.
        """
        loop = asyncio.get_running_loop()
        while self._is_dead or self._sim.link is not Link.UP:
            if self._is_dead:
                await asyncio.Event().wait()
            if self._sim.link is Link.REFUSED:
                raise Unreachable("connection refused")
            try:
                async with asyncio.timeout_at(deadline):
                    await self._sim.state.bell.next()
            except TimeoutError:
                raise Timeout(f"no answer until {loop.time():.0f} s") from None

    def _patched(self, resource: Resource, key: Key, change: Callable[[Object], Any]) -> Object:
        """Return the patched object, unguarded unless the patch itself named a version."""
        old = copied(self._sim.state.need(resource, key))
        old["metadata"]["resourceVersion"] = ""
        patched: Object = change(old)
        return patched

    async def _write(
        self, verb: str, resource: Resource, key: Key, effect: Callable[[], Object], *, subresource: str = ""
    ) -> Object:
        return await self._call(verb, resource, key, effect, subresource=subresource)

    async def _call(
        self,
        verb: str,
        resource: Resource,
        key: Key,
        effect: Callable[[], T],
        *,
        subresource: str = "",
    ) -> T:
        sim = self._sim
        await asyncio.sleep(sim.latency_s / 2)
        await self._pass_link(asyncio.get_running_loop().time() + READ_S)
        call = sim.log.record(
            cluster=sim.name,
            client=self.name,
            verb=verb,
            group=resource.group,
            resource=resource.plural,
            subresource=subresource,
            key=key,
        )
        await self._reach(call, Moment.BEFORE_EFFECT)
        fault = sim.log.fault_of(call)
        await self._disturb_before(fault)
        try:
            answer = effect()
        finally:
            await self._reach(call, Moment.AFTER_EFFECT)
        await asyncio.sleep(sim.latency_s / 2)
        await self._pass_link(asyncio.get_running_loop().time() + READ_S)
        if fault is Fault.TIMEOUT_AFTER:
            await asyncio.sleep(READ_S)
            raise Timeout("no answer within the deadline")
        return cast(T, copied(answer)) if isinstance(answer, dict) else answer

    async def _reach(self, call: SimCall, moment: Moment) -> None:
        """Tell the observer; if that killed us, stay here for ever."""
        self._sim.log.on_call(call, moment)
        if self._is_dead:
            await asyncio.Event().wait()

    async def _disturb_before(self, fault: Fault | None) -> None:
        error: ApiError
        match fault:
            case None | Fault.TIMEOUT_AFTER:
                return
            case Fault.TIMEOUT_BEFORE:
                await asyncio.sleep(READ_S)
                error = Timeout("no answer within the deadline")
            case Fault.RESET_BEFORE:
                error = Unreachable("connection reset by peer")
            case Fault.CONFLICT:
                error = Conflict("the object has been modified", code=409)
            case Fault.THROTTLED:
                error = Throttled("too many requests", code=429, after_s=1.0)
            case Fault.UNAVAILABLE:
                error = Unavailable("etcdserver: leader changed", code=500)
        raise error


def _selection(namespace: str, labels: str, fields: str) -> Callable[[Manifest], bool]:
    by_labels, by_fields = label_selector(labels), field_selector(fields)

    def matches(found: Manifest) -> bool:
        is_here = not namespace or found["metadata"].get("namespace") == namespace
        return is_here and by_labels(found) and by_fields(found)

    return matches


def _event(record: Record, matches: Callable[[Manifest], bool]) -> WatchEvent | None:
    """Return the event for one selection: leaving it is a deletion, entering it an addition."""
    was = record.old is not None and matches(record.old)
    if record.new is not None and matches(record.new):
        return Upserted(copied(_without_managers(record.new)))
    if not was or record.old is None:
        return None
    last = record.last if record.new is None else record.old
    shown = copied(_without_managers(last))
    shown["metadata"]["resourceVersion"] = str(record.version)
    return Deleted(shown)


def _without_managers(found: Object) -> Object:
    metadata = {name: value for name, value in found["metadata"].items() if name != "managedFields"}
    return {**found, "metadata": metadata}
