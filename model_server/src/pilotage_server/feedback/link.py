"""One pod's connection to the collector of its model: a POST, its answer, nothing remembered.

Speaks HTTP/1.1 on an asyncio stream: importing a client library would cost every pod 0.35 s of the 0.5 s it has to
become ready. One message at a time on one kept-alive connection, which is what the forwarder's ordering needs anyway.
Every failure of the network or of the other side becomes `CollectorUnavailable`; only `Unregistered` means something.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pilotage_server.feedback.keys import KeyRing
from pilotage_server.feedback.results import Result
from pilotage_server.feedback.wire import (
    DECISIONS_PATH,
    LABELS_PATH,
    MAX_MESSAGE_BYTES,
    QUALITY_PATH,
    REVISIONS_PATH,
    Announcement,
    Decisions,
    Delivery,
    Incomprehensible,
    read_results,
    seal,
    write_announcement,
    write_decisions,
    write_delivery,
    write_question,
)

CONNECT_TIMEOUT_S: Final = 3.0
ANSWER_TIMEOUT_S: Final = 5.0
DEFAULT_PORT: Final = 8090
_STALE: Final = (BrokenPipeError, ConnectionResetError, asyncio.IncompleteReadError)


class CollectorUnavailable(Exception):
    """The collector cannot take labels now: retry after `retry_after_s`. Nothing is known to be stored."""

    def __init__(self, reason: str, *, retry_after_s: int = 1) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Unregistered(Exception):
    """The collector does not know the sender's revision: announce it, then send again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorAddress:
    """Where the collector's Service answers."""

    host: str
    port: int

    @classmethod
    def from_env(cls, service: str, env: Mapping[str, str]) -> "CollectorAddress":
        """The address of Service `service` from the variables Kubernetes gives a pod, else by its DNS name.

        A pod older than its collector's Service has no variables.
        """
        prefix = service.upper().replace("-", "_")
        port = env.get(f"{prefix}_SERVICE_PORT", "")
        host = env.get(f"{prefix}_SERVICE_HOST", "")
        return cls(host=host or service, port=int(port) if port.isdigit() else DEFAULT_PORT)


class CollectorLink:
    """Sends one message at a time. Not for concurrent use: the forwarder and the registration each own one."""

    def __init__(self, address: CollectorAddress, ring: KeyRing, *, clock: Callable[[], float] = time.time) -> None:
        self._address = address
        self._ring = ring
        self._clock = clock
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def announce(self, announcement: Announcement) -> None:
        """Make the revision known. Raises `CollectorUnavailable`."""
        await self._post(REVISIONS_PATH, write_announcement(announcement))

    async def deliver(self, delivery: Delivery) -> list[Result]:
        """Hand over labels; the results are durable when this returns.

        Raises `CollectorUnavailable` (the labels may or may not be stored; sending them again is safe) and
        `Unregistered`.
        """
        answer = await self._post(LABELS_PATH, write_delivery(delivery))
        try:
            return read_results(answer, len(delivery.items))
        except Incomprehensible as error:
            raise CollectorUnavailable(f"the collector's answer cannot be read: {error}") from error

    async def tell(self, decisions: Decisions) -> None:
        """Hand over what a shadow decided. Raises `CollectorUnavailable` and `Unregistered`."""
        await self._post(DECISIONS_PATH, write_decisions(decisions))

    async def quality(self, model: str) -> bytes:
        """The collector's numbers about `model`, as JSON. Raises `CollectorUnavailable`."""
        return await self._post(QUALITY_PATH, write_question(model))

    def close(self) -> None:
        """Drop the connection; the next message opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _post(self, path: str, body: bytes) -> bytes:
        kept_alive = self._streams is not None
        try:
            try:
                status, answer = await self._exchange(path, body)
            except _STALE:
                # An idle connection the other side closed looks like this. Sending twice is safe: results are
                # decided by nonce and row, the second time as `duplicate`.
                self.close()
                if not kept_alive:
                    raise
                status, answer = await self._exchange(path, body)
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError) as error:
            self.close()
            place = f"{self._address.host}:{self._address.port}"
            raise CollectorUnavailable(f"{place}: {str(error) or type(error).__name__}") from error
        except asyncio.CancelledError:
            self.close()
            raise
        match status:
            case 200:
                return answer
            case 409:
                raise Unregistered
            case _:
                raise CollectorUnavailable(f"the collector answered {status}: {answer[:200].decode(errors='replace')}")

    async def _exchange(self, path: str, body: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._streams = await asyncio.open_connection(self._address.host, self._address.port)
        reader, writer = self._streams
        headers = seal(self._ring, path, body, int(self._clock() * 1000))
        head = f"POST {path} HTTP/1.1\r\nhost: {self._address.host}\r\ncontent-length: {len(body)}\r\n"
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
    """Status, body length and whether the connection ends. Raises ValueError for what our collector never sends."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", "")
    if version != "HTTP/1.1" or not rest[:3].isdigit() or not length.isdigit() or int(length) > MAX_MESSAGE_BYTES:
        raise ValueError("the answer is not the collector's")
    return int(rest[:3]), int(length), headers.get("connection", "").lower() == "close"
