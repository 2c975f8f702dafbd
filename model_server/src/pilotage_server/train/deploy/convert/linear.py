"""Classifiers made of matrix products: linear models, the perceptron, naive Bayes, and the dummy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC

from pilotage_server.train.deploy.convert.builder import Graph, NoOnnx, Value
from pilotage_server.train.deploy.convert.scores import Scores, from_logits, normalised, sigmoid, two_columns

_ACTIVATIONS: Mapping[str, Callable[[Graph, Value], Value]] = {
    "identity": lambda _, values: values,
    "logistic": sigmoid,
    "tanh": lambda graph, values: graph.add("Tanh", values),
    "relu": lambda graph, values: graph.add("Relu", values),
}


def logistic(graph: Graph, rows: Value, model: LogisticRegression) -> Scores:
    """Sigmoid of two classes, softmax of more."""
    decision = _product(graph, rows, model.coef_, model.intercept_)
    return Scores(decision=decision, probabilities=from_logits(graph, decision, len(model.classes_)))


def one_vs_rest(graph: Graph, rows: Value, model: OneVsRestClassifier) -> Scores:
    """One sigmoid per class, divided by their sum."""
    if not all(type(each) is LogisticRegression for each in model.estimators_):
        raise NoOnnx("OneVsRestClassifier has an exact ONNX form only around logistic regressions")
    weights = np.vstack([each.coef_ for each in model.estimators_])
    decision = _product(graph, rows, weights, np.concatenate([each.intercept_ for each in model.estimators_]))
    return _separate(graph, decision, len(model.classes_))


def gradient_descent(graph: Graph, rows: Value, model: SGDClassifier) -> Scores:
    """As one-vs-rest logistic regression; other losses have no probabilities."""
    decision = _product(graph, rows, model.coef_, model.intercept_)
    if model.loss != "log_loss":
        return Scores(decision=decision)
    return _separate(graph, decision, len(model.classes_))


def linear_svm(graph: Graph, rows: Value, model: LinearSVC) -> Scores:
    """Margins alone."""
    return Scores(decision=_product(graph, rows, model.coef_, model.intercept_))


def perceptron(graph: Graph, rows: Value, model: MLPClassifier) -> Scores:
    """Layer by layer."""
    for weights, bias in zip(model.coefs_, model.intercepts_, strict=True):
        is_last = weights is model.coefs_[-1]
        rows = graph.add("Add", graph.add("MatMul", rows, weights), bias)
        rows = rows if is_last else _ACTIVATIONS[model.activation](graph, rows)
    return Scores(probabilities=from_logits(graph, rows, len(model.classes_)))


def gaussian_bayes(graph: Graph, rows: Value, model: GaussianNB) -> Scores:
    """Softmax of the joint log-likelihood of each class."""
    constant = np.log(model.class_prior_) - 0.5 * np.sum(np.log(2.0 * np.pi * model.var_), axis=1)
    apart = graph.add("Sub", graph.add("Unsqueeze", rows, np.array([1])), model.theta_)
    squares = graph.sum(graph.add("Div", graph.add("Mul", apart, apart), model.var_), 2)
    likelihood = graph.add("Sub", constant, graph.add("Mul", squares, 0.5))
    return Scores(probabilities=graph.add("Softmax", likelihood, axis=1))


def dummy(graph: Graph, rows: Value, model: DummyClassifier) -> Scores:
    """The same probabilities for every row."""
    if model.strategy not in ("prior", "most_frequent", "uniform"):
        raise NoOnnx(f"DummyClassifier with strategy {model.strategy} is random, or looks at labels")
    one = np.asarray(model.predict_proba(np.zeros((1, 1))))
    shape = graph.add("Concat", graph.add("Shape", rows, start=0, end=1), np.array([one.shape[1]]), axis=0)
    return Scores(probabilities=graph.add("Expand", one, shape))


def _product(graph: Graph, rows: Value, weights: Any, bias: Any) -> Value:
    return graph.add("Add", graph.add("MatMul", rows, np.ascontiguousarray(weights.T)), bias)


def _separate(graph: Graph, decision: Value, classes: int) -> Scores:
    probabilities = sigmoid(graph, decision)
    if classes == 2:
        return Scores(decision=decision, probabilities=two_columns(graph, probabilities))
    return Scores(decision=decision, probabilities=normalised(graph, probabilities, classes))
