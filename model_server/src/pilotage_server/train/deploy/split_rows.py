"""Rows at the split points of trees, where a wrong comparison shows: parity is judged on them as well.

Around a split there is a last value that goes left and a first one that goes right, neighbours in double precision.
Both are searched through the whole preparation, so that scaling, rounding and comparing are judged where they matter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline

from pilotage_server.train.deploy.convert.trees import Tree, trees_of

Rows = NDArray[np.float64]
Indices = NDArray[np.int64]

COUNT = 500
_ZERO = np.int64(-(2**63))  # the bits of −0.0, from which those of negative numbers count upwards


def split_rows(pipeline: Pipeline, rows: Rows, *, count: int = COUNT, seed: int = 0) -> Rows:
    """Up to 2·`count` rows at splits of the pipeline's trees, [n, F]; none where there are no trees.

    Each is one of `rows` with one value replaced, at a split that the row reaches.
    """
    classifier = pipeline.steps[-1][1]
    if isinstance(classifier, CalibratedClassifierCV):
        classifier = classifier.calibrated_classifiers_[0].estimator
    trees = trees_of(classifier)
    if not trees or not len(rows):
        return np.empty((0, rows.shape[1]))
    rng = np.random.default_rng(seed)
    chosen = rows[rng.integers(len(rows), size=count)]
    prepared = _prepared(pipeline, chosen)
    ways = [_a_split(trees[rng.integers(len(trees))], row, rng) for row in prepared]
    column, threshold = np.array([way[0] for way in ways]), np.array([way[1] for way in ways])
    owner = _owners(pipeline, rows, prepared.shape[1])[column]
    here = (column >= 0) & (owner >= 0)
    chosen, column, threshold, owner = chosen[here], column[here], threshold[here], owner[here]
    every = np.arange(len(chosen))

    def placed(values: NDArray[np.float64]) -> Rows:
        changed: Rows = chosen.copy()
        changed[every, owner] = values
        return changed

    def is_left(values: NDArray[np.float64]) -> NDArray[np.bool_]:
        found = _prepared(pipeline, placed(values))[every, column]
        return np.asarray(trees[0].rounded(found) <= threshold, dtype=np.bool_)

    known = np.where(np.isnan(rows), 0.0, rows)
    low, high = known.min(axis=0)[owner], known.max(axis=0)[owner]
    last, first, is_found = _turn(is_left, low - (high - low), high + (high - low))
    return np.vstack([placed(last)[is_found], placed(first)[is_found]])


def _prepared(pipeline: Pipeline, rows: Rows) -> Rows:
    if len(pipeline.steps) == 1:
        return rows
    prepared: Rows = np.asarray(pipeline[:-1].transform(rows), dtype=np.float64)
    return prepared


def _a_split(tree: Tree, row: NDArray[np.float64], rng: np.random.Generator) -> tuple[int, float]:
    """Column and threshold of a split on a prepared row's way to its leaf; column −1 where there is none."""
    passed: list[int] = []
    node = 0
    while not tree.is_leaf[node]:
        passed.append(node)
        value = row[tree.feature[node]]
        goes_left = tree.missing_left[node] if np.isnan(value) else tree.rounded(value) <= tree.threshold[node]
        node = int(tree.left[node] if goes_left else tree.right[node])
    if not passed:
        return -1, 0.0
    chosen = passed[rng.integers(len(passed))]
    return int(tree.feature[chosen]), float(tree.threshold[chosen])


def _owners(pipeline: Pipeline, rows: Rows, width: int) -> Indices:
    """The input's column behind each of the `width` prepared ones, seen by moving it; −1 where nothing moves."""
    found = np.full(width, -1)
    base = np.where(np.isnan(rows[:1]), 0.0, rows[:1])
    moved = np.repeat(base, rows.shape[1], axis=0)
    for column in range(rows.shape[1]):
        others = rows[~np.isnan(rows[:, column]) & (rows[:, column] != base[0, column]), column]
        if len(others):
            moved[column, column] = others[0]
    differs = _prepared(pipeline, moved) != _prepared(pipeline, base)
    found[differs.any(axis=0)] = differs.argmax(axis=0)[differs.any(axis=0)]
    return found


def _turn(
    is_left: Callable[[NDArray[np.float64]], NDArray[np.bool_]], low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Bisect between `low` and `high` over all doubles: the last on the left, the first on the right, if they turn."""
    is_found = is_left(low) & ~is_left(high)
    left, right = _ordered(low), _ordered(high)
    while np.any(right - 1 > left):
        middle = (left >> 1) + (right >> 1) + (left & right & 1)
        goes_left = is_left(_double(middle))
        left, right = np.where(goes_left, middle, left), np.where(goes_left, right, middle)
    return _double(left), _double(right), is_found


def _ordered(values: NDArray[np.float64]) -> Indices:
    """Integers in the order of doubles, neighbours one apart."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    return np.where(bits < 0, _ZERO - bits, bits)


def _double(ordered: Indices) -> NDArray[np.float64]:
    return np.where(ordered < 0, _ZERO - ordered, ordered).view(np.float64)
