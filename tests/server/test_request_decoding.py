"""Whatever bytes arrive, reading them gives rows that are safe to predict, or a refusal; nothing else."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage_server.serve.body import Body
from pilotage_server.serve.errors import Rejected
from pilotage_server.serve.infer import Signature, read_infer

SIGNALLING = bytes.fromhex("0100a07f")
"""An FP32 of which NumPy warns when it is cast."""
SIGNATURE = Signature(features=("a", "b", "c"), max_rows=8)
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=3)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", "c", "input", ""]) | json_values,
        "datatype": st.sampled_from(["FP64", "FP32", "INT8", "BOOL", "BYTES", "X"]) | json_values,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | json_values,
        "data": st.lists(scalars, max_size=12) | st.lists(st.lists(scalars, max_size=4), max_size=4) | json_values,
        "parameters": json_values,
    },
)
requests = st.fixed_dictionaries(
    {}, optional={"id": json_values, "inputs": st.lists(tensors, max_size=4) | json_values, "outputs": json_values}
)


def is_safe(body: bytes) -> bool:
    try:
        rows = read_infer(Body(json=body), SIGNATURE).rows
    except Rejected as rejected:
        return 400 <= rejected.status < 500
    return rows.ndim == 2 and 1 <= len(rows) <= 8 and rows.shape[1] == 3 and bool(np.isfinite(rows).all())


@settings(deadline=None)
@given(requests | json_values)
def test_any_json_is_read_or_refused(document: Any) -> None:
    assert is_safe(json.dumps(document).encode())


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(Rejected):
        read_infer(Body(json=body), SIGNATURE)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(-1e300, 1e300)] * 3), min_size=1, max_size=8))
def test_matrix_and_named_features_are_the_same_rows(rows: list[tuple[float, ...]]) -> None:
    matrix = {"name": "x", "datatype": "FP64", "shape": [len(rows), 3], "data": [list(row) for row in rows]}
    named = [
        {"name": name, "datatype": "FP64", "shape": [len(rows), 1], "data": [row[i] for row in rows]}
        for i, name in reversed(list(enumerate(SIGNATURE.features)))
    ]

    plain = read_infer(Body(json=json.dumps({"inputs": [matrix]}).encode()), SIGNATURE)
    columns = read_infer(Body(json=json.dumps({"inputs": named}).encode()), SIGNATURE)

    assert plain.rows.tolist() == columns.rows.tolist() == [list(row) for row in rows]


def test_a_signalling_nan_is_refused_like_any_other() -> None:
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}

    with pytest.raises(Rejected, match=r"value 1 is not finite as FP32"):
        read_infer(
            Body(json=json.dumps({"inputs": [tensor]}).encode(), tail=bytes(4) + SIGNALLING + bytes(4)), SIGNATURE
        )


@pytest.mark.parametrize("nested", [False, True])
def test_texts_for_numbers_take_no_more_room_than_they_came_with(nested: bool) -> None:
    # NumPy gives every text of an array the room of the longest: 1 GB for these 65 kB.
    texts: list[Any] = ["a" * 50_000, None, *[""] * 5_000]
    tensor = {"name": "input", "datatype": "FP64", "shape": [1, 3], "data": [[texts]] if nested else texts}
    body = json.dumps({"inputs": [tensor]}).encode()

    tracemalloc.start()
    try:
        with pytest.raises(Rejected, match="datatype FP64, but data holds texts; send numbers"):
            read_infer(Body(json=body), SIGNATURE)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most < 5_000_000
