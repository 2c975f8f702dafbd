"""One request and its answer: routed, sent to one pod once, and passed back as it comes.

Invariants: a request is sent at most once, to at most one pod; every exchange is counted exactly once, with
the code that the client got (or 499 when the client left, 502 when the answer was cut). Knows protocols'
bytes, not sockets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from localclouds.gateway import messages
from localclouds.gateway.messages import Framing, Header
from localclouds.gateway.metrics import CLIENT_GONE, Metrics
from localclouds.gateway.routes import Request
from localclouds.gateway.table import Refusal, Table, Target
from localclouds.gateway.upstream import Pool, Upstream
from localclouds.kube import Endpoint

# So much of a request is taken in while the connection to its pod is being made.
_MOST_WAITING = 256 * 1024
ANSWER_S = 60.0


class Client(Protocol):
    """The client's side of an exchange."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def exchange_over(self, exchange: Exchange, keep: bool) -> None:
        """The answer is complete; `keep` whether the connection can take another request."""

    def abort(self) -> None:
        """Cut the connection: the answer cannot be completed."""

    def pause_reading(self) -> None:
        """Take no more of the request for now."""

    def resume_reading(self) -> None:
        """Go on."""


@dataclass(slots=True, kw_only=True)
class Core:
    """What all exchanges of the gateway share."""

    table: Table
    pool: Pool
    metrics: Metrics
    active: set[Exchange] = field(default_factory=set)
    is_draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request's head as it came; header names in lower case."""

    method: bytes
    target: bytes
    headers: Sequence[Header]
    keep_alive: bool
    is_http_1_0: bool
    client: bytes


