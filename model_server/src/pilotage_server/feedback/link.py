"""One pod's connection to the collector of its model: a POST, its answer, nothing remembered.

One message at a time on one kept-alive connection, which is what the forwarder's ordering needs anyway.
Every failure of the network or of the other side becomes `CollectorUnavailable`; only `Unregistered` means something.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pilotage_server.feedback.announcing import write_announcement
from pilotage_server.feedback.exchange import Exchange, ExchangeFailed
from pilotage_server.feedback.keys import KeyRing
from pilotage_server.feedback.messages import Announcement, Decisions, Delivery
from pilotage_server.feedback.results import Result
from pilotage_server.feedback.seal import seal
from pilotage_server.feedback.wire import (
    DECISIONS_PATH,
    LABELS_PATH,
    QUALITY_PATH,
    REVISIONS_PATH,
    Incomprehensible,
    read_results,
    write_decisions,
    write_delivery,
    write_question,
)

DEFAULT_PORT: Final = 8090


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
        self._exchange = Exchange(address.host, address.port)
        self._ring = ring
        self._clock = clock

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
        self._exchange.close()

    async def _post(self, path: str, body: bytes) -> bytes:
        try:
            # Sending twice is safe: results are decided by nonce and row, the second time as `duplicate`.
            headers = seal(self._ring, path, body, int(self._clock() * 1000))
            status, answer = await self._exchange.post(path, headers, body)
        except ExchangeFailed as error:
            raise CollectorUnavailable(str(error)) from error
        match status:
            case 200:
                return answer
            case 409:
                raise Unregistered
            case _:
                raise CollectorUnavailable(f"the collector answered {status}: {answer[:200].decode(errors='replace')}")
