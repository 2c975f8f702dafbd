"""Connections to pods: opened, used for one request at a time, kept for the next one while that is safe.

Invariants: a connection is used again only if its last answer allowed it, nothing came in meanwhile, it was
idle for less than any server's keep-alive time, its pod is still ready, and the kernel has not seen the pod
close it. So no request is sent into a connection that its server has already given up, without ever sending a
request twice.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

import httptools

from localclouds.gateway.messages import Header
from localclouds.kube import Endpoint

if TYPE_CHECKING:
    from localclouds.gateway.exchange import Exchange

# The common servers keep idle connections for 5 s (uvicorn, Node) or longer.
IDLE_S = 2.0
CONNECT_S = 3.0

Address = tuple[str, int]


class Pool:
    """Idle connections by address. Not bounded: there are never more than requests were under way at once."""

    def __init__(self) -> None:
        self._idle: dict[Address, list[Upstream]] = {}
        self._live: set[str] = set()
        self.connects = 0

    def set_live(self, host: str, is_live: bool) -> None:
        """A pod began or ceased to take requests; connections to one that ceased are closed as soon as they
        are idle.
        """
        if is_live:
            self._live.add(host)
            return
        self._live.discard(host)
        for address in [address for address in self._idle if address[0] == host]:
            for upstream in self._idle.pop(address):
                upstream.close()

    def take(self, endpoint: Endpoint) -> Upstream | None:
        """An idle connection that is safe to use, or None."""
        idle = self._idle.get((endpoint.host, endpoint.port))
        oldest = asyncio.get_running_loop().time() - IDLE_S
        while idle:
            upstream = idle.pop()
            if upstream.idle_since > oldest and upstream.is_quiet():
                return upstream
            upstream.close()
        return None

    async def connect(self, endpoint: Endpoint) -> Upstream:
        """Open a connection. Raises OSError or TimeoutError."""
        loop = asyncio.get_running_loop()
        address = (endpoint.host, endpoint.port)
        # A socket of our own: event loops do not lend theirs for `is_quiet`.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(CONNECT_S):
                await loop.sock_connect(sock, address)
            _, upstream = await loop.create_connection(lambda: Upstream(self, address, sock), sock=sock)
        except BaseException:
            sock.close()
            raise
        self.connects += 1
        return upstream

    def put(self, upstream: Upstream) -> None:
        """Keep a connection for the next request, if its pod still takes any."""
        if upstream.address[0] in self._live:
            upstream.idle_since = asyncio.get_running_loop().time()
            self._idle.setdefault(upstream.address, []).append(upstream)
        else:
            upstream.close()

    def forget(self, upstream: Upstream) -> None:
        """The connection is closed."""
        idle = self._idle.get(upstream.address)
        if idle and upstream in idle:
            idle.remove(upstream)

    def sweep(self) -> None:
        """Close what was idle for too long."""
        oldest = asyncio.get_running_loop().time() - IDLE_S
        for address, idle in list(self._idle.items()):
            for upstream in [upstream for upstream in idle if upstream.idle_since <= oldest]:
                idle.remove(upstream)
                upstream.close()
            if not idle:
                del self._idle[address]

    @property
    def idle(self) -> int:
        """How many connections wait."""
        return sum(map(len, self._idle.values()))


class Upstream(asyncio.Protocol):
    """One connection to a pod; `exchange` is the request under way on it."""

    def __init__(self, pool: Pool, address: Address, sock: socket.socket) -> None:
        self.address = address
        self.exchange: Exchange | None = None
        self.idle_since = 0.0
        self._pool = pool
        self._sock = sock
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[Header] = []
        self._reason = b""
        self._is_interim = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is open."""
        self.transport = cast(asyncio.Transport, transport)

    def is_quiet(self) -> bool:
        """Whether nothing waits to be read: no end of the connection either."""
        if self.transport.is_closing():
            return False
        try:
            self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close it, finally."""
        self.transport.close()

    def abort(self) -> None:
        """Close it in the middle of a request."""
        self.exchange = None
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        exchange = self.exchange
        if exchange is None:
            self.transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.exchange is not None:
                self.exchange = None
                exchange.upstream_failed(f"the pod's answer cannot be read: {error}")
            self.transport.abort()
        exchange.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is closed."""
        self._pool.forget(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.upstream_closed(exc)

    def pause_writing(self) -> None:
        """asyncio: the peer takes too little."""
        if self.exchange is not None:
            self.exchange.pause_request()

    def resume_writing(self) -> None:
        """asyncio: the peer takes more again."""
        if self.exchange is not None:
            self.exchange.resume_request()

    def on_message_begin(self) -> None:
        """httptools: a new answer."""
        self._headers = []
        self._reason = b""

    def on_status(self, reason: bytes) -> None:
        """httptools: the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: a header field."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """httptools: the head is complete."""
        status = self._parser.get_status_code()
        self._is_interim = 100 <= status < 200
        exchange = self.exchange
        if self._is_interim or exchange is None:
            return
        exchange.response_begins(status, self._reason, self._headers)
        if exchange.method == b"HEAD":
            # The parser would wait for the body that the head announces and that never comes.
            self._complete(may_stay=False)

    def on_body(self, body: bytes) -> None:
        """httptools: a part of the body."""
        if self.exchange is not None:
            self.exchange.response_continues(body)

    def on_message_complete(self) -> None:
        """httptools: the answer is complete."""
        if not self._is_interim:
            self._complete(may_stay=self._parser.should_keep_alive())

    def _complete(self, may_stay: bool) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        if may_stay and exchange.is_request_complete:
            self.transport.resume_reading()
            self._pool.put(self)
        else:
            self.transport.close()
        exchange.response_ends()
