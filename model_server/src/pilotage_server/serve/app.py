"""The data plane as a bare ASGI application: routes, body, answer. All meaning lies in the modules it calls.

Laws: every answer carries the revision; everything but a success is {"error": …}; a fault of the client is
4xx and counted apart from ours; while draining, or when the connection has had its share, the answer says
connection: close.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import orjson
import structlog

from pilotage_server.feedback import Feedback
from pilotage_server.feedback.items import MAX_BODY_BYTES as MAX_FEEDBACK_BYTES
from pilotage_server.serve.answers import InferWriter, error_body, model_metadata, server_metadata
from pilotage_server.serve.batcher import Batcher
from pilotage_server.serve.errors import Reason, Rejected
from pilotage_server.serve.lifecycle import Lifecycle
from pilotage_server.serve.metrics import ServerMetrics
from pilotage_server.serve.model import ServedModel
from pilotage_server.serve.protocol import CLOSE
from pilotage_server.serve.settings import Limits
from pilotage_server.serve.tensors import Signature, read_infer

BODY_TIMEOUT_S: Final = 30.0
_LENIENCE: Final = 4
"""A body too large is read up to that many times the limit before it is refused, so that its sender hears
why.
"""
_JSON: Final = ((b"content-type", b"application/json"),)
_log = structlog.get_logger(__name__)

Headers = Sequence[tuple[bytes, bytes]]
Reply = tuple[int, Headers, bytes]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class DataApp:
    """Answers on the data port. `feedback` is None where no key was given: answers carry no token then."""

    def __init__(
        self,
        model: ServedModel,
        batcher: Batcher,
        metrics: ServerMetrics,
        lifecycle: Lifecycle,
        *,
        limits: Limits,
        feedback: Feedback | None,
    ) -> None:
        self._batcher = batcher
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._feedback = feedback
        self._body_bytes = limits.body_bytes
        self._signature = Signature(
            features=tuple(feature.name for feature in model.bundle.manifest.features), max_rows=limits.rows
        )
        self._writer = InferWriter(model)
        self._model = model
        self._revision = (b"x-pilotage-revision", model.revision.encode("latin-1", "replace"))
        base = f"/v2/models/{model.name}"
        versioned = f"{base}/versions/{model.revision}"
        self._infer_paths = frozenset({f"{base}/infer", f"{versioned}/infer"})
        self._feedback_path = f"{base}/feedback"
        self._pages: dict[str, Callable[[], Reply]] = {
            "/v2": lambda: (200, _JSON, server_metadata()),
            "/v2/": lambda: (200, _JSON, server_metadata()),
            "/v2/health/live": lambda: live(self._lifecycle),
            "/v2/health/ready": lambda: ready(self._lifecycle),
            base: lambda: (200, _JSON, model_metadata(model)),
            versioned: lambda: (200, _JSON, model_metadata(model)),
            f"{base}/ready": self._model_ready,
            f"{versioned}/ready": self._model_ready,
        }

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3, http only)."""
        path = scope["path"]
        if path in self._infer_paths:
            reply = await self._post(scope, receive, self._infer)
        elif path == self._feedback_path:
            reply = await self._post(scope, receive, self._take_feedback)
        else:
            reply = self._page(scope["method"], path)
        status, headers, body = reply
        sent = [*headers, self._revision, (b"content-length", b"%d" % len(body))]
        if scope.get(CLOSE) or self._lifecycle.is_draining:
            sent.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": body})

    async def _post(self, scope: Any, receive: Receive, handle: Callable[[Any, Receive], Awaitable[Reply]]) -> Reply:
        if scope["method"] != "POST":
            return _failure(
                405, f"{scope['path']}: {scope['method']} is not allowed here; use POST", (b"allow", b"POST")
            )
        try:
            return await handle(scope, receive)
        except Exception as error:  # the last resort: whatever it is, it is ours, and one request's
            _log.exception("request.failed", path=scope["path"])
            return _failure(500, f"the server failed on this request ({type(error).__name__}); its log says more")

    def _page(self, method: str, path: str) -> Reply:
        page = self._pages.get(path)
        if page is None:
            return _failure(404, self._unknown(path))
        if method not in ("GET", "HEAD"):
            return _failure(405, f"{path}: {method} is not allowed here; use GET", (b"allow", b"GET, HEAD"))
        return page()

    def _unknown(self, path: str) -> str:
        name, revision = self._model.name, self._model.revision
        parts = path.split("/")
        if path.startswith("/v2/models/") and parts[3] != name:
            return f"model {parts[3][:64]!r} is not served here; this is {name!r}"
        if len(parts) > 5 and parts[4] == "versions" and parts[5] != revision:
            return f"version {parts[5][:64]!r} of {name!r} is not served here; this is {revision!r}"
        return f"{path[:128]}: nothing here; try /v2, /v2/models/{name} or /v2/models/{name}/infer"

    def _model_ready(self) -> Reply:
        if not self._lifecycle.is_ready:
            return ready(self._lifecycle)
        return 200, _JSON, orjson.dumps({"name": self._model.name, "ready": True})

    async def _infer(self, scope: Any, receive: Receive) -> Reply:
        started, status = time.perf_counter(), 500
        try:
            _refuse_encodings(scope["headers"])
            body = await read_body(receive, self._body_bytes)
            started = time.perf_counter()
            request = read_infer(body, self._signature)
            predictions = await self._batcher.submit(request.rows)
            token = None
            if self._feedback is not None:
                predicted = predictions.predicted.tolist()
                token = self._feedback.signer.sign(predicted, predictions.probabilities, time.time())
            written = self._writer.write(request, predictions, token)
            status = 200
            return status, _JSON, written
        except Rejected as rejected:
            status = rejected.status
            self._metrics.observe_rejected(rejected.reason)
            return _failure(status, str(rejected), *(((b"retry-after", b"1"),) if status == 503 else ()))
        finally:
            self._metrics.observe_request(status, time.perf_counter() - started)

    async def _take_feedback(self, scope: Any, receive: Receive) -> Reply:
        if self._feedback is None:
            return _failure(404, "feedback is not enabled on this server; start it with --feedback-key-dir")
        try:
            _refuse_encodings(scope["headers"])
            body = await read_body(receive, MAX_FEEDBACK_BYTES)
        except Rejected as rejected:
            return _failure(rejected.status, str(rejected))
        return await self._feedback.endpoint.handle(body)


