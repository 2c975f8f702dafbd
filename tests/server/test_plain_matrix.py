"""The quick way to read a matrix reads what the careful one reads, and leaves it every mistake."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage_server.serve.errors import Rejected
from pilotage_server.serve.plain import read_plain
from pilotage_server.serve.tensors import Tail, Tensor

WIDTH, MOST = 3, 4
numbers = st.floats(allow_nan=False) | st.integers(-(2**63), 2**64 - 1) | st.booleans()
cells = numbers | st.none() | st.text(max_size=2) | st.lists(numbers, max_size=2)


def matrix(data: Any, rows: int) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP64", "shape": [rows, WIDTH], "data": data}


@st.composite
def matrices(draw: st.DrawFn) -> dict[str, Any]:
    """Mostly right ones: flat or nested, now and then with a cell that is no number."""
    rows = draw(st.integers(1, MOST))
    kinds = draw(st.sampled_from([st.floats(allow_nan=False, allow_infinity=False), numbers, cells]))
    flat = draw(st.lists(kinds, min_size=rows * WIDTH, max_size=rows * WIDTH))
    nested = [flat[at : at + WIDTH] for at in range(0, len(flat), WIDTH)]
    return matrix(nested if draw(st.booleans()) else flat, rows)


@given(matrices())
def test_what_is_read_quickly_reads_the_same_carefully(item: dict[str, Any]) -> None:
    quick = read_plain(item, WIDTH, MOST)
    if quick is not None:
        careful = Tensor.read(item, 0, Tail(b"")).values().reshape(item["shape"])
        np.testing.assert_array_equal(quick, careful)
        assert list(quick.shape) == item["shape"]
        assert quick.dtype == np.float64


@given(st.lists(st.floats(-1e6, 1e6) | st.integers(-(10**6), 10**6), min_size=WIDTH, max_size=WIDTH * MOST))
def test_ordinary_numbers_are_read_quickly(values: list[float]) -> None:
    rows = len(values) // WIDTH
    flat = values[: rows * WIDTH]

    found = read_plain(matrix(flat, rows), WIDTH, MOST)

    assert found is not None
    assert found.reshape(-1).tolist() == [float(value) for value in flat]


LEFT: dict[str, dict[str, Any]] = {
    "another datatype": {"datatype": "FP32"},
    "too many rows": {"shape": [5, 3], "data": [0.0] * 15},
    "no rows": {"shape": [0, 3], "data": []},
    "another width": {"shape": [1, 4], "data": [0.0] * 4},
    "a truth for a size": {"shape": [True, 3]},
    "one dimension": {"shape": [3]},
    "a shape in words": {"shape": "1,3"},
    "too few values": {"data": [0.0, 1.0]},
    "infinite": {"data": [1e308, 1e308, 1e308]},
    "null": {"data": [0.0, None, 1.0]},
    "text": {"data": [0.0, "1", 1.0]},
    "truths": {"data": [True, False, True]},
    "texts of the right length": {"data": ["abc"]},
    "parameters": {"parameters": {}},
    "no name": {"name": ""},
}


@pytest.mark.parametrize("name", LEFT)
def test_everything_else_is_left_to_who_has_the_words(name: str) -> None:
    assert read_plain({**matrix([0.0, 1.0, 2.0], 1), **LEFT[name]}, WIDTH, MOST) is None


def test_numbers_beyond_all_numbers_are_refused_in_words() -> None:
    item = matrix([0.0, float("inf"), 1.0], 1)

    assert read_plain(item, WIDTH, MOST) is None
    with pytest.raises(Rejected, match="value 1 is not finite"):
        Tensor.read(item, 0, Tail(b"")).values()
