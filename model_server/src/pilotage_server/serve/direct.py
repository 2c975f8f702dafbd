"""Infer requests past ASGI: from the parser to the batch and back in two calls, without a task, a future or a message.

For the request nearly all are: a POST to an infer path that was read whole, with nothing unanswered before it on its
connection. `protocol` decides which those are, and gives all others to the application, which answers the same bytes:
reading, predicting, writing and counting are the same functions. Laws: every exchange gets exactly one reply; nothing
raised here reaches the parser or a neighbour in the batch. Knows no connection but by `Exchange`.
"""

from __future__ import annotations

import time
from typing import Protocol

import structlog

from pilotage_server.feedback import Asked
from pilotage_server.serve.answers import InferWriter
from pilotage_server.serve.body import Headers, read_framing, unpack
from pilotage_server.serve.errors import Rejected
from pilotage_server.serve.infer import InferRequest, Signature, read_infer
from pilotage_server.serve.inference import Answered, Inference
from pilotage_server.serve.lifecycle import Lifecycle
from pilotage_server.serve.metrics import ServerMetrics, Spoken
from pilotage_server.serve.replies import Framer, Reply, fault, refusal

_log = structlog.get_logger(__name__)


class Exchange(Protocol):
    """One request on a connection, waiting for its reply."""

    @property
    def is_last(self) -> bool:
        """Tell whether the connection ends with it, by its share or its client's wish."""

    def send(self, reply: bytes, *, closes: bool) -> None:
        """Send the whole reply, and end the connection if it `closes`; call it once."""


class DirectInfer:
    """Answers whole infer requests. `paths`: URLs it is for; `most_bytes`: largest body it takes."""

    def __init__(
        self,
        paths: frozenset[bytes],
        signature: Signature,
        inference: Inference,
        writer: InferWriter,
        metrics: ServerMetrics,
        lifecycle: Lifecycle,
        framer: Framer,
        *,
        most_bytes: int,
    ) -> None:
        self.paths = paths
        self.most_bytes = most_bytes
        self._signature = signature
        self._inference = inference
        self._writer = writer
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._framer = framer

    def start(self, headers: Headers, body: bytes, exchange: Exchange) -> None:
        """Take one request; its reply comes now where it is refused, else with its batch. Raises nothing."""
        query = _Query(self, exchange)
        try:
            framing = read_framing(headers)
            query.take(read_infer(unpack(body, framing, self.most_bytes), self._signature))
            self._inference.submit(query)
        except Exception as error:  # whose fault it is stands in `fail`
            query.fail(error)

    def finish(self, query: _Query, answered: Answered) -> None:
        """Write an answer."""
        try:
            headers, written = self._writer.write(query.request, answered)
        except Exception as error:
            query.fail(error)
        else:
            self._end(query, (200, headers, written))

    def refuse(self, query: _Query, error: Exception) -> None:
        """Say what is wrong: the client's fault, or ours."""
        if isinstance(error, Rejected):
            self._metrics.observe_rejected(error.reason)
            self._end(query, refusal(error))
        else:  # the last resort: whatever it is, it is ours, and one request's
            _log.error("request.failed", path=min(self.paths).decode(), exc_info=error)
            self._end(query, fault(error))

    def _end(self, query: _Query, reply: Reply) -> None:
        self._metrics.observe_request(Spoken.V2, reply[0], time.perf_counter() - query.started)
        closes = query.exchange.is_last or self._lifecycle.is_draining
        query.exchange.send(self._framer.frame(reply, closes=closes), closes=closes)


class _Query:
    """One request on its way through a batch."""

    __slots__ = ("_direct", "asked", "exchange", "request", "rows", "started")
    is_over = False  # uvicorn tells nobody of a client that went away, nor do we: it gets its prediction all the same

    request: InferRequest

    def __init__(self, direct: DirectInfer, exchange: Exchange) -> None:
        self._direct = direct
        self.exchange = exchange
        self.started = time.perf_counter()

    def take(self, request: InferRequest) -> None:
        """Note what was read."""
        self.request, self.rows, self.asked = request, request.rows, Asked(request.id, request.parameters)

    def done(self, answered: Answered) -> None:
        self._direct.finish(self, answered)

    def fail(self, error: Exception) -> None:
        self._direct.refuse(self, error)
