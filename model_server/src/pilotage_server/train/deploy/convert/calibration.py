"""Calibrated probabilities: sigmoid, isotonic and temperature, over a classifier's scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV

from pilotage_server.train.deploy.convert.builder import Graph, NoOnnx, Value
from pilotage_server.train.deploy.convert.scores import Scores, normalised, sigmoid, two_columns

_LEAST = 1e-12
"""What scikit-learn adds to a probability before it takes the logarithm."""


def calibrated(graph: Graph, scores: Scores, model: CalibratedClassifierCV) -> Value:
    """Probabilities [n, K] of a calibrated classifier, from the scores of the one inside."""
    if len(model.calibrated_classifiers_) != 1:
        raise NoOnnx("CalibratedClassifierCV has an exact ONNX form only with ensemble=False")
    (inner,) = model.calibrated_classifiers_
    classes = len(inner.classes)
    if inner.method == "temperature":
        logits = _logits(graph, scores, classes)
        return graph.add("Softmax", graph.add("Mul", logits, float(inner.calibrators[0].beta_)), axis=1)
    values = _one_each(graph, scores, classes)
    match inner.method:
        case "sigmoid":
            slope = np.array([each.a_ for each in inner.calibrators])
            start = np.array([each.b_ for each in inner.calibrators])
            line = graph.add("Add", graph.add("Mul", values, slope), start)
            found = sigmoid(graph, graph.add("Neg", line))
        case "isotonic":
            found = _isotonic(graph, values, inner.calibrators)
        case _:
            raise NoOnnx(f"calibration by {inner.method} has no exact ONNX form here")
    return two_columns(graph, found) if classes == 2 else normalised(graph, found, classes)


def _one_each(graph: Graph, scores: Scores, classes: int) -> Value:
    """What calibrators see: the decision function where there is one; of two classes the second one's column."""
    if scores.decision is not None:
        return scores.decision
    if scores.probabilities is None:
        raise NoOnnx("a classifier without scores cannot be calibrated")
    return graph.columns(scores.probabilities, np.array([1])) if classes == 2 else scores.probabilities


def _logits(graph: Graph, scores: Scores, classes: int) -> Value:
    values = _one_each(graph, scores, classes)
    if scores.decision is not None:
        return graph.side_by_side(graph.add("Neg", values), values) if classes == 2 else values
    both = two_columns(graph, values) if classes == 2 else values
    return graph.add("Log", graph.add("Add", both, _LEAST))


def _isotonic(graph: Graph, values: Value, calibrators: Sequence[Any]) -> Value:
    """Interpolate between the two breakpoints around each value, as `numpy.interp` does.

    Every class has its own breakpoints; shorter lists are filled up with infinity, which no value reaches.
    """
    longest = max(len(each.X_thresholds_) for each in calibrators)
    places = np.full((len(calibrators), longest), np.inf)
    heights, slopes = np.zeros_like(places), np.zeros_like(places)
    for row, each in enumerate(calibrators):
        x, y = each.X_thresholds_.astype(np.float64), each.y_thresholds_.astype(np.float64)
        places[row, : len(x)], heights[row, : len(x)] = x, y
        slopes[row, : len(x) - 1] = np.diff(y) / np.diff(x)
    low = np.array([each.X_min_ for each in calibrators], dtype=np.float64)
    high = np.array([each.X_max_ for each in calibrators], dtype=np.float64)
    within = graph.add("Max", graph.add("Min", values, high), low)
    column = graph.add("Unsqueeze", within, np.array([2]))
    passed = graph.sum(graph.cast(graph.add("GreaterOrEqual", column, places), np.int64), 2)
    at = graph.add("Add", passed, np.arange(len(calibrators)) * longest - 1)
    start, height, slope = (_pick(graph, table, at) for table in (places, heights, slopes))
    return graph.add("Add", graph.add("Mul", graph.add("Sub", within, start), slope), height)


def _pick(graph: Graph, table: NDArray[np.float64], at: Value) -> Value:
    return graph.add("Gather", table.ravel(), at, axis=0)
