"""The matrix nearly every client sends, read in three passes of C: finite numbers as FP64, in a JSON list.

Laws: what is read here reads the same in `tensors`; whatever is not exactly that (another datatype, bytes, gaps, a
mistake) is left to `tensors`, which has the words for it. Worth a module: of what the event loop does for one row of 64
numbers, reading it there was a third.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_KEYS: Final = {"name", "datatype", "shape", "data"}


def read_plain(item: Any, width: int, max_rows: int) -> NDArray[np.float64] | None:
    """Rows [n, width] of an item of `inputs`, 1 ≤ n ≤ max_rows; None if it is anything but plain."""
    if type(item) is not dict or item.keys() != _KEYS or item["datatype"] != "FP64":
        return None
    name, shape, data = item["name"], item["shape"], item["data"]
    if type(name) is not str or not 0 < len(name) <= 256 or type(data) is not list:
        return None
    if type(shape) is not list or len(shape) != 2 or not all(type(size) is int for size in shape):
        return None
    rows = shape[0]
    if shape[1] != width or not 0 < rows <= max_rows:
        return None
    values = _flat(data, rows, width)
    if values is None or type(values[0]) is bool:
        return None
    try:
        # One sum tells of texts, nulls and lists among the numbers, and of numbers that are not finite.
        is_plain = math.isfinite(sum(values))
    except TypeError:
        return None
    return np.fromiter(values, np.float64, rows * width).reshape(rows, width) if is_plain else None


def _flat(data: list[Any], rows: int, width: int) -> list[Any] | None:
    if len(data) == rows * width and type(data[0]) is not list:
        return data
    if len(data) == rows and all(type(row) is list and len(row) == width for row in data):
        return list(chain.from_iterable(data))
    return None
