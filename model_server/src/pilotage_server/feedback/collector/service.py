"""The collector's two HTTP faces: messages from pods on one port, health and numbers on the other.

Pods prove themselves with the feedback key; the admin port shows integers and takes nothing. Every answer to a message
is a fact on disk or a refusal: 401 not one of ours, 400 not understood, 409 announce first, 503 not now.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

import orjson
import structlog
from aiohttp import web

from pilotage_server.feedback.announcing import read_announcement
from pilotage_server.feedback.collector.exposition import Exposition
from pilotage_server.feedback.collector.quality import quality
from pilotage_server.feedback.collector.settings import ConfigFile
from pilotage_server.feedback.collector.work import (
    Announced,
    Conflict,
    Delivered,
    Noted,
    Outcome,
    UnknownSender,
    Work,
)
from pilotage_server.feedback.collector.writer import Busy, Writer
from pilotage_server.feedback.credentials import Credentials
from pilotage_server.feedback.items import Answer, Judge, Place, Refused, answer_of, read_request, written
from pilotage_server.feedback.keys import KeyRing
from pilotage_server.feedback.messages import RELAYED, Delivery, Item
from pilotage_server.feedback.seal import NotOurs, check_seal
from pilotage_server.feedback.wire import (
    DECISIONS_PATH,
    LABELS_PATH,
    MAX_MESSAGE_BYTES,
    QUALITY_PATH,
    RELAY_PATH,
    REVISIONS_PATH,
    Incomprehensible,
    read_decisions,
    read_delivery,
    read_question,
    write_results,
)

_READERS: Final[Mapping[str, Callable[[bytes], Work]]] = {
    REVISIONS_PATH: read_announcement,
    LABELS_PATH: read_delivery,
    DECISIONS_PATH: read_decisions,
}
RETRY_AFTER: Final = {"retry-after": "1"}
_log = structlog.get_logger(__name__)


class Service:
    """Handlers over one writer. `scraped` is set by every scrape of the snapshot that is still the last one."""

    def __init__(
        self,
        writer: Writer,
        ring: KeyRing,
        config: ConfigFile,
        exposition: Exposition,
        *,
        credentials: Credentials | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._writer = writer
        self._ring = ring
        self._config = config
        self._exposition = exposition
        self._credentials = credentials or Credentials(None)
        self._clock = clock
        self._last_refusal = ""
        self.is_draining = False
        self.scraped = asyncio.Event()

    def messages(self) -> web.Application:
        """The application pods talk to."""
        application = web.Application(client_max_size=MAX_MESSAGE_BYTES)
        for path in _READERS:
            application.router.add_post(path, self._take_message)
        application.router.add_post(QUALITY_PATH, self._tell_quality)
        application.router.add_post(RELAY_PATH, self._take_relayed)
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
            self._check(request, body)
            outcome = await self._writer.submit(self._read(request.path, body))
        except NotOurs as error:
            return _refusal(401, str(error))
        except Incomprehensible as error:
            return _refusal(400, str(error))
        except Busy as error:
            return _refusal(503, str(error), RETRY_AFTER)
        return _answer(outcome)

    async def _take_relayed(self, request: web.Request) -> web.Response:
        """Labels another cluster's pod was posted: proven here, by their tokens alone."""
        authorization = request.headers.get("authorization", "").encode(errors="replace")
        if self._credentials.identify(authorization) is None:
            return _refusal(401, "authorization: send the bearer token of this cluster's feedback")
        body = await request.read()
        config = self._config.current
        try:
            self._check_model(read_question(body))
            judged = Judge(self._ring, Place(cluster=config.cluster)).judge(read_request(body))
            items = tuple(entry for entry in judged if isinstance(entry, Item))
            outcome = await self._writer.submit(Delivery(model=config.model, sender=RELAYED, items=items))
        except Incomprehensible as error:
            return _refusal(400, str(error))
        except Refused as error:
            return _refusal(error.status, str(error))
        except Busy as error:
            return _refusal(503, str(error), RETRY_AFTER)
        results = iter(outcome.results if isinstance(outcome, Delivered) else ())
        answers = [entry if isinstance(entry, Answer) else answer_of(next(results)) for entry in judged]
        return _json(200, {"results": [written(answer) for answer in answers]})

    async def _tell_quality(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            self._check(request, body)
            self._check_model(read_question(body))
        except NotOurs as error:
            return _refusal(401, str(error))
        except Incomprehensible as error:
            return _refusal(400, str(error))
        # What a pod passes on has a bound; the admin port tells of every revision.
        return _json(200, quality(self._writer.snapshot, self._config.current, is_bounded=True))

    def _check(self, request: web.Request, body: bytes) -> None:
        """Raise `NotOurs` for a message none of our pods sent, and log each kind of it once."""
        try:
            check_seal(self._ring, request.path, request.headers, body, int(self._clock() * 1000))
        except NotOurs as error:
            if str(error) != self._last_refusal:
                _log.warning("collector.message_refused", error=str(error), sender=request.remote)
                self._last_refusal = str(error)
            raise

    def _check_model(self, model: str) -> None:
        if model != self._config.current.model:
            raise Incomprehensible(f"model: {model!r}; this collector counts {self._config.current.model!r}")

    def _read(self, path: str, body: bytes) -> Work:
        work = _READERS[path](body)
        self._check_model(work.model)
        return work

    async def _live(self, _: web.Request) -> web.Response:
        return _json(200, {"live": True})

    async def _ready(self, _: web.Request) -> web.Response:
        is_ready = self._writer.is_healthy and not self.is_draining
        return _json(200 if is_ready else 503, {"live": True, "ready": is_ready})

    async def _metrics(self, request: web.Request) -> web.Response:
        # A wide confusion matrix takes milliseconds to write out.
        shown = self._writer.snapshot
        body, content_type = await asyncio.to_thread(self._exposition.render, request.headers.get("accept", ""))
        if shown is self._writer.snapshot:
            self.scraped.set()
        return web.Response(body=body, headers={"content-type": content_type})

    async def _quality(self, _: web.Request) -> web.Response:
        return _json(200, quality(self._writer.snapshot, self._config.current))


def _answer(outcome: Outcome) -> web.Response:
    match outcome:
        case Announced() | Noted():
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