def live(_: Lifecycle) -> Reply:
    """`GET /v2/health/live`: the event loop answers."""
    return 200, _JSON, orjson.dumps({"live": True})


def ready(lifecycle: Lifecycle) -> Reply:
    """`GET /v2/health/ready`: 503 before the golden rows have passed, and as soon as draining begins."""
    if lifecycle.is_ready:
        return 200, _JSON, orjson.dumps({"live": True, "ready": True})
    return 503, _JSON, orjson.dumps({"live": True, "ready": False, "error": f"server is {lifecycle.phase}"})


async def read_body(receive: Receive, limit: int) -> bytes:
    """Read a whole body; raises `Rejected` when it is too large or does not come."""
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
        raise Rejected(Reason.SIZE, f"body: more than {limit} bytes; send fewer rows at once", status=413)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _refuse_encodings(headers: Sequence[tuple[bytes, bytes]]) -> None:
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() != b"identity":
            raise Rejected(Reason.ENCODING, "content-encoding: send the body uncompressed", status=415)
        if name == b"upgrade":
            message = (
                "upgrade: this server speaks plain HTTP/1.1; leave the header out (Java: HttpClient.Version.HTTP_1_1)"
            )
            raise Rejected(Reason.ENCODING, message)
        if name == b"inference-header-content-length":
            raise Rejected(
                Reason.ENCODING, "inference-header-content-length: this server speaks JSON only; set binary_data=False"
            )


def _failure(status: int, message: str, *headers: tuple[bytes, bytes]) -> Reply:
    return status, (*_JSON, *headers), error_body(message)
