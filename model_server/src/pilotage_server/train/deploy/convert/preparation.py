"""How columns become numbers: imputers, scalers, encoders and selections, operation for operation as scikit-learn.

The order of operations is scikit-learn's, so the results are equal to the last bit; a tree behind them asks on which
side of a split point a value lies, where one bit decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler, TargetEncoder

from pilotage_server.train.deploy.convert.builder import Graph, NoOnnx, Value

Matrix = NDArray[np.float64]


def prepare(graph: Graph, rows: Value, step: Any) -> Value:
    """Append what a fitted transformer computes."""
    if isinstance(step, SelectorMixin):
        return graph.columns(rows, step.get_support(indices=True))
    convert = _STEPS.get(type(step))
    if convert is None:
        raise NoOnnx(f"{type(step).__name__} has no exact ONNX form")
    return convert(graph, rows, step)


def _pipeline(graph: Graph, rows: Value, step: Pipeline) -> Value:
    for _, inner in step.steps:
        rows = prepare(graph, rows, inner)
    return rows


def _by_column(graph: Graph, rows: Value, step: ColumnTransformer) -> Value:
    parts = []
    for name, inner, columns in step.transformers_:
        if name == "remainder" and inner == "drop":
            continue
        chosen = graph.columns(rows, np.asarray(columns))
        # An untouched part is a function transformer without a function once it has been fitted.
        untouched = getattr(inner, "func", "none") is None
        parts.append(chosen if untouched else prepare(graph, chosen, inner))
    return graph.side_by_side(*parts)


def _impute(graph: Graph, rows: Value, step: SimpleImputer) -> Value:
    missing, fill = graph.add("IsNaN", rows), np.asarray(step.statistics_, dtype=np.float64)
    filled = graph.add("Where", missing, fill, rows)
    if np.isnan(fill).any():
        # A column that was empty in training is dropped, unless it is kept as zeros.
        filled = graph.columns(filled, np.flatnonzero(~np.isnan(fill)))
    if step.indicator_ is None:
        return filled
    flags = graph.cast(graph.columns(missing, step.indicator_.features_), np.float64)
    return graph.side_by_side(filled, flags)


def _standard(graph: Graph, rows: Value, step: StandardScaler) -> Value:
    return graph.add("Div", graph.add("Sub", rows, step.mean_), step.scale_)


def _min_max(graph: Graph, rows: Value, step: MinMaxScaler) -> Value:
    if step.clip:
        raise NoOnnx("MinMaxScaler with clip has no exact ONNX form here")
    return graph.add("Add", graph.add("Mul", rows, step.scale_), step.min_)


def _one_hot(graph: Graph, rows: Value, step: OneHotEncoder) -> Value:
    """One column per frequent category; rare ones and those never seen share one where training had rare ones."""
    rare = _rare(step)
    frequent = [each[~np.isin(each, few)] for each, few in zip(step.categories_, rare, strict=True)]
    hits, owners = _hits(graph, rows, frequent)
    shared = [column for column, few in enumerate(rare) if len(few)]
    if not shared:
        return hits
    others = graph.add("Sub", 1.0, graph.add("MatMul", hits, owners[:, shared]))
    order: list[int] = []
    for column in range(len(rare)):
        order += np.flatnonzero(owners[:, column]).tolist()
        order += [len(owners) + shared.index(column)] if column in shared else []
    return graph.columns(graph.side_by_side(hits, others), np.array(order))


def _rare(step: OneHotEncoder) -> Sequence[NDArray[Any]]:
    if step.drop is not None or step.handle_unknown != "infrequent_if_exist":
        raise NoOnnx("OneHotEncoder has an ONNX form only with handle_unknown=infrequent_if_exist and without drop")
    found = step.infrequent_categories_ if step.min_frequency is not None else [None] * len(step.categories_)
    return [np.empty(0) if rare is None else rare for rare in found]


def _by_target(graph: Graph, rows: Value, step: TargetEncoder) -> Value:
    """The mean of the category, or of all rows where training had no such category. Products with 0 and 1 are exact."""
    columns = len(step.categories_)
    each = len(step.encodings_) // columns
    means = [np.column_stack(step.encodings_[i * each : (i + 1) * each]) for i in range(columns)]
    hits, owners = _hits(graph, rows, step.categories_)
    known = graph.add("MatMul", hits, _block_diagonal(means))
    nowhere = graph.add("Sub", 1.0, graph.add("MatMul", hits, owners))
    overall = _block_diagonal([np.atleast_2d(step.target_mean_)] * columns)
    return graph.add("Add", known, graph.add("MatMul", nowhere, overall))


def _hits(graph: Graph, rows: Value, categories: Sequence[Matrix]) -> tuple[Value, Matrix]:
    """1 where a row has a category, else 0, [n, C] over all columns; and which column each stands for, [C, columns]."""
    if any(np.isnan(one).any() for one in categories):
        raise NoOnnx("a missing value as a category of its own has no exact ONNX form here")
    repeated = np.repeat(np.arange(len(categories)), [len(one) for one in categories])
    same = graph.add("Equal", graph.columns(rows, repeated), np.concatenate(categories).astype(np.float64))
    return graph.cast(same, np.float64), (repeated[:, None] == np.arange(len(categories))).astype(np.float64)


def _block_diagonal(blocks: Sequence[Matrix]) -> Matrix:
    found = np.zeros((sum(len(block) for block in blocks), sum(block.shape[1] for block in blocks)))
    row = column = 0
    for block in blocks:
        found[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    return found


_STEPS: Mapping[type, Callable[[Graph, Value, Any], Value]] = {
    Pipeline: _pipeline,
    ColumnTransformer: _by_column,
    SimpleImputer: _impute,
    StandardScaler: _standard,
    MinMaxScaler: _min_max,
    OneHotEncoder: _one_hot,
    TargetEncoder: _by_target,
}
