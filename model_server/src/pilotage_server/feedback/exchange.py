"""One kept-alive HTTP/1.1 connection for POSTs, on an asyncio stream.

Importing a client library would cost every pod 0.35 s of the 0.5 s it has to become ready. One message at a time; a
connection the other side closed meanwhile is opened again once, so every message must be safe to send twice. Knows
neither collectors nor peers; every failure is a `ExchangeFailed`.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Final

from pilotage_server.feedback.wire import MAX_MESSAGE_BYTES
from pilotage_server.ports import bracketed

CONNECT_TIMEOUT_S: Final = 3.0
ANSWER_TIMEOUT_S: Final = 5.0
_STALE: Final = (BrokenPipeError, ConnectionResetError, asyncio.IncompleteReadError)


class ExchangeFailed(Exception):
    """No answer: the network, a timeout, or something that does not speak our HTTP. What was sent may have arrived."""


class Exchange:
    """A connection to one server, opened when needed. Not for concurrent use."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises `ExchangeFailed`."""
        kept_alive = self._streams is not None
        try:
            try:
                return await self._exchange(path, headers, body)
            except _STALE:
                # An idle connection the other side closed looks like this.
                self.close()
                if not kept_alive:
                    raise
                return await self._exchange(path, headers, body)
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError) as error:
            self.close()
            raise ExchangeFailed(f"{self._host}:{self._port}: {str(error) or type(error).__name__}") from error
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection; the next message opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._streams = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        reader, writer = self._streams
        head = f"POST {path} HTTP/1.1\r\nhost: {bracketed(self._host)}\r\ncontent-length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            writer.write(head.encode("ascii") + b"content-type: application/json\r\n\r\n" + body)
            await writer.drain()
            status, length, close = _read_head(await reader.readuntil(b"\r\n\r\n"))
            answer = await reader.readexactly(length)
        if close:
            self.close()
        return status, answer


def _read_head(head: bytes) -> tuple[int, int, bool]:
    """Status, body length and whether the connection ends. Raises ValueError for what our servers never send."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", "")
    if version != "HTTP/1.1" or not rest[:3].isdigit() or not length.isdigit() or int(length) > MAX_MESSAGE_BYTES:
        raise ValueError("the answer is not the collector's")
    return int(rest[:3]), int(length), headers.get("connection", "").lower() == "close"
