"""Micro-batching without a timer: what has queued while the loop, or the last batch, was busy is predicted
together.

Laws: only checked rows come in; nobody waits for company; members keep their order and get their own rows
back; if a batch raises, its members run one by one, so a failure stays with who caused it; nobody's rows are predicted
once they have stopped waiting; more than `queue_rows` waiting rows is overload, answered 503. A batch that should be
quick runs on the event loop, a slow one on the one inference thread.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pilotage_server.serve.errors import Reason, Rejected
from pilotage_server.serve.model import Predictions

INLINE_S: Final = 300e-6
"""A batch expected to take longer leaves the event loop: a hand-over to the thread costs about 0.1 ms."""
_SMOOTHING: Final = 0.2

Predict = Callable[[NDArray[np.float64]], Predictions]
Observe = Callable[[Predictions, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    rows: NDArray[np.float64]
    answer: asyncio.Future[Predictions]


class Batcher:
    """Predicts for many requests at once.

    `observe` is told every successful prediction and the seconds it took.
    """

    def __init__(self, predict: Predict, observe: Observe, *, batch_rows: int, queue_rows: int) -> None:
        self._predict = predict
        self._observe = observe
        self._batch_rows = batch_rows
        self._queue_rows = queue_rows
        self._queue: deque[_Member] = deque()
        self._costs: dict[int, float] = {}
        self._scheduled = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")
        self.waiting_rows = 0

    def submit(self, rows: NDArray[np.float64]) -> asyncio.Future[Predictions]:
        """Queue checked rows [n, F]. Raises `Rejected` on overload.

        The future may carry what prediction raised.
        """
        if self.waiting_rows and self.waiting_rows + len(rows) > self._queue_rows:
            message = f"{self.waiting_rows} rows are waiting, more than fit; try again, or scale the model out"
            raise Rejected(Reason.SHED, message, status=503)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Predictions] = loop.create_future()
        self._queue.append(_Member(rows=rows, answer=answer))
        self.waiting_rows += len(rows)
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._run)
        return answer

    def close(self) -> None:
        """Give the thread back; call it when nothing is open any more."""
        self._thread.shutdown(wait=False)

    def _run(self) -> None:
        """Predict one batch and see to the next; at most one is under way."""
        members = self._take()
        if not members:
            self._scheduled = False
            return
        rows = sum(len(member.rows) for member in members)
        loop = asyncio.get_running_loop()
        if self._expected_s(rows) <= INLINE_S:
            self._settle(members, _outcomes(self._predict, members))
        else:
            work = loop.run_in_executor(self._thread, _outcomes, self._predict, members)
            work.add_done_callback(lambda done: self._settle(members, done.result()))

    def _expected_s(self, rows: int) -> float:
        """What a batch should take: a moving average of batches of its size, by powers of two, else of smaller ones.

        Not rows times a cost per row: most of a small batch is the call itself.
        """
        for size in range(rows.bit_length(), 0, -1):
            if size in self._costs:
                return self._costs[size]
        return 0.0

    def _take(self) -> list[_Member]:
        """Take what fits into one batch. Members whose client has gone, or stopped waiting, are dropped unpredicted."""
        members: list[_Member] = []
        rows = 0
        while self._queue:
            count = len(self._queue[0].rows)
            if members and rows + count > self._batch_rows:
                break
            member = self._queue.popleft()
            if member.answer.done():
                self.waiting_rows -= count
                continue
            rows += count
            members.append(member)
        return members

    def _settle(self, members: Sequence[_Member], outcomes: _Outcomes) -> None:
        rows = sum(len(member.rows) for member in members)
        self.waiting_rows -= rows
        before = self._costs.get(rows.bit_length(), 0.0)
        self._costs[rows.bit_length()] = before + (outcomes.seconds - before) * _SMOOTHING
        for predictions in outcomes.good:
            self._observe(predictions, outcomes.seconds)
        for member, result in zip(members, outcomes.each, strict=True):
            if member.answer.done():
                continue
            if isinstance(result, Predictions):
                member.answer.set_result(result)
            else:
                member.answer.set_exception(result)
        self._scheduled = bool(self._queue)
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._run)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcomes:
    """One result per member; what was good, in as few pieces as it was predicted in; the seconds it took."""

    each: Sequence[Predictions | Exception]
    good: Sequence[Predictions]
    seconds: float


def _outcomes(predict: Predict, members: Sequence[_Member]) -> _Outcomes:
    """Predict a batch, and member by member if that fails. Raises nothing: runs on either thread."""
    started = time.perf_counter()
    each: list[Predictions | Exception]
    if len(members) == 1:
        alone = _alone(predict, members[0])
        each = [alone]
        good = [alone] if isinstance(alone, Predictions) else []
    else:
        together = _together(predict, members)
        if together is not None:
            ends = np.cumsum([len(member.rows) for member in members]).tolist()
            each = [together.part(start, end) for start, end in zip([0, *ends], ends, strict=False)]
            good = [together]
        else:
            each = [_alone(predict, member) for member in members]
            good = [result for result in each if isinstance(result, Predictions)]
    return _Outcomes(each=each, good=good, seconds=time.perf_counter() - started)


def _together(predict: Predict, members: Sequence[_Member]) -> Predictions | None:
    try:
        found = predict(np.concatenate([member.rows for member in members]))
    except Exception:  # whoever caused it is found by running the members singly
        return None
    return found if found.is_finite else None


def _alone(predict: Predict, member: _Member) -> Predictions | Exception:
    try:
        found = predict(member.rows)
    except Exception as error:  # handed to the member's future, not lost
        return error
    if not found.is_finite:
        return Rejected(
            Reason.RANGE,
            "inputs: the model has no finite probability for these values; "
            "they are far outside the ranges it was trained on",
        )
    return found
