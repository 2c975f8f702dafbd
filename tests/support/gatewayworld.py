"""Objects that a gateway looks at, and a gateway in this process between a scripted server and a raw client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from localclouds.gateway.client import ClientConnection
from localclouds.gateway.exchange import Core
from localclouds.gateway.metrics import Metrics
from localclouds.gateway.table import Table
from localclouds.gateway.upstream import Pool
from localclouds.kube import Key, key_of

Json = dict[str, Any]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HOST = "127.0.0.1"


def a_pod(name: str, app: str = "digits", *, ip: str = HOST, ready: bool = True, leaving: bool = False) -> Json:
    """A pod, ready unless said otherwise."""
    metadata: Json = {"name": name, "namespace": "models", "labels": {"app": app}}
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": metadata, "spec": {}, "status": {"podIP": ip, "conditions": conditions}}


def a_service(name: str, app: str = "digits", target: int = 8080) -> Json:
    """A Service with one port, 8080."""
    return {
        "metadata": {"name": name, "namespace": "models"},
        "spec": {"selector": {"app": app}, "ports": [{"name": "http", "port": 8080, "targetPort": target}]},
    }


def a_route(name: str = "digits", *rules: Json, hostnames: list[str] | None = None, **more: Any) -> Json:
    """An HTTPRoute attached to the cloud's Gateway."""
    metadata = {"name": name, "namespace": "models", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    parents = [{"name": "public", "namespace": "ingress"}]
    spec: Json = {"parentRefs": parents, "rules": list(rules), **more}
    if hostnames is not None:
        spec["hostnames"] = hostnames
    return {"metadata": metadata, "spec": spec}


def a_rule(*weights: tuple[str, int], matches: list[Json] | None = None, **more: Any) -> Json:
    """A rule that sends shares of requests to Services, port 8080."""
    references = [{"name": name, "port": 8080, "weight": weight} for name, weight in weights]
    rule: Json = {"backendRefs": references, **more}
    if matches is not None:
        rule["matches"] = matches
    return rule


def by_key(*objects: Json) -> dict[Key, Json]:
    """Objects as caches hold them."""
    return {key_of(obj): obj for obj in objects}


class Proxied:
    """A gateway before one scripted server, which is the only pod of Service models/digits."""

    def __init__(self, core: Core, port: int, pods: dict[Key, Json]) -> None:
        self.core = core
        self.port = port
        self.pods = pods
        self.connections = 0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client's connection."""
        return await asyncio.open_connection(HOST, self.port)

    async def exchange(self, request: bytes) -> bytes:
        """Send requests, the last with `Connection: close`, and return everything that comes back."""
        reader, writer = await self.connect()
        before, host, after = request.rpartition(b"Host: anything\r\n")
        writer.write(before + host + b"Connection: close\r\n" + after)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer

    @property
    def codes(self) -> dict[int, int]:
        """How many requests were counted, by code."""
        found: dict[int, int] = {}
        for (_, _, code), number in self.core.metrics.requests.items():
            found[code] = found.get(code, 0) + number
        return found


@asynccontextmanager
async def proxied(script: Script) -> AsyncIterator[Proxied]:
    """Run a gateway before a server that handles each connection with `script`."""
    world: Proxied | None = None

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert world is not None
        world.connections += 1
        try:
            await script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    backend = await asyncio.start_server(handle, HOST, 0)
    pods = by_key(a_pod("digits-1"))
    services = by_key(a_service("digits", target=backend.sockets[0].getsockname()[1]))
    core = Core(table=Table(list, services, pods), pool=Pool(), metrics=Metrics())
    core.pool.set_live(HOST, True)
    connections: set[ClientConnection] = set()
    front = await asyncio.get_running_loop().create_server(lambda: ClientConnection(core, connections), HOST, 0)
    world = Proxied(core, front.sockets[0].getsockname()[1], pods)
    try:
        yield world
    finally:
        front.close()
        backend.close()
        for connection in list(connections):
            connection.abort()
        core.pool.set_live(HOST, False)
        await asyncio.sleep(0)


def request(
    path: str = "/services/models/digits/", *, method: str = "GET", body: bytes = b"", fields: tuple[str, ...] = ()
) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: anything", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def response(body: bytes = b"", status: str = "200 OK", *fields: str) -> bytes:
    """The bytes of an answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]).encode() + body


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next request with a content length (or none)."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")), 0)
    return head, await reader.readexactly(length)
