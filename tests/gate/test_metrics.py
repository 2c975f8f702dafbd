"""Every metric against counting row by row, and against scikit-learn over clusters."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_score, recall_score

from pilotage.gate import Analysis
from pilotage.gate.counts import count, rows
from pilotage.gate.spec import Average, GateSpec, Metric

METRICS = [
    {"metric": "accuracy"},
    {"metric": "recall", "class": "b"},
    {"metric": "precision", "class": "b"},
    {"metric": "recall", "average": "macro"},
    {"metric": "precision", "average": "macro"},
    {"metric": "recall", "average": "micro"},
    {"metric": "precision", "average": "micro"},
    {"metric": "recall", "average": "weighted"},
]


def named(metric: dict[str, Any]) -> str:
    return " ".join(metric.values())


def draw(rng: np.random.Generator, classes: list[str], size: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.choice(classes, size)
    return truth, np.where(rng.random(size) < right, truth, rng.choice(classes, size))


def confusion_of(truth: np.ndarray, predicted: np.ndarray) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for actual, guess in zip(truth.tolist(), predicted.tolist(), strict=True):
        table.setdefault(actual, {}).setdefault(guess, 0)
        table[actual][guess] += 1
    return table


def sklearn_value(metric: dict[str, Any], truth: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> float:
    if metric["metric"] == "accuracy":
        return float(accuracy_score(truth, predicted, sample_weight=weight))
    score = recall_score if metric["metric"] == "recall" else precision_score
    if "class" in metric:
        return float(
            score(
                truth, predicted, labels=[metric["class"]], average="macro", sample_weight=weight, zero_division=np.nan
            )
        )
    return float(score(truth, predicted, average=metric["average"], sample_weight=weight))


@pytest.mark.parametrize("size", [3, 4, 5, 6])
@pytest.mark.parametrize("metric", METRICS, ids=named)
def test_successes_and_trials_are_those_of_counting_row_by_row(metric, size):
    rng = np.random.default_rng(size)
    classes = list("abcdef"[:size])
    truth, predicted = draw(rng, classes, 200, 0.7)
    gate = GateSpec(
        name="g",
        metric=Metric(metric["metric"]),
        class_name=metric.get("class"),
        average=Average(metric["average"]) if "average" in metric else None,
        floor=0.5,
        margin=None,
    )
    about = rows(gate, classes)
    found = count(gate, about, confusion_of(truth, predicted))
    for row, hits, trials in zip(about, found.s, found.n, strict=True):
        asked = [
            (actual, guess)
            for actual, guess in zip(truth, predicted, strict=True)
            if row is None or (actual if gate.metric is Metric.RECALL else guess) == row
        ]
        assert (hits, trials) == (sum(actual == guess for actual, guess in asked), len(asked))


@pytest.mark.parametrize("metric", METRICS, ids=named)
def test_one_cluster_estimates_equal_scikit_learn(metric):
    classes = list("abcd")
    truth, predicted = draw(np.random.default_rng(1), classes, 400, 0.8)
    analysis = Analysis.from_spec({"gates": [{"name": "g", "floor": 0.5, **metric}]})
    state = analysis.update(
        analysis.start(classes, {"aws": 1.0}),
        {"at": 1.0, "clusters": {"aws": {"canary": {"confusion": confusion_of(truth, predicted)}}}},
    )
    expected = sklearn_value(metric, truth, predicted, np.ones(len(truth)))
    assert analysis.verdict(state).gates["g"].estimate == pytest.approx(expected)


def stratum_weights(metric: dict[str, Any], parts: dict[str, Any], shares: dict[str, float]) -> np.ndarray:
    """W_k / n_k for every label, n_k the trials of the label's own stratum: its cluster, and its class row if any."""
    found = []
    for name, (truth, predicted) in parts.items():
        if metric["metric"] == "accuracy" or metric.get("average") in ("micro", "weighted"):
            found.append(np.full(len(truth), shares[name] / len(truth)))
        else:
            row = truth if metric["metric"] == "recall" else predicted
            found.append(np.array([shares[name] / np.sum(row == label) for label in row]))
    return np.concatenate(found)


@pytest.mark.parametrize("metric", METRICS, ids=named)
def test_estimates_over_clusters_equal_scikit_learn_with_the_mix_as_weights(metric):
    rng = np.random.default_rng(2)
    classes, shares = list("abc"), {"aws": 0.7, "gcp": 0.2, "azure": 0.1}
    sizes, right = {"aws": 60, "gcp": 300, "azure": 90}, {"aws": 0.9, "gcp": 0.5, "azure": 0.7}
    parts = {name: draw(rng, classes, sizes[name], right[name]) for name in shares}
    analysis = Analysis.from_spec({"gates": [{"name": "g", "margin": 0.05, **metric}]})
    block = {name: {"canary": {"confusion": confusion_of(*part)}} for name, part in parts.items()}
    state = analysis.update(analysis.start(classes, shares), {"at": 1.0, "clusters": block})
    truth, predicted = (np.concatenate([part[i] for part in parts.values()]) for i in (0, 1))
    expected = sklearn_value(metric, truth, predicted, stratum_weights(metric, parts, shares))
    gate = analysis.verdict(state).gates["g"]
    assert gate.estimate == pytest.approx(expected)
    assert gate.stable is None  # no label of stable: absent, not 0
    assert gate.difference is None


def test_a_class_that_never_occurred_has_no_recall():
    analysis = Analysis.from_spec({"gates": [{"name": "g", "metric": "recall", "class": "b", "floor": 0.5}]})
    state = analysis.update(
        analysis.start(["a", "b"], {"aws": 1.0}),
        {"at": 1.0, "clusters": {"aws": {"canary": {"confusion": {"a": {"a": 500, "b": 3}}}}}},
    )
    gate = analysis.verdict(state).gates["g"]
    assert (gate.estimate, gate.state, gate.labels["canary"]["aws"]) == (None, "InsufficientData", 0)
