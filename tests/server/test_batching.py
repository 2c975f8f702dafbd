"""Requests are predicted together without waiting for each other, and share nothing but the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from pilotage_server.serve.batcher import Batcher
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


def rows_of(*values: float) -> Rows:
    return np.array(values)[:, None]


@pytest.fixture
def model() -> EchoModel:
    return EchoModel()


@pytest.fixture
async def make(model: EchoModel) -> AsyncIterator[Callable[..., Batcher]]:
    made: list[Batcher] = []

    def build(*, batch_rows: int = 256, queue_rows: int = 1_000, counted: list[int] | None = None) -> Batcher:
        def observe(predictions: Predictions, seconds: float) -> None:
            if counted is not None:
                counted.append(len(predictions.predicted))

        made.append(Batcher(model, observe, batch_rows=batch_rows, queue_rows=queue_rows))
        return made[-1]

    yield build
    for batcher in made:
        batcher.close()


async def test_what_arrives_in_one_turn_is_one_batch_and_each_gets_its_own_rows(
    make: Callable[..., Batcher], model: EchoModel
) -> None:
    batcher = make()
    values = [(0.1,), (0.9, 0.2), (0.7,)]

    found = await asyncio.gather(*(batcher.submit(rows_of(*each)) for each in values))

    assert model.batches == [4]
    assert [predictions.probabilities[:, 1].tolist() for predictions in found] == [list(each) for each in values]
    assert [predictions.predicted.tolist() for predictions in found] == [[0], [1, 0], [1]]
    assert batcher.waiting_rows == 0


async def test_a_lonely_request_waits_for_nobody(make: Callable[..., Batcher], model: EchoModel) -> None:
    batcher = make()

    answer = batcher.submit(rows_of(0.3))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert answer.done()
    assert model.batches == [1]


async def test_one_bad_member_fails_no_neighbour(make: Callable[..., Batcher]) -> None:
    counted: list[int] = []
    batcher = make(counted=counted)
    good = [batcher.submit(rows_of(0.25)), batcher.submit(rows_of(0.75))]
    breaks = batcher.submit(rows_of(-1.0))
    undefined = batcher.submit(rows_of(np.nan))
    good.append(batcher.submit(rows_of(0.5)))

    found = await asyncio.gather(*good)

    assert [predictions.probabilities[0, 1] for predictions in found] == [0.25, 0.75, 0.5]
    with pytest.raises(ArithmeticError, match="a negative row"):
        await breaks
    with pytest.raises(Rejected, match="no finite probability for these values"):
        await undefined
    assert sum(counted) == 3


async def test_a_batch_keeps_to_its_budget_but_never_splits_a_request(
    make: Callable[..., Batcher], model: EchoModel
) -> None:
    batcher = make(batch_rows=4)
    sizes = [3, 3, 1, 9, 2]

    await asyncio.gather(*(batcher.submit(rows_of(*[0.5] * size)) for size in sizes))

    assert model.batches == [3, 4, 9, 2]


async def test_overload_is_refused_and_passes(make: Callable[..., Batcher]) -> None:
    batcher = make(queue_rows=10)
    first = batcher.submit(rows_of(*[0.5] * 8))

    with pytest.raises(Rejected, match="8 rows are waiting, more than fit; try again") as refused:
        batcher.submit(rows_of(*[0.5] * 3))
    await first

    assert refused.value.status == 503
    assert len((await batcher.submit(rows_of(*[0.5] * 11))).predicted) == 11


async def test_a_slow_model_leaves_the_loop_free_and_gathers_what_comes_meanwhile(
    make: Callable[..., Batcher], model: EchoModel
) -> None:
    batcher = make()
    batcher._costs[1] = 1.0  # as if measured: from now on batches go to the thread
    first = batcher.submit(rows_of(0.1))
    await asyncio.sleep(0)
    rest = [batcher.submit(rows_of(value)) for value in (0.2, 0.3, 0.4)]

    found = await asyncio.gather(first, *rest)

    assert [predictions.probabilities[0, 1] for predictions in found] == [0.1, 0.2, 0.3, 0.4]
    assert sum(model.batches) == 4


async def test_a_caller_that_gave_up_disturbs_nobody(make: Callable[..., Batcher]) -> None:
    batcher = make()
    gone = batcher.submit(rows_of(0.1))
    stays = batcher.submit(rows_of(0.2))
    gone.cancel()

    assert (await stays).probabilities[0, 1] == 0.2
    assert batcher.waiting_rows == 0
