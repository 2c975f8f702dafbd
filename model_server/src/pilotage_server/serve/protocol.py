"""Connections: uvicorn's HTTP/1.1 protocol with recycling, a cap on headers, errors in JSON, and a short way for infer
requests.

A connection is never dropped in silence: once it has carried enough requests, or is old enough, the next
answer says `connection: close`. That is what keeps clients from sticking to one arm of a rollout. The
application reads the verdict from `scope[CLOSE]`; writing the header is its part.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pilotage_server.serve.direct import DirectInfer
from pilotage_server.serve.replies import error_body
from pilotage_server.serve.settings import Connections
from pilotage_server.serve.standins import Corked, Whole

CLOSE: Final = "pilotage.close"
CYCLE: Final = "pilotage.cycle"
"""Where the application finds the request's cycle: whether its whole body is there already, and the body."""
MAX_HEAD_BYTES: Final = 64 * 1024
_UNUSUAL: Final = frozenset({b"expect", b"upgrade", b"content-encoding", b"x-request-deadline-ms"})
"""Headers that ask for more than an answer: the application sees to these."""


class RecyclingProtocol(HttpToolsProtocol):
    """One connection: counts its requests, knows its age, and refuses endless headers."""

    rules: Connections
    emptied: asyncio.Event
    direct: DirectInfer | None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note the time; asyncio calls it with the new transport."""
        super().connection_made(transport)
        self._corked = Corked(transport)
        self.transport: Any = self._corked  # all of a transport that uvicorn uses
        self.emptied.clear()
        self._opened_s = self.loop.time()
        self._requests = 0
        self._head_bytes = 0
        self._unparsed_bytes = 0
        self._in_head = self._gets_on = True
        self._is_unusual = False
        self._has_ended = False
        self._held: bytearray | None = None  # what has come of the body of a request that should go directly
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the listener when the last connection is gone."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # else a connection that was reset stays in memory until its time is over
        if not self.connections:
            self.emptied.set()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Tell whether a client that has said all it wants to still waits for answers to whole requests."""
        self._has_ended = True
        latest: Any = self.cycle
        return latest is not None and not latest.response_complete and not getattr(latest, "more_body", False)

    def data_received(self, data: bytes) -> None:
        """Parse. Bytes that bring neither a request nor a body count at once: of a head, or behind the last chunk.

        The parser keeps a half-read header for ever.
        """
        self._gets_on = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._held is not None:
            self._leave_to_application()  # the rest of its body comes later
        if self._in_head:
            self._await_head()
        if not self._gets_on:  # else most of it may have been what came before
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
        if self.headers[-1][0] in _UNUSUAL:
            self._is_unusual = True

    def on_message_begin(self) -> None:
        """Start a request, and decide whether its answer is the connection's last; behind that, stop the parser."""
        if self.transport.is_closing():  # the one before was refused at once
            raise EOFError
        super().on_message_begin()
        self._in_head, self._head_bytes, self._unparsed_bytes, self._is_unusual = True, 0, 0, False
        self._gets_on = True
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
        if self._may_go_directly():
            self._held = bytearray()
        else:
            self._leave_to_application()

    def _may_go_directly(self) -> bool:
        return (
            self.direct is not None
            and self.url in self.direct.paths
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self._is_unusual
            and not self.flow.write_paused
            and (self.cycle is None or self.cycle.response_complete)
        )

    def _leave_to_application(self) -> None:
        """Start uvicorn's cycle with what has come so far."""
        held, self._held = self._held, None
        super().on_headers_complete()
        scope: Any = self.scope
        scope[CYCLE] = self.cycle
        if held:
            super().on_body(bytes(held))

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._gets_on, self._unparsed_bytes = True, 0
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body

    def on_message_complete(self) -> None:
        """Answer a request that came whole; anything else is under way already."""
        if self._held is not None and self.direct is not None and len(self._held) <= self.direct.most_bytes:
            body, self._held = bytes(self._held), None
            scope: Any = self.scope
            whole: Any = Whole(self, self._corked, keep_alive=self.parser.should_keep_alive() and not scope[CLOSE])
            self.cycle = whole
            self.direct.start(self.headers, body, whole)
            return
        if self._held is not None:
            self._leave_to_application()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Send what the answer to a HEAD left behind; nothing comes behind the last word of a client."""
        self._corked.flush()
        super().on_response_complete()
        if self._has_ended and self.cycle.response_complete:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or has no end of headers; uvicorn's own words would be plain text."""
        if self.transport.is_closing():
            return
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
