"""The data plane as a bare ASGI application: routes, body, answer. All meaning lies in the modules it calls.

Laws: every answer carries the revision; everything but a success is {"error": …}; a fault of the client is
4xx and counted apart from ours; while draining, or when the connection has had its share, the answer says
connection: close.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from pilotage_server.feedback import Asked, Feedback
from pilotage_server.feedback.items import MAX_BODY_BYTES as MAX_FEEDBACK_BYTES
from pilotage_server.serve.answers import JSON, InferWriter
from pilotage_server.serve.body import Body, Headers, Receive, read_body, read_framing, unpack
from pilotage_server.serve.errors import Rejected
from pilotage_server.serve.explain import Explainer
from pilotage_server.serve.infer import Signature, read_infer
from pilotage_server.serve.inference import Answered, Inference
from pilotage_server.serve.lifecycle import Lifecycle
from pilotage_server.serve.metrics import ServerMetrics
from pilotage_server.serve.model import ServedModel
from pilotage_server.serve.pages import Pages, Reply, failure
from pilotage_server.serve.protocol import CLOSE, CYCLE
from pilotage_server.serve.settings import Limits
from pilotage_server.serve.v1 import read_v1, write_v1

_log = structlog.get_logger(__name__)

Send = Callable[[Any], Awaitable[None]]
Handle = Callable[[Any, Receive], Awaitable[Reply]]
Answer = Callable[[Body, float | None], Awaitable[tuple[Headers, bytes]]]

_RETRY: Final = ((b"retry-after", b"1"),)


class DataApp:
    """Answers on the data port. `feedback` is None where no key was given: answers carry no token then. `explainer` is
    None unless explanations were switched on.
    """

    def __init__(
        self,
        model: ServedModel,
        inference: Inference,
        metrics: ServerMetrics,
        lifecycle: Lifecycle,
        *,
        limits: Limits,
        feedback: Feedback | None,
        explainer: Explainer | None = None,
    ) -> None:
        self._inference = inference
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._feedback = feedback
        self._explainer = explainer
        self._body_bytes = limits.body_bytes
        self._signature = Signature.of(model, limits)
        self._model = model
        self._writer = InferWriter(model)
        self._pages = Pages(model, lifecycle)
        self._revision = (b"x-pilotage-revision", model.revision.encode("latin-1", "replace"))
        base = f"/v2/models/{model.name}"
        self._quality_path = f"{base}/quality"
        self._posts: dict[str, Handle] = {
            f"{base}/infer": self._infer,
            f"{base}/versions/{model.revision}/infer": self._infer,
            f"/v1/models/{model.name}:predict": self._predict_v1,
            f"{base}/feedback": self._take_feedback,
            f"{base}/explain": self._explain,
        }

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3, http only)."""
        path = scope["path"]
        handle = self._posts.get(path)
        if handle is not None:
            reply = await self._post(scope, receive, handle)
        elif path == self._quality_path and scope["method"] in ("GET", "HEAD"):
            reply = await self._tell_quality()
        else:
            reply = self._pages.answer(scope["method"], path)
        status, headers, body = reply
        sent = [*headers, self._revision, (b"content-length", b"%d" % len(body))]
        if scope.get(CLOSE) or self._lifecycle.is_draining:
            sent.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": body})

    async def _post(self, scope: Any, receive: Receive, handle: Handle) -> Reply:
        if scope["method"] != "POST":
            return failure(
                405, f"{scope['path']}: {scope['method']} is not allowed here; use POST", (b"allow", b"POST")
            )
        try:
            return await handle(scope, receive)
        except Exception as error:  # the last resort: whatever it is, it is ours, and one request's
            _log.exception("request.failed", path=scope["path"])
            return failure(500, f"the server failed on this request ({type(error).__name__}); its log says more")

    async def _infer(self, scope: Any, receive: Receive) -> Reply:
        return await self._counted(scope, receive, self._answer_v2)

    async def _predict_v1(self, scope: Any, receive: Receive) -> Reply:
        return await self._counted(scope, receive, self._answer_v1)

    async def _answer_v2(self, body: Body, deadline_s: float | None) -> tuple[Headers, bytes]:
        request = read_infer(body, self._signature)
        answered = await self._inference.run(request.rows, deadline_s, Asked(request.id, request.parameters))
        return self._writer.write(request, answered)

    async def _answer_v1(self, body: Body, deadline_s: float | None) -> tuple[Headers, bytes]:
        answered: Answered = await self._inference.run(read_v1(body, self._signature), deadline_s)
        return JSON, write_v1(self._model, answered)

    async def _counted(self, scope: Any, receive: Receive, answer: Answer) -> Reply:
        """Answer one inference request and count it by status, whatever becomes of it."""
        started, status = time.perf_counter(), 500
        try:
            framing = read_framing(scope["headers"])
            raw = await read_body(receive, self._body_bytes, scope.get(CYCLE))
            started = time.perf_counter()
            headers, written = await answer(unpack(raw, framing, self._body_bytes), framing.deadline_s)
            status = 200
            return status, headers, written
        except Rejected as rejected:
            status = rejected.status
            self._metrics.observe_rejected(rejected.reason)
            return failure(status, str(rejected), *(_RETRY if status == 503 else ()))
        finally:
            self._metrics.observe_request(status, time.perf_counter() - started)

    async def _explain(self, scope: Any, receive: Receive) -> Reply:
        if self._explainer is None:
            return failure(404, "explanations are off; start the server with --explain")
        try:
            framing = read_framing(scope["headers"])
            body = unpack(await read_body(receive, self._body_bytes), framing, self._body_bytes)
            return 200, JSON, await self._explainer.answer(read_infer(body, self._signature))
        except Rejected as rejected:
            return failure(rejected.status, str(rejected), *(_RETRY if rejected.status == 503 else ()))

    async def _take_feedback(self, scope: Any, receive: Receive) -> Reply:
        if self._feedback is None:
            return failure(404, "feedback is not enabled on this server; start it with --feedback-key-dir")
        try:
            framing = read_framing(scope["headers"])
            body = unpack(await read_body(receive, MAX_FEEDBACK_BYTES), framing, MAX_FEEDBACK_BYTES)
        except Rejected as rejected:
            return failure(rejected.status, str(rejected))
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        return await self._feedback.endpoint.handle(body.json, authorization)

    async def _tell_quality(self) -> Reply:
        if self._feedback is None:
            return failure(404, "feedback is not enabled on this server; start it with --feedback-key-dir")
        return await self._feedback.quality.handle()
