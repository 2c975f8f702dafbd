"""Services at their ClusterIPs: every port of every Service with a selector is listened on and passed to a
ready pod.

Invariants: pods are chosen per connection, in turn; a pod that is terminating or unready gets no new
connection, and those it has go on. With no ready pod a connection is closed at once. Only TCP; ports below
1024 where the machine allows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from localclouds.kube import Endpoint, Json, Key, key_of, ready_endpoints

_log = logging.getLogger(__name__)

_CONNECT_S = 3.0
_CHUNK = 64 * 1024
_RETRY_S = 2.0


class Front(NamedTuple):
    """An address of a Service."""

    host: str
    port: int


class ServiceProxy:
    """Listens for all Services of the cloud. `services` and `pods` give the current objects; `changed` says
    when to look again.
    """

    def __init__(self, services: Callable[[], Iterable[Json]], pods: Callable[[], Iterable[Json]]) -> None:
        self._services = services
        self._pods = pods
        self._dirty = asyncio.Event()
        self._servers: dict[Front, asyncio.Server] = {}
        self._targets: dict[Front, tuple[Key, int]] = {}
        self._turns: dict[Front, int] = {}
        self._connections: set[asyncio.Task[None]] = set()

    def changed(self) -> None:
        """Services may have changed."""
        self._dirty.set()

    async def run(self) -> None:
        """Listen where Services are.

        Owns: the listeners and their connections. Ends: when cancelled. Retried: addresses that cannot be
        bound. Fatal: none.
        """
        self._dirty.set()
        try:
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                await self._sync()
        finally:
            for server in self._servers.values():
                server.close()
            for connection in self._connections:
                connection.cancel()

    async def _sync(self) -> None:
        wanted = self.look()
        for front in self._servers.keys() - wanted.keys():
            self._servers.pop(front).close()
            self._turns.pop(front, None)
        for front in wanted.keys() - self._servers.keys():
            try:
                self._servers[front] = await asyncio.start_server(
                    partial(self._accept, front),
                    front.host,
                    front.port,
                    limit=_CHUNK,
                )
            except PermissionError:
                _log.warning("proxy.port_not_allowed host=%s port=%d", *front)
            except OSError as error:
                _log.warning("proxy.not_listening host=%s port=%d error=%s", *front, error)
                asyncio.get_running_loop().call_later(_RETRY_S, self._dirty.set)

    def look(self) -> dict[Front, tuple[Key, int]]:
        """See which addresses there are now, and return them with their Services."""
        self._targets = _fronts(self._services())
        return self._targets

    def choose(self, front: Front) -> Endpoint | None:
        """The endpoint for the next connection to this address."""
        key, number = self._targets[front]
        for service in self._services():
            if key_of(service) == key:
                port = next((p for p in service["spec"]["ports"] if p["port"] == number), None)
                endpoints = ready_endpoints(service, port, self._pods()) if port else ()
                if endpoints:
                    turn = self._turns[front] = self._turns.get(front, -1) + 1
                    return endpoints[turn % len(endpoints)]
        return None

    async def _accept(self, front: Front, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            endpoint = self.choose(front) if front in self._targets else None
            if endpoint is None:
                return
            async with asyncio.timeout(_CONNECT_S):
                backend_reader, backend_writer = await asyncio.open_connection(*endpoint[:2], limit=_CHUNK)
            await _splice(reader, writer, backend_reader, backend_writer)
        except (OSError, TimeoutError):
            return
        finally:
            writer.transport.abort()


async def _splice(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    backend_reader: asyncio.StreamReader,
    backend_writer: asyncio.StreamWriter,
) -> None:
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_pass_on(reader, backend_writer))
            both.create_task(_pass_on(backend_reader, writer))
    except* OSError:
        # One side went away in the middle: the other learns it by the end of its connection.
        pass
    finally:
        backend_writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    # The other direction goes on: a client may close its half and still wait for the answer.
    with contextlib.suppress(OSError):
        writer.write_eof()
    await writer.drain()


def _fronts(services: Iterable[Json]) -> dict[Front, tuple[Key, int]]:
    found = {}
    for service in services:
        address = service["spec"].get("clusterIP")
        if not address or address == "None" or not service["spec"].get("selector"):
            continue
        for port in service["spec"].get("ports") or ():
            if port.get("protocol", "TCP") == "TCP":
                found[Front(address, port["port"])] = (key_of(service), port["port"])
    return found
