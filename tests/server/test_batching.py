"""Requests are predicted together without waiting for each other, and share nothing but the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from pilotage_server.serve.batcher import INLINE_S, Batch, Batcher
from pilotage_server.serve.errors import Rejected
from pilotage_server.serve.model import Predictions

Rows = NDArray[np.float64]


@dataclass
class EchoModel:
    """Two classes; the probability of the second is the row's value.

    Negative rows break it, NaN comes out as NaN.
    """

    batches: list[int] = field(default_factory=list)

    def __call__(self, rows: Rows) -> Predictions:
        self.batches.append(len(rows))
        if (rows < 0).any():
            raise ArithmeticError("a negative row")
        second = rows[:, 0]
        probabilities = np.column_stack([1 - second, second])
        return Predictions(predicted=(second >= 0.5).astype(np.int64), probabilities=probabilities)


@dataclass
class Waiting:
    """Somebody who waits for the predictions of some rows."""

    rows: Rows
    answer: asyncio.Future[Predictions]

    @property
    def is_over(self) -> bool:
        return self.answer.done()

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass
class Desk:
    """A batcher, and those who wait at it."""

    model: EchoModel
    limits: dict[str, int]
    counted: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.batcher: Batcher[Waiting] = Batcher(self.model, self.finish, **self.limits)

    def submit(self, *values: float) -> asyncio.Future[Predictions]:
        waiting = Waiting(np.array(values)[:, None], asyncio.get_running_loop().create_future())
        self.batcher.submit(waiting)
        return waiting.answer

    def finish(self, batch: Batch[Waiting]) -> None:
        self.counted.append(len(batch.rows))
        start = 0
        for waiting in batch.jobs:
            end = start + len(waiting.rows)
            if not waiting.answer.done():
                waiting.answer.set_result(batch.predictions.part(start, end))
            start = end


@pytest.fixture
def model() -> EchoModel:
    return EchoModel()


@pytest.fixture
async def make(model: EchoModel) -> AsyncIterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def build(*, batch_rows: int = 256, queue_rows: int = 1_000) -> Desk:
        made.append(Desk(model, {"batch_rows": batch_rows, "queue_rows": queue_rows}))
        return made[-1]

    yield build
    for desk in made:
        desk.batcher.close()


async def test_what_arrives_in_one_turn_is_one_batch_and_each_gets_its_own_rows(
    make: Callable[..., Desk], model: EchoModel
) -> None:
    desk = make()
    values = [(0.1,), (0.9, 0.2), (0.7,)]

    found = await asyncio.gather(*(desk.submit(*each) for each in values))

    assert model.batches == [4]
    assert [predictions.probabilities[:, 1].tolist() for predictions in found] == [list(each) for each in values]
    assert [predictions.predicted.tolist() for predictions in found] == [[0], [1, 0], [1]]
    assert desk.batcher.waiting_rows == 0


async def test_a_lonely_request_waits_for_nobody(make: Callable[..., Desk], model: EchoModel) -> None:
    desk = make()

    answer = desk.submit(0.3)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert answer.done()
    assert model.batches == [1]


async def test_one_bad_member_fails_no_neighbour(make: Callable[..., Desk]) -> None:
    desk = make()
    good = [desk.submit(0.25), desk.submit(0.75)]
    breaks = desk.submit(-1.0)
    undefined = desk.submit(np.nan)
    good.append(desk.submit(0.5))

    found = await asyncio.gather(*good)

    assert [predictions.probabilities[0, 1] for predictions in found] == [0.25, 0.75, 0.5]
    with pytest.raises(ArithmeticError, match="a negative row"):
        await breaks
    with pytest.raises(Rejected, match="no finite probability for these values"):
        await undefined
    assert sum(desk.counted) == 3


async def test_a_batch_keeps_to_its_budget_but_never_splits_a_request(
    make: Callable[..., Desk], model: EchoModel
) -> None:
    desk = make(batch_rows=4)
    sizes = [3, 3, 1, 9, 2]

    await asyncio.gather(*(desk.submit(*[0.5] * size) for size in sizes))

    assert model.batches == [3, 4, 9, 2]


async def test_overload_is_refused_and_passes(make: Callable[..., Desk]) -> None:
    desk = make(queue_rows=10)
    first = desk.submit(*[0.5] * 8)

    with pytest.raises(Rejected, match="8 rows are waiting, more than fit; try again") as refused:
        desk.submit(*[0.5] * 3)
    await first

    assert refused.value.status == 503
    assert len((await desk.submit(*[0.5] * 11)).predicted) == 11


async def test_a_slow_model_leaves_the_loop_free_and_gathers_what_comes_meanwhile(
    make: Callable[..., Desk], model: EchoModel
) -> None:
    desk = make()
    desk.batcher._costs[1] = 1.0  # as if measured: from now on batches go to the thread
    first = desk.submit(0.1)
    await asyncio.sleep(0)
    rest = [desk.submit(value) for value in (0.2, 0.3, 0.4)]

    found = await asyncio.gather(first, *rest)

    assert [predictions.probabilities[0, 1] for predictions in found] == [0.1, 0.2, 0.3, 0.4]
    assert sum(model.batches) == 4


async def test_what_was_slow_once_comes_back_to_the_loop(make: Callable[..., Desk]) -> None:
    desk = make()
    desk.batcher._costs[1] = 1.0

    for _ in range(60):
        await desk.submit(0.5)

    assert desk.batcher._expected_s(1) < INLINE_S


async def test_an_answer_that_raises_leaves_nobody_behind_waiting(make: Callable[..., Desk]) -> None:
    desk = make(batch_rows=1)
    finish, said = desk.batcher._finish, []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["exception"]))

    def breaking(batch: Batch[Waiting]) -> None:
        if batch.rows[0, 0] == 0.1:
            raise ArithmeticError("a bug of ours")
        finish(batch)

    desk.batcher._finish = breaking
    first, second = desk.submit(0.1), desk.submit(0.2)

    assert (await asyncio.wait_for(second, 5)).probabilities[0, 1] == 0.2
    assert [str(error) for error in said] == ["a bug of ours"]
    assert not first.done()


async def test_a_caller_that_gave_up_disturbs_nobody(make: Callable[..., Desk]) -> None:
    desk = make()
    gone = desk.submit(0.1)
    stays = desk.submit(0.2)
    gone.cancel()

    assert (await stays).probabilities[0, 1] == 0.2
    assert desk.batcher.waiting_rows == 0


async def test_who_gave_up_during_prediction_is_left_out_of_what_comes_after() -> None:
    rows = np.array([[0.1], [0.2], [0.9], [0.4]])
    found = EchoModel()(rows)
    loop = asyncio.get_running_loop()
    jobs = [Waiting(part, loop.create_future()) for part in (rows[:2], rows[2:3], rows[3:])]

    left = Batch(jobs=jobs, rows=rows, predictions=found, seconds=0.0).only([True, False, True])

    assert left.jobs == [jobs[0], jobs[2]]
    assert left.rows.tolist() == [[0.1], [0.2], [0.4]]
    assert left.predictions.predicted.tolist() == [0, 0, 0]
    assert left.predictions.probabilities[:, 1].tolist() == [0.1, 0.2, 0.4]
