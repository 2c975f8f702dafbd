"""HTTP bodies: read under a cap, unpacked, and split into JSON and the binary tensors behind it.

Laws: nothing larger than the limit is ever held, packed or unpacked; a client whose body is refused hears why.
Source of the split: the binary tensor data extension of the Open Inference Protocol, whose header
`inference-header-content-length` says where JSON ends.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pilotage_server.serve.errors import Reason, Rejected

BODY_TIMEOUT_S: Final = 30.0
JSON_LENGTH: Final = b"inference-header-content-length"
_LENIENCE: Final = 4
"""A body too large is read up to that many times the limit before it is refused, so that its sender hears
why.
"""
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS

Headers = Sequence[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """What the headers say of a body.

    `length`: its bytes, None if they come in chunks. `json_bytes`: where JSON ends and binary tensors begin; None: all
    of it is JSON. `deadline_s`: how long the client will wait, None if it does not say.
    """

    gzip: bool = False
    length: int | None = None
    json_bytes: int | None = None
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """JSON, and the bytes of binary tensors behind it."""

    json: bytes
    tail: bytes = b""


def read_framing(headers: Headers) -> Framing:
    """Read the headers that matter to a body; raises `Rejected` for what this server does not speak."""
    gzip, length, json_bytes, deadline_s = False, None, None, None
    for name, value in headers:
        if name == b"content-length":
            length = _whole(name, value)
        elif name == b"content-encoding":
            gzip = _is_gzip(value.strip().lower())
        elif name == JSON_LENGTH:
            json_bytes = _whole(name, value)
        elif name == b"x-request-deadline-ms":
            deadline_s = _whole(name, value) / 1000
        elif name == b"upgrade":
            message = (
                "upgrade: this server speaks plain HTTP/1.1; leave the header out (Java: HttpClient.Version.HTTP_1_1)"
            )
            raise Rejected(Reason.ENCODING, message)
    return Framing(gzip=gzip, length=length, json_bytes=json_bytes, deadline_s=deadline_s)


async def read_body(receive: Receive, limit: int, framing: Framing, cycle: Any = None) -> bytes:
    """Read a whole body; raises `Rejected` when it is too large or does not come. Nobody is asked to send what would be
    refused.

    `cycle`: uvicorn's, if there is one. A body that came with its head is all there before the application starts, and
    needs neither waiting nor a timer.
    """
    if cycle is not None and not cycle.more_body and len(cycle.body) <= limit:
        return bytes(cycle.body)
    if framing.length is not None and framing.length > limit * _LENIENCE:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while more and size <= limit * _LENIENCE:
                message = await receive()
                chunk = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(chunk)
                if size <= limit:
                    chunks.append(chunk)
    except TimeoutError as error:
        text = f"body: is not complete after {BODY_TIMEOUT_S:g} s; send it faster"
        raise Rejected(Reason.BODY, text, status=408) from error
    if size > limit:
        raise _too_large(limit)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def unpack(raw: bytes, framing: Framing, limit: int) -> Body:
    """Unpack and split what was read; raises `Rejected`. `limit` holds for the unpacked bytes too."""
    content = _gunzip(raw, limit) if framing.gzip else raw
    ends = framing.json_bytes
    if ends is None:
        return Body(json=content)
    if ends > len(content):
        raise Rejected(
            Reason.ENCODING,
            f"{JSON_LENGTH.decode()}: {ends}, but the body has {len(content)} bytes; send the length of its JSON part",
        )
    return Body(json=content[:ends], tail=content[ends:])


def _gunzip(raw: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        content = unpacker.decompress(raw, limit + 1)
    except zlib.error as error:
        raise Rejected(Reason.ENCODING, f"content-encoding: the body is not gzip ({error})") from error
    if len(content) > limit:
        raise _too_large(limit)
    if not unpacker.eof or unpacker.unused_data:
        raise Rejected(Reason.ENCODING, "content-encoding: the body is not exactly one whole gzip stream")
    return content


def _is_gzip(encoding: bytes) -> bool:
    if encoding not in (b"gzip", b"x-gzip", b"identity", b""):
        shown = encoding[:32].decode("latin-1")
        raise Rejected(Reason.ENCODING, f"content-encoding: {shown!r}; send gzip, or no encoding", status=415)
    return encoding in (b"gzip", b"x-gzip")


def _whole(name: bytes, value: bytes) -> int:
    text = value.strip()
    if not text.isdigit() or len(text) > 12:
        shown = text[:32].decode("latin-1")
        raise Rejected(Reason.ENCODING, f"{name.decode()}: {shown!r} is not a whole number")
    return int(text)


def _too_large(limit: int) -> Rejected:
    return Rejected(Reason.SIZE, f"body: more than {limit} bytes; send fewer rows at once", status=413)
