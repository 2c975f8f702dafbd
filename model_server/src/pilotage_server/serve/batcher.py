"""Micro-batching without a timer: what has queued while the loop, or the last batch, was busy is predicted
together.

Laws: only checked rows come in; nobody waits for company; members keep their order and get their own rows
back; if a batch raises, its members run one by one, so a failure stays with who caused it; nobody's rows are predicted
once they have stopped waiting; more than `queue_rows` waiting rows is overload, answered 503. A batch that should be
quick runs on the event loop, a slow one on the one inference thread.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pilotage_server.serve.errors import Reason, Rejected
from pilotage_server.serve.model import Predictions

INLINE_S: Final = 300e-6
"""A batch expected to take longer leaves the event loop: a hand-over to the thread costs about 0.1 ms."""
_SMOOTHING: Final = 0.2

Predict = Callable[[NDArray[np.float64]], Predictions]


class Job(Protocol):
    """Checked rows [n, F] of one request that somebody waits for."""

    @property
    def rows(self) -> NDArray[np.float64]:
        """What to predict."""

    @property
    def is_over(self) -> bool:
        """Tell whether nobody waits any more."""

    def fail(self, error: Exception) -> None:
        """Take what prediction raised. Raises nothing."""


J = TypeVar("J", bound=Job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Generic[J]):
    """Jobs that were predicted together: their rows [n, F] one below the other, what was predicted for these, and the
    seconds it took.
    """

    jobs: Sequence[J]
    rows: NDArray[np.float64]
    predictions: Predictions
    seconds: float

    def only(self, wanted: Sequence[bool]) -> Batch[J]:
        """Give the same without the jobs that are not wanted."""
        kept = np.repeat(wanted, [len(job.rows) for job in self.jobs])
        found = Predictions(
            predicted=self.predictions.predicted[kept], probabilities=self.predictions.probabilities[kept]
        )
        jobs = [job for job, keep in zip(self.jobs, wanted, strict=True) if keep]
        return Batch(jobs=jobs, rows=self.rows[kept], predictions=found, seconds=self.seconds)


class Batcher(Generic[J]):
    """Predicts for many requests at once.

    `finish` gets every batch that was predicted, on the event loop, and answers its jobs.
    """

    def __init__(
        self, predict: Predict, finish: Callable[[Batch[J]], None], *, batch_rows: int, queue_rows: int
    ) -> None:
        self._predict = predict
        self._finish = finish
        self._batch_rows = batch_rows
        self._queue_rows = queue_rows
        self._queue: deque[J] = deque()
        self._costs: dict[int, float] = {}
        self._scheduled = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")
        self.waiting_rows = 0

    def submit(self, job: J) -> None:
        """Queue a job; it is finished, or fails, in a later turn of the event loop. Raises `Rejected` on overload."""
        count = len(job.rows)
        if self.waiting_rows and self.waiting_rows + count > self._queue_rows:
            message = f"{self.waiting_rows} rows are waiting, more than fit; try again, or scale the model out"
            raise Rejected(Reason.SHED, message, status=503)
        self._queue.append(job)
        self.waiting_rows += count
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def close(self) -> None:
        """Give the thread back; call it when nothing is open any more."""
        self._thread.shutdown(wait=False)

    def _run(self) -> None:
        """Predict one batch and see to the next; at most one is under way."""
        jobs = self._take()
        if not jobs:
            self._scheduled = False
            return
        count = sum(len(job.rows) for job in jobs)
        if self._expected_s(count) <= INLINE_S:
            self._settle(count, _outcome(self._predict, jobs, time.perf_counter))
        else:
            # There, time is CPU: a batch that waited for the interpreter is no slow one, and must find its way back.
            run = functools.partial(_outcome, self._predict, jobs, time.thread_time)
            work = asyncio.get_running_loop().run_in_executor(self._thread, run)
            work.add_done_callback(lambda done: self._settle(count, done.result()))

    def _expected_s(self, rows: int) -> float:
        """What a batch should take: a moving average of batches of its size, by powers of two, else of smaller ones.

        Not rows times a cost per row: most of a small batch is the call itself.
        """
        for size in range(rows.bit_length(), 0, -1):
            if size in self._costs:
                return self._costs[size]
        return 0.0

    def _take(self) -> list[J]:
        """Take what fits into one batch. Jobs nobody waits for any more are dropped unpredicted."""
        jobs: list[J] = []
        rows = 0
        while self._queue:
            count = len(self._queue[0].rows)
            if jobs and rows + count > self._batch_rows:
                break
            job = self._queue.popleft()
            if job.is_over:
                self.waiting_rows -= count
                continue
            rows += count
            jobs.append(job)
        return jobs

    def _settle(self, count: int, outcome: _Outcome[J]) -> None:
        self.waiting_rows -= count
        before = self._costs.get(count.bit_length(), 0.0)
        self._costs[count.bit_length()] = before + (outcome.seconds - before) * _SMOOTHING
        self._scheduled = bool(self._queue)
        if self._scheduled:  # before jobs are answered: whatever that raises, those behind are not left waiting
            asyncio.get_running_loop().call_soon(self._run)
        for batch in outcome.batches:
            self._finish(batch)
        for job, error in outcome.failed:
            job.fail(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome(Generic[J]):
    """What was predicted, in as few batches as could be; who failed; the seconds of it all by the clock given."""

    batches: Sequence[Batch[J]]
    failed: Sequence[tuple[J, Exception]]
    seconds: float


def _outcome(predict: Predict, jobs: Sequence[J], clock: Callable[[], float]) -> _Outcome[J]:
    """Predict jobs together, and one by one if that fails. Raises nothing: runs on either thread."""
    started = clock()
    batches: list[Batch[J]] = []
    failed: list[tuple[J, Exception]] = []
    try:
        batches.append(_predicted(predict, jobs))
    except Exception:  # whoever caused it is found by running the jobs singly
        for job in jobs:
            try:
                batches.append(_predicted(predict, [job]))
            except Exception as error:  # handed to the job, not lost
                failed.append((job, error))
    return _Outcome(batches=batches, failed=failed, seconds=clock() - started)


def _predicted(predict: Predict, jobs: Sequence[J]) -> Batch[J]:
    started = time.perf_counter()
    rows = jobs[0].rows if len(jobs) == 1 else np.concatenate([job.rows for job in jobs])
    found = predict(rows)
    if not found.is_finite:
        raise Rejected(
            Reason.RANGE,
            "inputs: the model has no finite probability for these values; "
            "they are far outside the ranges it was trained on",
        )
    return Batch(jobs=jobs, rows=rows, predictions=found, seconds=time.perf_counter() - started)