class Exchange:
    """Carries one request. Methods are called by the two connections, never at the same time."""

    def __init__(self, client: Client, head: Head, core: Core) -> None:
        self.method = head.method
        self.is_started = False
        self.is_request_complete = False
        self.last_progress = asyncio.get_running_loop().time()
        # Event loops keep time in milliseconds: too coarse for this.
        self._began = time.perf_counter()
        self._client = client
        self._head = head
        self._core = core
        self._upstream: Upstream | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._out: list[bytes] = []
        self._request_framing = messages.request_framing(head.headers)
        self._framing = Framing.NONE
        self._code = 0
        self._close = False
        self._ends_with_connection = False
        self._is_over = False
        self._route = self._backend = ""

    def start(self) -> None:
        """Route the request and send it."""
        self.is_started = True
        self._core.active.add(self)
        request = _routable(self._head)
        chosen = self._core.table.choose(request)
        self._route, self._backend = chosen.route, chosen.backend
        if isinstance(chosen, Refusal):
            self._refuse(chosen.code, chosen.text)
            return
        self._prepare_head(chosen, request)
        upstream = self._core.pool.take(chosen.endpoint)
        if upstream is not None:
            self._begin(upstream)
        else:
            self._connecting = asyncio.ensure_future(self._connect(chosen.endpoint))

    def request_continues(self, data: bytes) -> None:
        """A part of the request's body came."""
        if self._is_over:
            return
        self._send(messages.chunk(data) if self._request_framing is Framing.CHUNKED else data)
        if self._upstream is None and self._waiting_bytes > _MOST_WAITING:
            self._client.pause_reading()

    def request_ends(self) -> None:
        """The request is complete."""
        self.is_request_complete = True
        if not self._is_over and self._request_framing is Framing.CHUNKED:
            self._send(messages.LAST_CHUNK)

    def pause_request(self) -> None:
        """The pod takes the body more slowly than it comes."""
        self._client.pause_reading()

    def resume_request(self) -> None:
        """The pod takes more of it."""
        self._client.resume_reading()

    def pause_response(self) -> None:
        """The client takes the answer more slowly than it comes."""
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def resume_response(self) -> None:
        """The client takes more of it."""
        if self._upstream is not None and not self._upstream.transport.is_closing():
            self._upstream.transport.resume_reading()

    def response_begins(self, status: int, reason: bytes, headers: list[Header]) -> None:
        """The head of the answer came."""
        self._code = status
        self.last_progress = asyncio.get_running_loop().time()
        framing = messages.response_framing(headers, self.method, status)
        self._ends_with_connection = framing is Framing.CLOSE
        if framing in (Framing.CLOSE, Framing.CHUNKED):
            # A client of HTTP/1.0 knows no chunks: its end of the answer is the end of the connection.
            framing = Framing.CLOSE if self._head.is_http_1_0 else Framing.CHUNKED
        self._framing = framing
        self._close = framing is Framing.CLOSE or not self._may_keep_client
        chunked = framing is Framing.CHUNKED
        self._out.append(messages.response_head(status, reason, headers, chunked, self._close))

    def response_continues(self, data: bytes) -> None:
        """A part of the answer's body came."""
        self.last_progress = asyncio.get_running_loop().time()
        self._out.append(messages.chunk(data) if self._framing is Framing.CHUNKED else data)

    def response_ends(self) -> None:
        """The answer is complete."""
        if self._framing is Framing.CHUNKED:
            self._out.append(messages.LAST_CHUNK)
        self.flush()
        self._upstream = None
        self._over(self._code)
        self._client.exchange_over(self, keep=not self._close and self.is_request_complete)

    def flush(self) -> None:
        """Send what was gathered, in one piece."""
        if self._out:
            self._client.write(b"".join(self._out))
            self._out.clear()

    def upstream_closed(self, error: Exception | None) -> None:
        """The pod closed the connection before the answer was complete, or so it seems."""
        self._upstream = None
        if self._code and self._ends_with_connection and error is None:
            self.response_ends()
        else:
            self.upstream_failed("the pod closed the connection before its answer was complete")

    def upstream_failed(self, text: str, code: int = 502) -> None:
        """No (more) answer comes from the pod."""
        self._upstream = None
        if self._is_over:
            return
        if self._code:
            self._over(502)
            self._client.abort()
        else:
            self._refuse(code, text)

    def client_left(self) -> None:
        """The client closed its connection; the pod is told in the same way."""
        if self._is_over:
            return
        self._over(CLIENT_GONE)
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()

    def time_out(self) -> None:
        """The pod was silent for too long."""
        upstream = self._upstream
        if upstream is not None:
            upstream.abort()
        self.upstream_failed(f"the pod did not answer within {ANSWER_S:g} s", code=504)

    async def _connect(self, endpoint: Endpoint) -> None:
        try:
            upstream = await self._core.pool.connect(endpoint)
        except (OSError, TimeoutError) as error:
            # The pod is gone and the watch has not said so yet. Another pod would answer, but that is the
            # client's to try.
            self.upstream_failed(f"pod {endpoint.pod} cannot be reached: {error or type(error).__name__}")
            return
        if self._is_over:
            self._core.pool.put(upstream)
        else:
            self._begin(upstream)

    def _begin(self, upstream: Upstream) -> None:
        upstream.exchange = self
        self._upstream = upstream
        upstream.transport.write(b"".join(self._waiting))
        self._waiting.clear()
        if self._waiting_bytes > _MOST_WAITING:
            self._client.resume_reading()
        self._waiting_bytes = 0

    def _send(self, data: bytes) -> None:
        self.last_progress = asyncio.get_running_loop().time()
        if self._upstream is not None:
            self._upstream.transport.write(data)
        else:
            self._waiting.append(data)
            self._waiting_bytes += len(data)

    def _prepare_head(self, chosen: Target, request: Request) -> None:
        target = chosen.path if not request.query else f"{chosen.path}?{request.query}"
        head = self._head
        chunked = self._request_framing is Framing.CHUNKED
        raw = messages.request_head(head.method, target.encode("latin-1"), head.headers, head.client, chunked)
        # In front of what has come of the body already.
        self._waiting.insert(0, raw)

    def _refuse(self, code: int, text: str) -> None:
        self._over(code)
        keep = self._may_keep_client and self.is_request_complete
        answer = messages.own_response(code, text, close=not keep, with_body=self.method != b"HEAD")
        self._client.write(answer)
        self._client.exchange_over(self, keep=keep)

    @property
    def _may_keep_client(self) -> bool:
        return self._head.keep_alive and not self._head.is_http_1_0 and not self._core.is_draining

    def _over(self, code: int) -> None:
        self._is_over = True
        self._core.active.discard(self)
        spent = time.perf_counter() - self._began
        self._core.metrics.count(self._route, self._backend, code, spent)


def _routable(head: Head) -> Request:
    # Latin-1 gives every byte back as it came.
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    target, host = head.target.decode("latin-1"), headers.get("host", "")
    if not target.startswith("/"):
        _, _, rest = target.partition("://")
        host, _, target = rest.partition("/")
        target = f"/{target}"
    path, _, query = target.partition("?")
    name = host if host.startswith("[") else host.partition(":")[0]
    return Request(name.lower().rstrip("."), head.method.decode("latin-1"), path, query, headers)
