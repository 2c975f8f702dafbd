"""Connections of clients: bytes to requests, one answered after the other.

Invariants: answers leave in the order of their requests; a connection with a malformed request is answered
400 and closed. Limits: 64 KiB of head, 16 requests ahead of their answers, 75 s without a request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import httptools

from localclouds.gateway import messages
from localclouds.gateway.exchange import Core, Exchange, Head
from localclouds.gateway.messages import Header

MOST_HEAD_BYTES = 64 * 1024
MOST_AHEAD = 16
IDLE_S = 75.0


class ClientConnection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, core: Core, connections: set[ClientConnection]) -> None:
        self.idle_since: float | None = asyncio.get_running_loop().time()
        self._core = core
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._parsing: Exchange | None = None
        self._target = b""
        self._headers: list[Header] = []
        self._head_bytes = 0
        self._is_refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is open."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0].encode() if peer else b"unknown"
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is closed."""
        self._connections.discard(self)
        queue, self._queue = self._queue, deque()
        for exchange in queue:
            exchange.client_left()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        if self._is_refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(501, "protocol upgrades are not supported")
        except httptools.HttpParserError as error:
            self._refuse(400, f"not a request: {error}")
        else:
            # Only now: a request that came whole is sent in one piece, and an early refusal finds it
            # complete.
            self._start_first()

    def pause_writing(self) -> None:
        """asyncio: the peer takes too little."""
        if self._queue:
            self._queue[0].pause_response()

    def resume_writing(self) -> None:
        """asyncio: the peer takes more again."""
        if self._queue:
            self._queue[0].resume_response()

    def write(self, data: bytes) -> None:
        """Send bytes of the first exchange."""
        self._transport.write(data)

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def pause_reading(self) -> None:
        """Take no more for now."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def exchange_over(self, exchange: Exchange, keep: bool) -> None:
        """The first exchange is complete: go on with the next, or close."""
        if self._queue and self._queue[0] is exchange:
            self._queue.popleft()
        if not keep:
            self._is_refused = True
            self._transport.close()
            return
        self.resume_reading()
        if self._queue:
            self._queue[0].start()
        else:
            self.idle_since = asyncio.get_running_loop().time()

    def close_if_idle(self, since: float = float("inf")) -> None:
        """Close it if it has been idle since then or longer."""
        if self.idle_since is not None and self.idle_since <= since:
            self._transport.close()

    def on_message_begin(self) -> None:
        """httptools: a new request."""
        self._target = b""
        self._headers = []
        self._head_bytes = 0
        self._parsing = None
        self.idle_since = None

    def on_url(self, part: bytes) -> None:
        """httptools: a part of the target."""
        self._target += part
        self._count(len(part))

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: a header field."""
        self._headers.append((name.lower(), value))
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """httptools: the head is complete."""
        if self._is_refused:
            return
        if len(self._queue) >= MOST_AHEAD:
            self._refuse(400, f"more than {MOST_AHEAD} requests ahead of their answers")
            return
        head = Head(
            method=self._parser.get_method(),
            target=self._target,
            headers=self._headers,
            keep_alive=self._parser.should_keep_alive(),
            is_http_1_0=self._parser.get_http_version() == "1.0",
            client=self._peer,
        )
        exchange = Exchange(self, head, self._core)
        self._parsing = exchange
        self._queue.append(exchange)
        if any(name == b"expect" and value.lower() == b"100-continue" for name, value in self._headers):
            self._transport.write(messages.CONTINUE)

    def on_body(self, body: bytes) -> None:
        """httptools: a part of the body."""
        if self._parsing is not None:
            self._parsing.request_continues(body)

    def on_message_complete(self) -> None:
        """httptools: the request is complete."""
        if self._parsing is not None:
            self._parsing.request_ends()

    def _start_first(self) -> None:
        if self._queue and not self._queue[0].is_started:
            self._queue[0].start()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MOST_HEAD_BYTES and not self._is_refused:
            self._refuse(431, f"the head is larger than {MOST_HEAD_BYTES} bytes")

    def _refuse(self, code: int, text: str) -> None:
        self._is_refused = True
        self._core.metrics.count("", "", code, 0.0)
        # Requests that were read and not begun end here too: nobody was asked.
        while self._queue and not self._queue[-1].is_started:
            self._queue.pop()
        if self._queue:
            # Answers of earlier requests are still due; one out of turn would be taken for theirs.
            self._transport.abort()
            return
        self._transport.write(messages.own_response(code, text, close=True, with_body=True))
        self._transport.close()
