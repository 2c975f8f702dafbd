"""One request to one API server, one answer, or an error whose type says what the caller does next.

Owns the connection pool and the credentials of a kubeconfig. Never retries: callers know what a repetition
means.

    ApiFailure             anything that is no answer
    ├── Unreachable        no connection, no answer in time: try again later
    └── Refused            the server answered with an error (status, reason, message)
        ├── NotFound       404
        ├── Conflict       409
        └── Gone           410: the resource version is too old, list again
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson
import yaml

from localclouds.kube.objects import Json

REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=3)
# Bookmarks come about once a minute, so a watch that is silent for longer has lost its server.
WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=3, sock_read=90)

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"


class ApiFailure(Exception):
    """No usable answer."""


class Unreachable(ApiFailure):
    """The API server could not be reached or did not answer in time."""


class Refused(ApiFailure):
    """The API server answered with an error."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class NotFound(Refused):
    """There is no such object (or no such kind)."""


class Conflict(Refused):
    """The object changed meanwhile, exists already, or is another one of the same name."""


class Gone(Refused):
    """The resource version is no longer served."""


_BY_STATUS: dict[int, type[Refused]] = {404: NotFound, 409: Conflict, 410: Gone}


class Api:
    """A client for one API server. Close it with `async with`."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Api:
        server, context, headers = _read_kubeconfig(self._kubeconfig)
        # Watches hold connections for good, so the pool has no bound of its own.
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        self._session = aiohttp.ClientSession(base_url=server, connector=connector, headers=headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **params: str) -> Json:
        """GET an object or a list."""
        return await self._request("GET", path, params)

    async def create(self, path: str, body: Json) -> Json:
        """POST an object to its collection, or a subresource such as a token request."""
        return await self._request("POST", path, {}, body)

    async def patch(self, path: str, body: Json, kind: str = STRATEGIC, **params: str) -> Json:
        """PATCH an object; `kind` is the media type of the patch."""
        return await self._request("PATCH", path, params, body, kind)

    async def apply(self, path: str, body: Json, manager: str) -> Json:
        """Server-side apply, taking over fields other managers hold."""
        return await self.patch(path, body, APPLY, fieldManager=manager, force="true")

    async def put(self, path: str, body: Json) -> Json:
        """PUT an object, guarded by the resource version it carries."""
        return await self._request("PUT", path, {}, body)

    async def delete(self, path: str, body: Json | None = None) -> Json:
        """DELETE an object with the given DeleteOptions."""
        return await self._request("DELETE", path, {}, body)

    async def _request(
        self, method: str, path: str, params: Mapping[str, str], body: Json | None = None, kind: str = JSON
    ) -> Json:
        raw = None if body is None else orjson.dumps(body)
        try:
            async with self._open(method, path, params, raw, kind, REQUEST_TIMEOUT) as response:
                return cast(Json, orjson.loads(await response.read()))
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            raise Unreachable(f"{method} {path}: {str(error) or type(error).__name__}") from error

    @asynccontextmanager
    async def watch(self, path: str, **params: str) -> AsyncIterator[AsyncIterator[Json]]:
        """Open a watch and yield its events as the server sends them. An ERROR event raises what it carries."""
        try:
            async with self._open("GET", path, {**params, "watch": "true"}, None, JSON, WATCH_TIMEOUT) as response:
                yield _events(response)
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            raise Unreachable(f"watch {path}: {str(error) or type(error).__name__}") from error

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        raw: bytes | None,
        kind: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  (it is aiohttp's own, of several parts)
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "open the client with 'async with'"
        headers = {"Accept": JSON, "Content-Type": kind}
        async with self._session.request(
            method, path, params=params, data=raw, headers=headers, timeout=timeout
        ) as response:
            if response.status >= 400:
                raise _refused(response.status, await response.read())
            yield response


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    pending = b""
    async for chunk in response.content.iter_any():
        lines = (pending + chunk).split(b"\n")
        pending = lines.pop()
        for line in lines:
            if not line:
                continue
            event: Json = orjson.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise _refused(status.get("code", 500), orjson.dumps(status))
            yield event


def _refused(status: int, body: bytes) -> Refused:
    try:
        answer: Any = orjson.loads(body)
        reason, message = answer.get("reason", ""), answer.get("message", "")
    except (orjson.JSONDecodeError, AttributeError):
        reason, message = "", body[:200].decode(errors="replace")
    return _BY_STATUS.get(status, Refused)(status, reason, message or f"HTTP {status}")


def _read_kubeconfig(path: Path) -> tuple[str, ssl.SSLContext, dict[str, str]]:
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    tls = ssl.create_default_context(cadata=_pem(path, cluster, "certificate-authority").decode())
    headers = {}
    if "token" in user:
        headers["Authorization"] = f"Bearer {user['token']}"
    if "client-certificate-data" in user or "client-certificate" in user:
        # The ssl module reads certificates from files only; the key never stays on disk.
        with tempfile.NamedTemporaryFile() as both:
            both.write(_pem(path, user, "client-certificate") + b"\n" + _pem(path, user, "client-key"))
            both.flush()
            tls.load_cert_chain(both.name)
    return cluster["server"], tls, headers


def _named(entries: list[Json], name: str) -> Json:
    return next(entry for entry in entries if entry["name"] == name)


def _pem(kubeconfig: Path, fields: Json, name: str) -> bytes:
    if f"{name}-data" in fields:
        return base64.b64decode(fields[f"{name}-data"])
    path: str = fields[name]
    return (kubeconfig.parent / path).read_bytes()
