"""The collector's two HTTP faces: messages from pods on one port, health and numbers on the other.

Pods prove themselves with the feedback key; the admin port shows integers and takes nothing. Every answer to a message
is a fact on disk or a refusal: 401 not one of ours, 400 not understood, 409 announce first, 503 not now.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import orjson
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from pilotage_server.feedback.collector.exposition import quality
from pilotage_server.feedback.collector.settings import ConfigFile
from pilotage_server.feedback.collector.work import Announced, Conflict, Delivered, Outcome, UnknownSender, Work
from pilotage_server.feedback.collector.writer import Busy, Writer
from pilotage_server.feedback.keys import KeyRing
from pilotage_server.feedback.wire import (
    LABELS_PATH,
    MAX_MESSAGE_BYTES,
    REVISIONS_PATH,
    Incomprehensible,
    NotOurs,
    check_seal,
    read_announcement,
    read_delivery,
    write_results,
)

RETRY_AFTER: Final = {"retry-after": "1"}
_log = structlog.get_logger(__name__)


class Service:
    """Handlers over one writer. `scraped` is set by every scrape of the snapshot that is still the last one."""

    def __init__(
        self,
        writer: Writer,
        ring: KeyRing,
        config: ConfigFile,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._writer = writer
        self._ring = ring
        self._config = config
        self._registry = registry
        self._clock = clock
        self._last_refusal = ""
        self.is_draining = False
        self.scraped = asyncio.Event()

    def messages(self) -> web.Application:
        """The application pods talk to."""
        application = web.Application(client_max_size=MAX_MESSAGE_BYTES)
        application.router.add_post(LABELS_PATH, self._take_message)
        application.router.add_post(REVISIONS_PATH, self._take_message)
        return application

    def admin(self) -> web.Application:
        """The application probes, Prometheus and people read."""
        application = web.Application()
        application.router.add_get("/v2/health/live", self._live)
        application.router.add_get("/v2/health/ready", self._ready)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/quality", self._quality)
        return application

    async def _take_message(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            check_seal(self._ring, request.path, request.headers, body, int(self._clock() * 1000))
            work = self._read(request.path, body)
            outcome = await self._writer.submit(work)
        except NotOurs as error:
            if str(error) != self._last_refusal:
                _log.warning("collector.message_refused", error=str(error), sender=request.remote)
                self._last_refusal = str(error)
            return _refusal(401, str(error))
        except Incomprehensible as error:
            return _refusal(400, str(error))
        except Busy as error:
            return _refusal(503, str(error), RETRY_AFTER)
        return _answer(outcome)

    def _read(self, path: str, body: bytes) -> Work:
        work: Work = read_delivery(body) if path == LABELS_PATH else read_announcement(body)
        if work.model != self._config.current.model:
            raise Incomprehensible(f"model: {work.model!r}; this collector counts {self._config.current.model!r}")
        return work

    async def _live(self, _: web.Request) -> web.Response:
        return _json(200, {"live": True})

    async def _ready(self, _: web.Request) -> web.Response:
        is_ready = self._writer.is_healthy and not self.is_draining
        return _json(200 if is_ready else 503, {"live": True, "ready": is_ready})

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        # A wide confusion matrix takes milliseconds to write out.
        shown = self._writer.snapshot
        body = await asyncio.to_thread(encode, self._registry)
        if shown is self._writer.snapshot:
            self.scraped.set()
        return web.Response(body=body, headers={"content-type": content_type})

    async def _quality(self, _: web.Request) -> web.Response:
        return _json(200, quality(self._writer.snapshot, self._config.current))


def _answer(outcome: Outcome) -> web.Response:
    match outcome:
        case Announced():
            return _json(200, {})
        case Delivered(results=results):
            return web.Response(body=write_results(results), content_type="application/json")
        case UnknownSender():
            return _refusal(409, "sender: not registered; announce it, then send again")
        case Conflict(reason=reason):
            return _refusal(400, reason)


def _refusal(status: int, error: str, headers: dict[str, str] | None = None) -> web.Response:
    return _json(status, {"error": error}, headers)


def _json(status: int, document: object, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json", headers=headers)
