"""Replies: what an endpoint answers, before it becomes bytes on a connection. Pure.

Laws: everything but a success is {"error": …}; every reply on the data port carries the revision; whoever closes the
connection says so in the last header. An endpoint reached past uvicorn writes the same bytes as through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from pilotage_server.serve.errors import Rejected

Headers = Sequence[tuple[bytes, bytes]]
Reply = tuple[int, Headers, bytes]
"""Status, headers but for length and connection, body."""

JSON: Final = ((b"content-type", b"application/json"),)
_RETRY: Final = ((b"retry-after", b"1"),)
_CLOSE: Final = (b"connection", b"close")


def error_body(message: str) -> bytes:
    """The body of every answer that is not a success."""
    return orjson.dumps({"error": message})


def failure(status: int, message: str, *headers: tuple[bytes, bytes]) -> Reply:
    """An answer that is not a success."""
    return status, (*JSON, *headers), error_body(message)


def refusal(rejected: Rejected) -> Reply:
    """What a client hears whose request was rejected; overload says when to come again."""
    return failure(rejected.status, str(rejected), *(_RETRY if rejected.status == 503 else ()))


def fault(error: Exception) -> Reply:
    """What a client hears when the server failed; the caller logs the rest."""
    return failure(500, f"the server failed on this request ({type(error).__name__}); its log says more")


class Framer:
    """Completes replies of one revision: with its name, their length, and whether the connection ends with them."""

    def __init__(self, revision: str) -> None:
        self._revision = (b"x-pilotage-revision", revision.encode("latin-1", "replace"))
        # The reply nearly every request gets, but for its length.
        self._success = _head(200, (*JSON, self._revision))

    def headers(self, reply: Reply, *, closes: bool) -> list[tuple[bytes, bytes]]:
        """All headers of a reply."""
        _, headers, body = reply
        framed = [*headers, self._revision, (b"content-length", b"%d" % len(body))]
        if closes:
            framed.append(_CLOSE)
        return framed

    def frame(self, reply: Reply, *, closes: bool) -> bytes:
        """A reply as it travels."""
        status, headers, body = reply
        if status == 200 and headers is JSON and not closes:
            return b"%bcontent-length: %d\r\n\r\n%b" % (self._success, len(body), body)
        return b"%b\r\n%b" % (_head(status, self.headers(reply, closes=closes)), body)


def _head(status: int, headers: Headers) -> bytes:
    return STATUS_LINE[status] + b"".join(b"%b: %b\r\n" % header for header in headers)
