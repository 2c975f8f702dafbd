"""Heads of requests and answers as bytes. Pure.

Hop-by-hop fields never pass (RFC 9110 §7.6.1); how a body is framed is decided anew on each side.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from http import HTTPStatus

Header = tuple[bytes, bytes]

_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
    )
)
LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Framing(enum.Enum):
    """How the end of a body is told."""

    NONE = enum.auto()
    LENGTH = enum.auto()
    CHUNKED = enum.auto()
    CLOSE = enum.auto()


def request_framing(headers: Iterable[Header]) -> Framing:
    """Framing of a request's body."""
    return _framing(headers, Framing.NONE)


def response_framing(headers: Iterable[Header], method: bytes, status: int) -> Framing:
    """Framing of an answer's body; one that tells no end lasts until the connection closes."""
    if method == b"HEAD" or status in (204, 304):
        return Framing.NONE
    return _framing(headers, Framing.CLOSE)


def request_head(method: bytes, target: bytes, headers: Iterable[Header], client: bytes, chunked: bool) -> bytes:
    """The head to send to a pod."""
    parts = [method, b" ", target, b" HTTP/1.1\r\n"]
    forwarded = client
    for name, value in _passing(headers):
        if name == b"x-forwarded-for":
            forwarded = value + b", " + client
            continue
        parts += (name, b": ", value, b"\r\n")
    parts += (b"x-forwarded-for: ", forwarded, b"\r\n")
    if chunked:
        parts.append(b"transfer-encoding: chunked\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def response_head(status: int, reason: bytes, headers: Iterable[Header], chunked: bool, close: bool) -> bytes:
    """The head to send to a client."""
    parts = [b"HTTP/1.1 %d " % status, reason, b"\r\n"]
    for name, value in _passing(headers):
        parts += (name, b": ", value, b"\r\n")
    if chunked:
        parts.append(b"transfer-encoding: chunked\r\n")
    if close:
        parts.append(b"connection: close\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def own_response(status: int, text: str, *, close: bool, with_body: bool) -> bytes:
    """An answer of the gateway itself."""
    body = f"{text}\n".encode()
    headers = [
        (b"server", b"localclouds-gateway"),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    head = response_head(status, HTTPStatus(status).phrase.encode(), headers, chunked=False, close=close)
    return head + body if with_body else head


def chunk(data: bytes) -> bytes:
    """Body bytes as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _framing(headers: Iterable[Header], otherwise: Framing) -> Framing:
    found = otherwise
    for name, _ in headers:
        if name == b"transfer-encoding":
            return Framing.CHUNKED
        if name == b"content-length":
            found = Framing.LENGTH
    return found


def _passing(headers: Iterable[Header]) -> list[Header]:
    headers = list(headers)
    named = [value for name, value in headers if name == b"connection"]
    dropped = _HOP_BY_HOP
    if named and named != [b"keep-alive"] and named != [b"close"]:
        dropped |= {part.strip().lower() for value in named for part in value.split(b",")}
    return [(name, value) for name, value in headers if name not in dropped]
