"""Rows into predictions with their feedback token: what every protocol on top of the data plane calls.

Laws: rows come in checked; a request whose client has stopped waiting is not predicted; requests that were predicted
together get their tokens together, and each its own; the token names the revision that predicted, not the one a URL
asked for. Knows no HTTP, no JSON and no gRPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from pilotage_server.feedback import NOTHING, Asked, Issuer
from pilotage_server.serve import batcher
from pilotage_server.serve.batcher import Batch, Batcher, Predict
from pilotage_server.serve.errors import Reason, Rejected
from pilotage_server.serve.model import Predictions
from pilotage_server.serve.payloads import PayloadLog
from pilotage_server.serve.settings import Limits

_log = structlog.get_logger(__name__)

Observe = Callable[[NDArray[np.float64], Predictions, float], None]


@dataclass(frozen=True, slots=True)
class Answered:
    """Predictions of one request, and what travels beside them as `parameters`."""

    predictions: Predictions
    parameters: dict[str, str | bool]


class Query(batcher.Job, Protocol):
    """One request that is to be answered: `done` or `fail` is called once, in a later turn of the event loop."""

    @property
    def asked(self) -> Asked:
        """What the client sent beside the rows."""

    def done(self, answered: Answered) -> None:
        """Take the answer. Raises nothing: neighbours wait for theirs."""


class Inference:
    """The data plane without a protocol.

    `observe` is told every batch and the seconds it took. `issuer` is None where no feedback key was given, `payloads`
    unless a log was asked for.
    """

    def __init__(
        self,
        predict: Predict,
        observe: Observe,
        limits: Limits,
        *,
        issuer: Issuer | None = None,
        payloads: PayloadLog | None = None,
    ) -> None:
        self._batcher: Batcher[Query] = Batcher(
            predict, self._finish, batch_rows=limits.batch_rows, queue_rows=limits.queue_rows
        )
        self._observe = observe
        self._issuer = issuer
        self._payloads = payloads

    @property
    def waiting_rows(self) -> int:
        """Rows that are queued or being predicted."""
        return self._batcher.waiting_rows

    def submit(self, query: Query) -> None:
        """Answer a query in a later turn of the event loop. Raises `Rejected` on overload."""
        self._batcher.submit(query)

    async def run(self, rows: NDArray[np.float64], deadline_s: float | None, asked: Asked = NOTHING) -> Answered:
        """Predict checked rows [n, F]. Raises `Rejected` on overload and when `deadline_s` seconds were too few."""
        query = _Awaited(rows, asked)
        self.submit(query)
        if deadline_s is None:
            return await query.answer
        try:
            async with asyncio.timeout(deadline_s):
                return await query.answer
        except TimeoutError as error:
            text = f"x-request-deadline-ms: {deadline_s * 1000:g} ms were over before the rows were predicted"
            # 408, not 504: the limit is the client's, and must not count against the model.
            raise Rejected(Reason.DEADLINE, text, status=408) from error

    def close(self) -> None:
        """Give the thread back; call it when nothing is open any more."""
        self._batcher.close()

    def _finish(self, batch: Batch[Query]) -> None:
        try:
            self._observe(batch.rows, batch.predictions, batch.seconds)
            waiting = [not query.is_over for query in batch.jobs]
            if not all(waiting):  # a deadline was over meanwhile: no token, and no place among the gate's rows
                batch = batch.only(waiting)
            parameters = self._parameters(batch)
        except Exception as error:  # a bug of ours; those behind must be answered all the same
            for query in batch.jobs:
                query.fail(error)
            return
        start = 0
        for query, told in zip(batch.jobs, parameters, strict=True):
            end = start + len(query.rows)
            query.done(Answered(batch.predictions.part(start, end), told))
            start = end

    def _parameters(self, batch: Batch[Query]) -> list[dict[str, str | bool]]:
        """What goes beside the answers of a batch, one by one."""
        if self._issuer is None:
            return [{} for _ in batch.jobs]
        requests = [(len(query.rows), query.asked) for query in batch.jobs]
        predictions = batch.predictions
        parameters = self._issuer.issue_all(batch.rows, predictions.predicted, predictions.probabilities, requests)
        if self._payloads is not None:
            for query, told in zip(batch.jobs, parameters, strict=True):
                if "feedback_token" in told:
                    self._payloads.add(str(told["feedback_token"]), query.rows)
        return parameters


class _Awaited:
    """A query whose answer is awaited."""

    def __init__(self, rows: NDArray[np.float64], asked: Asked) -> None:
        self.rows = rows
        self.asked = asked
        self.answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()

    @property
    def is_over(self) -> bool:
        return self.answer.done()

    def done(self, answered: Answered) -> None:
        if not self.answer.done():
            self.answer.set_result(answered)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
