"""From a fitted pipeline to the bytes of its ONNX model: prepare, classify, calibrate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from pilotage_server.train.deploy.convert import kernels, linear, trees
from pilotage_server.train.deploy.convert.builder import Graph, NoOnnx, Value
from pilotage_server.train.deploy.convert.calibration import calibrated
from pilotage_server.train.deploy.convert.preparation import prepare
from pilotage_server.train.deploy.convert.scores import Scores

_CLASSIFIERS: Mapping[type, Callable[[Graph, Value, Any], Scores]] = {
    LogisticRegression: linear.logistic,
    OneVsRestClassifier: linear.one_vs_rest,
    SGDClassifier: linear.gradient_descent,
    LinearSVC: linear.linear_svm,
    SVC: kernels.kernel_svm,
    MLPClassifier: linear.perceptron,
    GaussianNB: linear.gaussian_bayes,
    DummyClassifier: linear.dummy,
    DecisionTreeClassifier: trees.decision_tree,
    RandomForestClassifier: trees.forest,
    ExtraTreesClassifier: trees.forest,
    HistGradientBoostingClassifier: trees.boosting,
}

_STAYS = {
    # Neighbours at equal distance are taken in the order in which the search tree holds them; and for one row ONNX
    # needs 2.9 ms where scikit-learn needs 0.9 (1,700 rows of 64 features).
    KNeighborsClassifier: "neighbours at equal distance are chosen by scikit-learn's search tree",
}


def to_onnx(pipeline: Pipeline, width: int) -> bytes:
    """Convert a pipeline in its serving form; equal pipelines give equal bytes. Raises `NoOnnx`."""
    graph = Graph(width)
    rows = graph.rows
    for _, step in pipeline.steps[:-1]:
        rows = prepare(graph, rows, step)
    probabilities = _classify(graph, rows, pipeline.steps[-1][1])
    return graph.model(probabilities, len(pipeline.classes_))


def _classify(graph: Graph, rows: Value, model: Any) -> Value:
    if isinstance(model, CalibratedClassifierCV):
        return calibrated(graph, _scores(graph, rows, model.calibrated_classifiers_[0].estimator), model)
    scores = _scores(graph, rows, model)
    if scores.probabilities is None:
        raise NoOnnx(f"{type(model).__name__} has no probabilities; calibrate it")
    return scores.probabilities


def _scores(graph: Graph, rows: Value, model: Any) -> Scores:
    if type(model) in _STAYS:
        raise NoOnnx(f"{type(model).__name__} stays with scikit-learn: {_STAYS[type(model)]}")
    convert = _CLASSIFIERS.get(type(model))
    if convert is None:
        raise NoOnnx(f"{type(model).__name__} has no exact ONNX form")
    return convert(graph, rows, model)
