"""An explanation adds up, is exact for linear models, and never stands in the way of predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pilotage_server.serve.explain import explain_row
from pilotage_server.serve.model import Predictions
from support.serving import Keys, Server, running_server

EXPLAIN = "/v2/models/iris/explain"
Rows = NDArray[np.float64]


def softmax_model(weights: Rows) -> Callable[[Rows], Predictions]:
    def predict(rows: Rows) -> Predictions:
        scores = np.exp(rows @ weights)
        probabilities = scores / scores.sum(axis=1, keepdims=True)
        return Predictions(predicted=probabilities.argmax(axis=1), probabilities=probabilities)

    return predict


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_a_linear_model_is_explained_exactly(seed: int) -> None:
    draw = np.random.default_rng(seed)
    weights, row, background = draw.normal(size=(5, 3)) / 2, draw.normal(size=5), draw.normal(size=(7, 5))

    found = explain_row(softmax_model(weights), row, background)

    centred = weights[:, found.predicted] - weights.mean(axis=1)
    assert found.contributions == pytest.approx(centred * (row - background.mean(axis=0)))
    assert found.base + found.contributions.sum() == pytest.approx(row @ centred)


@pytest.fixture(scope="module")
def server(iris: Path, keys: Keys) -> Iterator[Server]:
    trust = ("--bundle-key-dir", str(keys.public_dir))
    with running_server(iris / "oci", *trust, "--explain") as running:
        yield running


def a_request(rows: int) -> dict[str, object]:
    values = [6.0, 3.0, 5.0, 2.0] * rows
    return {"inputs": [{"name": "input", "datatype": "FP64", "shape": [rows, 4], "data": values}]}


def test_explains_the_class_it_predicts(server: Server) -> None:
    answer = server.request("POST", EXPLAIN, a_request(2))

    predict, contributions, base = answer.body["outputs"]
    assert predict["data"] == ["virginica", "virginica"]
    assert (contributions["shape"], base["shape"]) == ([2, 4], [2])
    assert max(range(4), key=contributions["data"].__getitem__) in (2, 3), "petals tell virginica"


def test_refuses_more_than_it_would_explain(server: Server) -> None:
    answer = server.request("POST", EXPLAIN, a_request(9))

    assert (answer.status, answer.body["error"]) == (
        413,
        "inputs: 9 rows; at most 8 are explained at once, split the request",
    )


def test_is_off_unless_asked_for(digits_server: Server) -> None:
    answer = digits_server.request("POST", "/v2/models/digits/explain", {})

    assert (answer.status, answer.body["error"]) == (404, "explanations are off; start the server with --explain")
