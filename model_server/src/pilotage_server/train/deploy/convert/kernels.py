"""The support vector machine with a kernel: kernel values, pairwise margins, votes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

from pilotage_server.train.deploy.convert.builder import Graph, NoOnnx, Value
from pilotage_server.train.deploy.convert.scores import Scores

Matrix = NDArray[np.float64]


def kernel_svm(graph: Graph, rows: Value, model: SVC) -> Scores:
    """Margins of two classes; votes of all pairs of more, with ties broken by how confident the pairs are."""
    kernel = _kernel(graph, rows, model)
    classes = len(model.classes_)
    if classes == 2:
        return Scores(decision=_margins(graph, kernel, model.dual_coef_, model.intercept_))
    margins = _margins(graph, kernel, _pairwise(model), model.intercept_)
    first, second = _incidence(classes)
    against = graph.cast(graph.add("Less", margins, 0.0), np.float64)
    votes = graph.add("Add", graph.add("MatMul", against, second - first), first.sum(axis=0))
    confidence = graph.add("MatMul", margins, first - second)
    room = graph.add("Mul", graph.add("Add", graph.add("Abs", confidence), 1.0), 3.0)
    return Scores(decision=graph.add("Add", votes, graph.add("Div", confidence, room)))


def _kernel(graph: Graph, rows: Value, model: SVC) -> Value:
    """Kernel values [n, S] of rows and support vectors."""
    vectors, gamma = model.support_vectors_, float(model._gamma)
    product = graph.add("MatMul", rows, np.ascontiguousarray(vectors.T))
    match model.kernel:
        case "linear":
            return product
        case "rbf":
            length = graph.sum(graph.add("Mul", rows, rows), 1, keep=True)
            both = graph.add("Add", length, np.sum(vectors**2, axis=1))
            return graph.add("Exp", graph.add("Mul", graph.add("Sub", both, graph.add("Mul", product, 2.0)), -gamma))
        case "poly":
            inner = graph.add("Add", graph.add("Mul", product, gamma), float(model.coef0))
            return graph.add("Pow", inner, float(model.degree))
        case "sigmoid":
            return graph.add("Tanh", graph.add("Add", graph.add("Mul", product, gamma), float(model.coef0)))
    raise NoOnnx(f"SVC with kernel {model.kernel!r} has no exact ONNX form here")


def _margins(graph: Graph, kernel: Value, weights: Matrix, bias: Matrix) -> Value:
    return graph.add("Add", graph.add("MatMul", kernel, np.ascontiguousarray(weights.T)), bias)


def _pairwise(model: SVC) -> Matrix:
    """Weights [P, S] of the support vectors for each pair of classes, which libsvm keeps folded together."""
    ends = np.cumsum(model.n_support_)
    own = [slice(end - count, end) for end, count in zip(ends, model.n_support_, strict=True)]
    pairs = list(combinations(range(len(own)), 2))
    weights = np.zeros((len(pairs), model.dual_coef_.shape[1]))
    for row, (i, j) in enumerate(pairs):
        weights[row, own[i]] = model.dual_coef_[j - 1, own[i]]
        weights[row, own[j]] = model.dual_coef_[i, own[j]]
    return weights


def _incidence(classes: int) -> tuple[Matrix, Matrix]:
    """Which class is first and which second in each pair, [P, K] each."""
    pairs = np.array(list(combinations(range(classes), 2)))
    return np.eye(classes)[pairs[:, 0]], np.eye(classes)[pairs[:, 1]]
