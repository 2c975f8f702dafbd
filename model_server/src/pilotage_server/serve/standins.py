"""What uvicorn takes for a transport and for a request under way, where its own would cost an answer too much.

Both have exactly what `uvicorn.protocols.http.httptools_impl` asks of the originals; `protocol` puts them in place.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Corked:
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

    def send(self, reply: bytes) -> None:
        """Send a whole answer."""
        self._transport.write(reply)

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


class _Nobody:
    """Stands for who waits for the rest of a request: nobody, it is all there."""

    def set(self) -> None:
        """Wake nobody."""


_NOBODY: Final = _Nobody()


class Whole:
    """A request that was read whole, under way past ASGI; uvicorn takes it for a cycle of its own."""

    __slots__ = ("_connection", "_transport", "disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self, connection: HttpToolsProtocol, transport: Corked, *, keep_alive: bool) -> None:
        self._connection = connection
        self._transport = transport
        self.keep_alive = keep_alive
        self.response_complete = self.disconnected = False
        self.message_event = _NOBODY

    @property
    def is_last(self) -> bool:
        """Tell whether the connection ends with it."""
        return not self.keep_alive

    def send(self, reply: bytes, *, closes: bool) -> None:
        """Send the whole reply, and let the connection go on, or end."""
        if self.disconnected:
            return
        self._transport.send(reply)
        self.response_complete = True
        if closes:
            self._transport.close()
        self._connection.on_response_complete()
