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
Ordered = NDArray[np.uint64]

COUNT = 500
_PARTS = 8
_SIGN = np.uint64(2**63)


def split_rows(pipeline: Pipeline, rows: Rows, *, count: int = COUNT, seed: int = 0) -> Rows:
    """Up to 2·`count` rows at splits of the pipeline's trees, [n, F]; none where there are no trees.

    Each is one of `rows` with one value replaced, at a split that the row reaches.
    """
    trees = _trees(pipeline)
    if not trees or not len(rows):
        return np.empty((0, rows.shape[1]))
    rng = np.random.default_rng(seed)
    chosen = rows[rng.integers(len(rows), size=count)]
    start = _prepared(pipeline, chosen)
    ways = [_a_split(trees[rng.integers(len(trees))], row, rng) for row in start]
    column, threshold = np.array([way[0] for way in ways]), np.array([way[1] for way in ways])
    owner = _owners(pipeline, rows, start.shape[1])[column]
    here = (column >= 0) & (owner >= 0)
    if not here.any():
        return np.empty((0, rows.shape[1]))
    chosen, column, threshold, owner = chosen[here], column[here], threshold[here], owner[here]
    every = np.arange(len(chosen))

    def placed(values: NDArray[np.float64]) -> Rows:
        changed: Rows = np.tile(chosen, (len(values), 1))
        changed[np.arange(values.size), np.tile(owner, len(values))] = values.ravel()
        return changed

    def is_left(values: NDArray[np.float64]) -> NDArray[np.bool_]:
        prepared = _prepared(pipeline, placed(values)).reshape(*values.shape, -1)[:, every, column]
        return np.asarray(trees[0].rounded(prepared) <= threshold, dtype=np.bool_)

    known = np.where(np.isnan(rows), 0.0, rows)
    low, high = known.min(axis=0)[owner], known.max(axis=0)[owner]
    low, high = low - (high - low), high + (high - low)
    does_turn = is_left(low[None])[0] & ~is_left(high[None])[0]
    found: Rows = placed(_turns(is_left, low, high))[np.tile(does_turn, 2)]
    return found


def _trees(pipeline: Pipeline) -> list[Tree]:
    classifier = pipeline.steps[-1][1]
    if isinstance(classifier, CalibratedClassifierCV):
        classifier = classifier.calibrated_classifiers_[0].estimator
    return trees_of(classifier)


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


def _owners(pipeline: Pipeline, rows: Rows, width: int) -> NDArray[np.int64]:
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


def _turns(
    is_left: Callable[[NDArray[np.float64]], NDArray[np.bool_]], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The last double on the left and the first one on the right between `low` and `high`, [2, n].

    `is_left` of values [m, n] must be true up to some place, and false from there on. Each look divides what is left
    of the doubles between by eight.
    """
    left, right = _ordered(low), _ordered(high)
    while np.any(right - left > 1):
        step = (right - left) // _PARTS + 1
        places = np.minimum(left + step * np.arange(_PARTS + 1, dtype=np.uint64)[:, None], right)
        passed = is_left(_double(places[1:-1])).sum(axis=0)
        left, right = (np.take_along_axis(places, one[None], axis=0)[0] for one in (passed, passed + 1))
    return _double(np.stack([left, right]))


def _ordered(values: NDArray[np.float64]) -> Ordered:
    """Integers in the order of doubles, neighbours one apart."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _double(ordered: Ordered) -> NDArray[np.float64]:
    return np.where(ordered & _SIGN, ordered ^ _SIGN, ~ordered).view(np.float64)
