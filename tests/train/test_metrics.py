"""Every metric equals scikit-learn's, under the bootstrap too; intervals hold what they promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from pilotage_server.train.evaluate import counts as of
from pilotage_server.train.evaluate.metrics import Answers, evaluate
from pilotage_server.train.evaluate.ranking import aucs
from pilotage_server.train.evaluate.resample import area_interval, draw_weights


def some_answers(classes: int, rows: int = 400, seed: int = 0, rounded: bool = False) -> Answers:
    """Answers that are better than chance; `rounded` makes ties."""
    rng = np.random.default_rng(seed)
    actual = rng.integers(0, classes, rows)
    scores = rng.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[actual]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    if rounded:
        probabilities = np.round(probabilities * 8 + 0.5) + 1
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Answers(
        actual=actual,
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
        classes=tuple("abcdefgh"[:classes]),
    )


@pytest.mark.parametrize("rounded", [False, True], ids=["no ties", "ties"])
def test_several_classes_equal_scikit_learn(rounded: bool) -> None:
    a = some_answers(4, rounded=rounded)

    found = evaluate(a, seed=1, draws=200)

    def rank(average: str, kind: str) -> float:
        value = oracle.roc_auc_score(a.actual, a.probabilities, average=average, multi_class=kind)
        return float(value)

    truth = np.eye(4)[a.actual]
    expected: dict[str, tuple[Any, float]] = {
        "ovr macro": (found["rocAuc"]["macro"], rank("macro", "ovr")),
        "ovr weighted": (found["rocAuc"]["weighted"], rank("weighted", "ovr")),
        "ovo": (found["rocAuc"]["oneVsOne"], rank("macro", "ovo")),
        "pr macro": (found["prAuc"]["macro"], float(oracle.average_precision_score(truth, a.probabilities))),
        "balanced": (found["balancedAccuracy"], oracle.balanced_accuracy_score(a.actual, a.predicted)),
        "brier": (found["brier"], float(((a.probabilities - truth) ** 2).sum(axis=1).mean())),
        "matthews": (found["matthews"], oracle.matthews_corrcoef(a.actual, a.predicted)),
        "kappa": (found["kappa"], oracle.cohen_kappa_score(a.actual, a.predicted)),
        "d2": (found["d2"], oracle.d2_log_loss_score(a.actual, np.clip(a.probabilities, 1e-3, 1))),
        "weighted f1": (found["weighted"]["f1"], oracle.f1_score(a.actual, a.predicted, average="weighted")),
        "macro precision": (
            found["macro"]["precision"],
            oracle.precision_score(a.actual, a.predicted, average="macro"),
        ),
    }
    for name, (got, value) in expected.items():
        assert got["value"] == pytest.approx(value, abs=1e-12), name
        assert got["low"] <= got["value"] <= got["high"], name


def test_two_classes_equal_scikit_learn() -> None:
    a = some_answers(2)

    found = evaluate(a, seed=1, draws=200)

    positive = a.probabilities[:, 1]
    assert found["brier"]["value"] == pytest.approx(oracle.brier_score_loss(a.actual, positive))
    assert found["logLoss"]["value"] == pytest.approx(
        oracle.log_loss(a.actual, np.clip(a.probabilities, 1e-3, 1.0) / 1.0), abs=2e-3
    )
    assert found["perClass"]["b"]["rocAuc"]["value"] == pytest.approx(oracle.roc_auc_score(a.actual, positive))
    assert found["perClass"]["b"]["prAuc"]["value"] == pytest.approx(oracle.average_precision_score(a.actual, positive))


def test_a_weighted_area_is_that_of_the_rows_drawn() -> None:
    a = some_answers(2, rows=80, rounded=True)
    (weights,) = draw_weights(80, 3, seed=4)

    roc, pr = aucs(a.probabilities[:, 1], a.actual == 1, weights)

    for i, row in enumerate(weights):
        drawn = np.repeat(np.arange(80), row.astype(int))
        assert roc[i] == pytest.approx(oracle.roc_auc_score(a.actual[drawn], a.probabilities[drawn, 1]))
        assert pr[i] == pytest.approx(oracle.average_precision_score(a.actual[drawn], a.probabilities[drawn, 1]))


@pytest.mark.parametrize("seed", range(5))
def test_agreement_beyond_chance_equals_scikit_learn_on_any_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, (20, 3, 3))
    counts[0, :, 1:] = 0  # one answer whatever the row

    for one, matthews, kappa in zip(counts, of.matthews(counts), of.kappa(counts), strict=True):
        actual, predicted = (np.repeat(index, one.ravel()) for index in np.indices((3, 3)).reshape(2, -1))
        assert matthews == pytest.approx(oracle.matthews_corrcoef(actual, predicted), abs=1e-12)
        assert kappa == pytest.approx(oracle.cohen_kappa_score(actual, predicted), abs=1e-12)


def test_calibration_error_of_an_honest_model_may_be_zero_and_of_a_boaster_may_not() -> None:
    rng = np.random.default_rng(3)
    said = rng.uniform(0.5, 1.0, 2_000)

    def answers(right: np.ndarray[Any, Any]) -> dict[str, Any]:
        truth = (rng.uniform(size=2_000) < right).astype(int)
        a = Answers(
            actual=truth, predicted=np.ones(2_000, dtype=int), probabilities=np.column_stack([1 - said, said]),
            classes=("no", "yes"),
        )  # fmt: skip
        found: dict[str, Any] = evaluate(a, seed=1, draws=200)["calibrationError"]
        return found

    honest, boaster = answers(said), answers(said - 0.1)

    assert honest["low"] == 0.0
    assert honest["value"] <= honest["high"] < 0.05
    assert 0.06 < boaster["low"] < boaster["value"] < boaster["high"] < 0.14


def test_costs_add_up_every_cell() -> None:
    counts = np.array([[50, 10], [5, 35]])

    assert of.expected_cost(counts, np.array([[0.0, 1.0], [20.0, 0.0]])) == pytest.approx((10 + 5 * 20) / 100)


def test_grouped_rows_get_wider_intervals_than_independent_ones() -> None:
    a = some_answers(2, rows=60)
    fivefold = np.repeat(np.arange(60), 5)
    copies = Answers(
        actual=a.actual[fivefold],
        predicted=a.predicted[fivefold],
        probabilities=a.probabilities[fivefold],
        classes=a.classes,
        groups=fivefold,
    )

    grouped = evaluate(copies, seed=1)["logLoss"]
    single = evaluate(a, seed=1)["logLoss"]

    assert grouped["value"] == pytest.approx(single["value"])
    assert grouped["high"] - grouped["low"] == pytest.approx(single["high"] - single["low"], rel=0.15)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """The reduced form of `benchmarks/train.py coverage`: 60 sets instead of 500."""
    truth = evaluate(some_answers(3, rows=50_000, seed=99), seed=1, draws=1)
    names = {"balancedAccuracy": None, "logLoss": None, "brier": None, "rocAuc": "macro", "macro": "f1"}
    hits = dict.fromkeys(names, 0)
    for seed in range(60):
        found = evaluate(some_answers(3, rows=150, seed=seed), seed=seed, draws=200)
        for name, inner in names.items():
            interval, value = (found[name], truth[name]) if inner is None else (found[name][inner], truth[name][inner])
            hits[name] += interval["low"] <= value["value"] <= interval["high"]

    # 60 draws at 95 %: fewer than 52 or all 60 for five metrics at once would be a surprise of 1 in 1,000 each.
    assert all(count >= 52 for count in hits.values()), hits


def test_an_area_keeps_inside_its_range_and_is_percentiles_at_the_edge() -> None:
    rng = np.random.default_rng(1)
    inside = area_interval(0.95, np.clip(rng.normal(0.96, 0.03, 500), 0, 1))
    perfect = area_interval(1.0, np.ones(500))

    assert 0.7 < inside["low"] < 0.95 < inside["high"] < 1.0
    assert perfect == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert area_interval(float("nan"), np.full(5, np.nan))["value"] is None
