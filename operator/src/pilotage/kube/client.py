"""The twelve verbs of `Api` over the official client: paths, queries, content types and paging.

Objects are dicts in and out, never typed models. All writes carry one field manager. It keeps no state but
the connection, retries nothing (but one renewed token) and logs nothing: callers own back-off and words.
"""

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import orjson

from pilotage.kube.api import (
    PAGE,
    SILENCE_S,
    Alive,
    Deleted,
    Key,
    KeyListing,
    Listing,
    Manifest,
    Object,
    Propagation,
    Upserted,
    WatchEvent,
    version_of,
)
from pilotage.kube.endpoint import Endpoint
from pilotage.kube.errors import Gone, Unavailable
from pilotage.kube.resources import Resource
from pilotage.kube.translation import call_name, error_of_status
from pilotage.kube.transport import Limits, Observer, Transport

_JSON = "application/json"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_SERVER_ENDS_WATCH_S = 300
"""Asked of the server for each watch; spreads reconnects together with the start times."""


class ApiClient:
    """One cluster, as `Api`. Use as an async context manager, or `close` it. Must be made inside a running
    loop.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        field_manager: str,
        limits: Limits | None = None,
        user_agent: str = "",
        observer: Observer | None = None,
        page: int = PAGE,
    ) -> None:
        self._manager = field_manager
        self._page = page
        self._transport = Transport(
            endpoint,
            limits=limits or Limits(),
            user_agent=user_agent or field_manager,
            observer=observer,
        )

    async def __aenter__(self) -> "ApiClient":
        """Return the client itself; connections are made when needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close every connection, watches too."""
        await self._transport.close()

    async def get(self, resource: Resource, key: Key) -> Object:
        """Return one object as it is now."""
        return await self._call("GET", _path(resource, key))

    async def list(self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = "") -> Listing:
        """Return all objects of a selection, without managedFields, read in pages."""
        query = _selection(labels, fields)
        items, version = await self._pages(resource.path(namespace), query, _JSON)
        # items of typed lists lack what their list says once
        for item in items:
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return Listing(items=tuple(items), version=version)

    async def list_keys(
        self, resource: Resource, *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> KeyListing:
        """Return keys and versions of a selection, read in pages of metadata."""
        query = _selection(labels, fields)
        items, version = await self._pages(resource.path(namespace), query, _METADATA_ONLY)
        return KeyListing(versions={Key.of(item): version_of(item) for item in items}, version=version)

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
        """Yield what happens after `version`, with bookmarks."""
        path = resource.path(namespace)
        query = _selection(labels, fields) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_SERVER_ENDS_WATCH_S),
        }
        async with aclosing(self._transport.stream(path, query=query, silence_s=silence_s)) as documents:
            async for document in documents:
                yield _event(call_name("WATCH", path), document)

    async def create(self, resource: Resource, manifest: Manifest) -> Object:
        """POST one object."""
        namespace = manifest["metadata"].get("namespace") or ""
        return await self._call("POST", resource.path(namespace), body=manifest, query=self._as_manager())

    async def replace(self, resource: Resource, manifest: Manifest) -> Object:
        """PUT the whole object."""
        path = _path(resource, Key.of(manifest))
        return await self._call("PUT", path, body=manifest, query=self._as_manager())

    async def apply(self, resource: Resource, manifest: Manifest, *, force: bool = True) -> Object:
        """Server-side apply of the whole intent."""
        query = self._as_manager() | {"force": "true" if force else "false"}
        path = _path(resource, Key.of(manifest))
        return await self._call("PATCH", path, body=manifest, query=query, content_type="application/apply-patch+yaml")

    async def merge_patch(self, resource: Resource, key: Key, patch: Manifest) -> Object:
        """RFC 7386 on the object."""
        return await self._merge(_path(resource, key), patch)

    async def json_patch(self, resource: Resource, key: Key, operations: Sequence[Manifest]) -> Object:
        """RFC 6902 on the object."""
        # a list exactly: the official client relabels anything else as a strategic merge patch
        body = [*operations]
        return await self._call(
            "PATCH",
            _path(resource, key),
            body=body,
            query=self._as_manager(),
            content_type="application/json-patch+json",
        )

    async def patch_status(self, resource: Resource, key: Key, status: Manifest, *, version: str) -> Object:
        """RFC 7386 on `.status`, guarded by the resourceVersion."""
        patch = {"metadata": {"resourceVersion": version}, "status": status}
        return await self._merge(_path(resource, key, "status"), patch)

    async def delete(
        self,
        resource: Resource,
        key: Key,
        *,
        uid: str = "",
        propagation: Propagation = Propagation.BACKGROUND,
    ) -> None:
        """Ask for deletion."""
        body: dict[str, Any] = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation.value,
        }
        if uid:
            body["preconditions"] = {"uid": uid}
        await self._transport.call("DELETE", _path(resource, key), body=body)

    async def raw_get(
        self, path: str, *, query: Mapping[str, str] | None = None, max_bytes: int | None = None
    ) -> bytes:
        """GET a path that is no resource."""
        return await self._transport.call("GET", path, query=query, accept="*/*", max_bytes=max_bytes)

    async def _merge(self, path: str, patch: Manifest) -> Object:
        return await self._call(
            "PATCH",
            path,
            body=patch,
            query=self._as_manager(),
            content_type="application/merge-patch+json",
        )

    def _as_manager(self) -> dict[str, str]:
        return {"fieldManager": self._manager}

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Object:
        payload = await self._transport.call(
            method, path, query=query, body=body, content_type=content_type, accept=accept
        )
        try:
            parsed = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise Unavailable("the answer is not JSON", call=call_name(method, path)) from error
        if not isinstance(parsed, dict):
            raise Unavailable("the answer is no object", call=call_name(method, path))
        return parsed

    async def _pages(self, path: str, query: dict[str, str], accept: str) -> tuple[Sequence[Object], str]:
        """Read a list page by page; once more in one piece when it is compacted on the way, as client-go
        does.
        """
        items = deque[Object]()
        position = {"limit": str(self._page)}
        while True:
            try:
                page = await self._call("GET", path, query=query | position, accept=accept)
            except Gone:
                if "continue" not in position:
                    raise
                items, position = deque[Object](), {}
                continue
            for item in page.get("items") or ():
                item["metadata"].pop("managedFields", None)
                items.append(item)
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return items, metadata.get("resourceVersion") or ""
            position = {"limit": str(self._page), "continue": metadata["continue"]}


def _path(resource: Resource, key: Key, subresource: str = "") -> str:
    return resource.path(key.namespace, key.name, subresource)


def _selection(labels: str, fields: str) -> dict[str, str]:
    chosen = {"labelSelector": labels, "fieldSelector": fields}
    return {name: value for name, value in chosen.items() if value}


def _event(call: str, document: Any) -> WatchEvent:
    match document:
        case {"type": "ADDED" | "MODIFIED", "object": {"metadata": dict(metadata)} as found}:
            metadata.pop("managedFields", None)
            return Upserted(found)
        case {"type": "DELETED", "object": {"metadata": dict(metadata)} as found}:
            metadata.pop("managedFields", None)
            return Deleted(found)
        case {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}:
            return Alive(version)
        case {"type": "ERROR", "object": dict(status)}:
            raise error_of_status(call, status)
        case _:
            raise Unavailable("the watch carries something that is no event", call=call)
