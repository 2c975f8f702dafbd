"""Connections: uvicorn's HTTP/1.1 protocol with recycling, a cap on headers, errors in JSON, and a listener.

A connection is never dropped in silence: once it has carried enough requests, or is old enough, the next
answer says `connection: close`. That is what keeps clients from sticking to one arm of a rollout. The
application reads the verdict from `scope[CLOSE]`; writing the header is its part.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any, Final

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from pilotage_server.serve.answers import error_body
from pilotage_server.serve.settings import Connections

CLOSE: Final = "pilotage.close"
CYCLE: Final = "pilotage.cycle"
"""Where the application finds the request's cycle: whether its whole body is there already, and the body."""
MAX_HEAD_BYTES: Final = 64 * 1024


class _Corked:
    """A transport that sends an answer's head together with its body: uvicorn writes both, and each write is a system
    call.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        """Keep a head until its body comes; send everything else at once."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.") and not data.startswith(b"HTTP/1.1 1"):
            self._head = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Send a head whose answer has no body."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        """Send what is kept, and close."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()


class RecyclingProtocol(HttpToolsProtocol):
    """One connection: counts its requests, knows its age, and refuses endless headers."""

    rules: Connections
    emptied: asyncio.Event

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note the time; asyncio calls it with the new transport."""
        super().connection_made(transport)
        self._corked = _Corked(transport)
        self.transport: Any = self._corked  # all of a transport that uvicorn uses
        self.emptied.clear()
        self._opened_s = self.loop.time()
        self._requests = 0
        self._head_bytes = 0
        self._unparsed_bytes = 0
        self._in_head = True
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the listener when the last connection is gone."""
        super().connection_lost(exc)
        if not self.connections:
            self.emptied.set()

    def data_received(self, data: bytes) -> None:
        """Parse. Bytes of a head that has not ended count at once.

        The parser keeps a half-read header for ever.
        """
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._await_head()
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > 2 * MAX_HEAD_BYTES:
                self._head_bytes = self._unparsed_bytes
                self.send_400_response("")

    def _await_head(self) -> None:
        """Close a connection that does not get on with its request; uvicorn watches only between requests."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what is raised here makes the parser give up, and uvicorn answer."""
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("headers")
        super().on_header(name, value)

    def on_message_begin(self) -> None:
        """Start a request, and decide whether its answer is the connection's last."""
        super().on_message_begin()
        self._in_head, self._head_bytes, self._unparsed_bytes = True, 0, 0
        self._requests += 1
        age_s = self.loop.time() - self._opened_s
        scope: Any = self.scope
        scope[CLOSE] = self._requests >= self.rules.requests or age_s >= self.rules.age_s

    def on_headers_complete(self) -> None:
        """From here on bytes belong to a body.

        The parser reads none behind an Upgrade, so that ends the connection.
        """
        self._in_head = False
        scope: Any = self.scope
        if self.parser.should_upgrade():
            scope[CLOSE] = True
        super().on_headers_complete()
        scope[CYCLE] = self.cycle

    def on_response_complete(self) -> None:
        """Send what the answer to a HEAD left behind."""
        self._corked.flush()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or has no end of headers; uvicorn's own words would be plain text."""
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(
                "431 Request Header Fields Too Large", f"headers: more than {MAX_HEAD_BYTES} bytes; send fewer"
            )
        else:
            self._refuse("400 Bad Request", "request: is not HTTP/1.1")

    def _refuse(self, status: str, message: str) -> None:
        body = error_body(message)
        head = (
            f"HTTP/1.1 {status}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


class Listener:
    """One address with an ASGI application behind it."""

    def __init__(self, app: Any, rules: Connections) -> None:
        self._config = Config(
            app,
            interface="asgi3",
            http=RecyclingProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=round(rules.idle_s),
        )
        self._config.load()
        # A line of log for everybody who speaks no HTTP would be a way to fill the disk.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._state = ServerState()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._protocol = type("Protocol", (RecyclingProtocol,), {"rules": rules, "emptied": self._emptied})
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Accept connections; gives the port, which matters when 0 was asked for. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._make, host, port, backlog=2_048)
        bound: socket.socket = self._server.sockets[0]
        found: int = bound.getsockname()[1]
        return found

    def _make(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self._protocol(config=self._config, server_state=self._state, app_state={})
        return made

    async def stop(self, finish_s: float) -> int:
        """Accept no more, let open requests finish for that long; gives how many were cut off."""
        if self._server is None:
            return 0
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(finish_s):
                await self._emptied.wait()
        left = list(self._state.connections)
        for connection in left:
            connection.transport.abort()
        return len(left)
