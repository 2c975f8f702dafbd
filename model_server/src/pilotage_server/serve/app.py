"""The data plane as a bare ASGI application: routes, body, answer. All meaning lies in the modules it calls.

Laws: every answer carries the revision; everything but a success is {"error": …}; a fault of the client is
4xx and counted apart from ours; while draining, or when the connection has had its share, the answer says
connection: close.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from pilotage_server.feedback import Asked, Feedback
from pilotage_server.feedback.items import MAX_BODY_BYTES as MAX_FEEDBACK_BYTES
from pilotage_server.serve.answers import InferWriter
from pilotage_server.serve.body import Body, Receive, read_body, read_framing, unpack
from pilotage_server.serve.direct import DirectInfer
from pilotage_server.serve.errors import Rejected
from pilotage_server.serve.explain import Explainer
from pilotage_server.serve.infer import Signature, read_infer
from pilotage_server.serve.inference import Answered, Inference
from pilotage_server.serve.lifecycle import Lifecycle
from pilotage_server.serve.metrics import ServerMetrics, Spoken
from pilotage_server.serve.model import ServedModel
from pilotage_server.serve.pages import Pages
from pilotage_server.serve.protocol import CLOSE, CYCLE
from pilotage_server.serve.replies import JSON, Framer, Headers, Reply, failure, fault, refusal
from pilotage_server.serve.settings import Limits
from pilotage_server.serve.v1 import read_v1, write_v1

_log = structlog.get_logger(__name__)

Send = Callable[[Any], Awaitable[None]]
Handle = Callable[[Any, Receive], Awaitable[Reply]]
Answer = Callable[[Body, float | None], Awaitable[tuple[Headers, bytes]]]


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
        self._framer = Framer(model.revision)
        base = f"/v2/models/{model.name}"
        self._quality_path = f"{base}/quality"
        infer_paths = (f"{base}/infer", f"{base}/versions/{model.revision}/infer")
        self.direct = DirectInfer(
            frozenset(path.encode() for path in infer_paths),
            self._signature,
            inference,
            self._writer,
            metrics,
            lifecycle,
            self._framer,
            most_bytes=limits.body_bytes,
        )
        """The same infer requests for a listener that has read them whole."""
        self._posts: dict[str, Handle] = {
            **dict.fromkeys(infer_paths, self._infer),
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
        closes = bool(scope.get(CLOSE)) or self._lifecycle.is_draining or _is_held_back(scope.get(CYCLE))
        headers = self._framer.headers(reply, closes=closes)
        await send({"type": "http.response.start", "status": reply[0], "headers": headers})
        await send({"type": "http.response.body", "body": reply[2]})

    async def _post(self, scope: Any, receive: Receive, handle: Handle) -> Reply:
        if scope["method"] != "POST":
            return failure(
                405, f"{scope['path']}: {scope['method']} is not allowed here; use POST", (b"allow", b"POST")
            )
        try:
            return await handle(scope, receive)
        except Exception as error:  # the last resort: whatever it is, it is ours, and one request's
            _log.exception("request.failed", path=scope["path"])
            return fault(error)

    async def _infer(self, scope: Any, receive: Receive) -> Reply:
        return await self._counted(scope, receive, Spoken.V2, self._answer_v2)

    async def _predict_v1(self, scope: Any, receive: Receive) -> Reply:
        return await self._counted(scope, receive, Spoken.V1, self._answer_v1)

    async def _answer_v2(self, body: Body, deadline_s: float | None) -> tuple[Headers, bytes]:
        request = read_infer(body, self._signature)
        answered = await self._inference.run(request.rows, deadline_s, Asked(request.id, request.parameters))
        return self._writer.write(request, answered)

    async def _answer_v1(self, body: Body, deadline_s: float | None) -> tuple[Headers, bytes]:
        answered: Answered = await self._inference.run(read_v1(body, self._signature), deadline_s)
        return JSON, write_v1(self._model, answered)

    async def _counted(self, scope: Any, receive: Receive, spoken: Spoken, answer: Answer) -> Reply:
        """Answer one inference request and count it by status, whatever becomes of it."""
        started, status = time.perf_counter(), 500
        try:
            framing = read_framing(scope["headers"])
            raw = await read_body(receive, self._body_bytes, framing, scope.get(CYCLE))
            started = time.perf_counter()
            headers, written = await answer(unpack(raw, framing, self._body_bytes), framing.deadline_s)
            status = 200
            return status, headers, written
        except Rejected as rejected:
            status = rejected.status
            self._metrics.observe_rejected(rejected.reason)
            return refusal(rejected)
        finally:
            self._metrics.observe_request(spoken, status, time.perf_counter() - started)

    async def _explain(self, scope: Any, receive: Receive) -> Reply:
        if self._explainer is None:
            return failure(404, "explanations are off; start the server with --explain")
        try:
            framing = read_framing(scope["headers"])
            body = unpack(await read_body(receive, self._body_bytes, framing), framing, self._body_bytes)
            return 200, JSON, await self._explainer.answer(read_infer(body, self._signature))
        except Rejected as rejected:
            return refusal(rejected)

    async def _take_feedback(self, scope: Any, receive: Receive) -> Reply:
        if self._feedback is None:
            return failure(404, "feedback is not enabled on this server; start it with --feedback-key-dir")
        try:
            framing = read_framing(scope["headers"])
            body = unpack(await read_body(receive, MAX_FEEDBACK_BYTES, framing), framing, MAX_FEEDBACK_BYTES)
        except Rejected as rejected:
            return refusal(rejected)
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        return await self._feedback.endpoint.handle(body.json, authorization)

    async def _tell_quality(self) -> Reply:
        if self._feedback is None:
            return failure(404, "feedback is not enabled on this server; start it with --feedback-key-dir")
        return await self._feedback.quality.handle()


def _is_held_back(cycle: Any) -> bool:
    """Tell whether a client still waits to be asked for its body: nobody will know whether it sends one after all."""
    return cycle is not None and cycle.more_body and cycle.waiting_for_100_continue
