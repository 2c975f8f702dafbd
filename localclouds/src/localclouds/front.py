"""The way into a cloud for clients outside: TCP forwarded to its API server, its Prometheus and its gateway.

Freeze this process and the cloud is cut off: connections hang, new ones are not answered; stop it and they are refused.
The cloud's own programs use the inside addresses and notice nothing. It looks at no byte: TLS goes through to the API
server, whose certificate names both addresses. Run as `python -m localclouds.front --cloud-dir DIR`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from typing import Final, cast
from urllib.parse import urlsplit

from localclouds.state import Facts, read_facts

_CONNECT_TIMEOUT_S: Final = 5.0
_BACKLOG: Final = 512


class _Half(asyncio.Protocol):
    """One side of a forwarded connection: what arrives here leaves at the other side, no faster than that takes it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Half | None = None
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass on a half-closed connection: a client may send its last byte and still wait for the answer."""
        self.ended = True
        other = self.other
        if other is None or other.transport is None:
            return False
        if other.transport.can_write_eof() and not other.transport.is_closing():
            other.transport.write_eof()
        if other.ended:
            other.transport.close()
        return not other.ended

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other side as this one was closed: reset for reset, after the last byte otherwise."""
        if self.other is not None and self.other.transport is not None:
            if exc is None:
                self.other.transport.close()
            else:
                _reset(self.other.transport)


class _Client(_Half):
    """The side of the client outside; opens the other one, and reads nothing until that stands."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._target = (host, port)
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self._opening = asyncio.get_running_loop().create_task(self._open())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._opening is not None:
            self._opening.cancel()
        super().connection_lost(exc)

    async def _open(self) -> None:
        """Connect to the target. Owns: nothing after it stands. Ends: connected, refused, or the client gone."""
        assert self.transport is not None
        server = _Half()
        server.other = self
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(lambda: server, *self._target)
        except (OSError, TimeoutError):
            _reset(self.transport)
            return
        self.other = server
        self.transport.resume_reading()


def _reset(transport: asyncio.Transport) -> None:
    """Close with a reset, so that the peer does not take it for a clean end of the stream."""
    channel = transport.get_extra_info("socket")
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def serve(facts: Facts) -> None:
    """Forward until cancelled. Owns: the listeners. Fatal: an address that cannot be bound."""
    routes = (
        (facts.outside.api_server, facts.api_server),
        (facts.outside.prometheus, facts.prometheus),
        (facts.outside.gateway, facts.gateway),
    )
    async with asyncio.TaskGroup() as group:
        for outside, inside in routes:
            group.create_task(forward(outside, inside))


async def forward(outside: str, inside: str) -> None:
    """Forward one address (both as URLs). Owns: its listener. Ends: when cancelled. Fatal: the address is taken."""
    source, target = urlsplit(outside), urlsplit(inside)
    host, port = target.hostname or "", target.port or 0
    server = await asyncio.get_running_loop().create_server(
        lambda: _Client(host, port), source.hostname, source.port or 0, family=socket.AF_INET, backlog=_BACKLOG
    )
    async with server:
        await server.serve_forever()


def main(arguments: list[str]) -> int:
    """Run the front of the cloud whose directory follows --cloud-dir."""
    match arguments:
        case ["--cloud-dir", directory]:
            with suppress(KeyboardInterrupt):
                asyncio.run(serve(read_facts(directory)))
            return 0
        case _:
            sys.stderr.write("usage: python -m localclouds.front --cloud-dir DIR\n")
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
