"""What simulated models are worth: formulas against scikit-learn, canaries exactly where the scenario wants them."""

import math
from random import Random
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from pilotage.trials import Question, Rate, Unreachable, from_recalls, questions_of, value
from pilotage.trials.draws import binomial, multinomial, poisson
from pilotage.trials.models import degraded, hardened
from pilotage.trials.scores import average_precision, roc_auc
from pilotage.trials.truth import of_cells, placed

CLASSES = ("a", "b", "c")
SHARES = {"a": 0.5, "b": 0.3, "c": 0.2}
COSTS = {"b": {"a": 10, "c": 4}, "a": {"b": 1}}
SETTINGS: tuple[dict[str, Any], ...] = (
    {"metric": "accuracy"},
    {"metric": "balancedAccuracy"},
    *({"metric": m, "class": "b"} for m in ("precision", "recall", "specificity", "f1")),
    *({"metric": m, "average": "macro"} for m in ("precision", "recall", "specificity", "f1")),
    *({"metric": m, "average": "weighted"} for m in ("precision", "recall", "f1")),
    {"metric": "f1", "average": "micro"},
    {"metric": "fBeta", "class": "b", "beta": 2},
    {"metric": "fBeta", "average": "macro", "beta": 0.5},
    {"metric": "expectedCost", "costs": COSTS},
    {"metric": "rocAuc", "class": "b"},
    {"metric": "rocAuc", "average": "macro"},
    {"metric": "prAuc", "class": "c"},
    {"metric": "logLoss"},
    {"metric": "errorRate"},
    {"metric": "latency", "bound": "250ms"},
)


def question(**gate) -> Question:
    (found,) = questions_of({"gates": [{"name": "g", "margin": 0.02, **gate}]})
    return found


def a_model():
    model = from_recalls(CLASSES, {"a": 0.95, "b": 0.85, "c": 0.9})
    return type(model)(
        classes=model.classes,
        rows=model.rows,
        separation=dict.fromkeys(("", *CLASSES), 1.8),
        good={"g": 0.95},
    )


@pytest.mark.parametrize(
    "gate",
    [g for g in SETTINGS if g["metric"] not in ("rocAuc", "prAuc", "logLoss", "errorRate", "latency", "expectedCost")],
    ids=str,
)
def test_a_metric_of_counts_is_what_scikit_learn_says(gate):
    rng = np.random.default_rng(1)
    actual = rng.integers(0, 3, 400)
    predicted = np.where(rng.random(400) < 0.7, actual, rng.integers(0, 3, 400))
    cells = metrics.confusion_matrix(actual, predicted)

    assert of_cells(question(**gate), CLASSES, cells.tolist()) == pytest.approx(
        _by_scikit_learn(gate, actual, predicted)
    )


def _by_scikit_learn(gate, actual, predicted) -> Any:
    match gate["metric"]:
        case "accuracy":
            return metrics.accuracy_score(actual, predicted)
        case "balancedAccuracy":
            return metrics.balanced_accuracy_score(actual, predicted)
        case "specificity":
            per_class = [metrics.recall_score(actual != k, predicted != k) for k in range(3)]
            return per_class[1] if "class" in gate else float(np.mean(per_class))
    labels, average = ([1], "macro") if "class" in gate else (None, gate["average"])
    if gate["metric"] in ("f1", "fBeta"):
        return metrics.fbeta_score(actual, predicted, beta=gate.get("beta", 1), labels=labels, average=average)
    of = metrics.precision_score if gate["metric"] == "precision" else metrics.recall_score
    return of(actual, predicted, labels=labels, average=average)


def test_areas_of_buckets_are_what_scikit_learn_says():
    rng = np.random.default_rng(2)
    members, others = rng.integers(0, 9, 20), rng.integers(0, 20, 20)
    truth = np.repeat([1, 0], [members.sum(), others.sum()])
    score = np.concatenate([np.repeat(np.arange(20), members), np.repeat(np.arange(20), others)])

    assert roc_auc(members.tolist(), others.tolist()) == pytest.approx(metrics.roc_auc_score(truth, score))
    assert average_precision(members.tolist(), others.tolist()) == pytest.approx(
        metrics.average_precision_score(truth, score)
    )


@pytest.mark.parametrize("gate", SETTINGS, ids=str)
@pytest.mark.parametrize("better", [-1, 1])
def test_a_canary_stands_exactly_where_it_is_placed(gate, better):
    asked, model = question(**gate), a_model()
    target = value(asked, model, SHARES) * (1 + 0.03 * better)
    if target > 1 and asked.worse < 0:
        target = 0.99

    found = placed(asked, model, SHARES, target)

    assert value(asked, found, SHARES) == pytest.approx(target, abs=1e-9)
    assert all(math.isclose(sum(row), 1) and min(row) >= -1e-12 for row in found.rows)


def test_a_value_no_model_has_is_refused_with_what_can_be():
    with pytest.raises(
        Unreachable, match=r"recall\[b\]: no simulated model has the value 1.2; it can be between 0 and 1"
    ):
        placed(question(metric="recall", **{"class": "b"}), a_model(), SHARES, 1.2)


def test_only_what_the_question_asks_about_gets_worse():
    recall = degraded(a_model(), question(metric="recall", **{"class": "b"}), 0.2)

    assert recall.rows[0] == a_model().rows[0]
    assert recall.rows[1][1] < a_model().rows[1][1]


def test_harder_requests_multiply_the_errors():
    assert hardened(a_model(), 3).rows[0] == pytest.approx((0.85, 0.075, 0.075))


@pytest.mark.parametrize(("gate", "boundary"), [({"floor": 0.85}, 0.88), ({"floor": 0.89}, 0.89)])
def test_the_boundary_is_the_stricter_of_floor_and_margin(gate, boundary):
    assert question(metric="accuracy", **gate).boundary(0.9) == pytest.approx(boundary)


def test_the_boundary_of_a_loss_lies_above_stable():
    asked = question(metric="logLoss", ceiling=0.5)
    assert asked.boundary(0.4) == pytest.approx(0.42)
    assert asked.excess(0.43, 0.4) == pytest.approx(-0.01)


@pytest.mark.parametrize(("n", "p"), [(7, 0.3), (300, 0.93), (5000, 0.004)])
def test_binomial_draws_have_the_moments_of_their_law(n, p):
    rng = Random(3)
    drawn = np.array([binomial(rng, n, p) for _ in range(4000)])
    assert abs(drawn.mean() - n * p) < 4 * math.sqrt(n * p * (1 - p) / 4000)
    assert drawn.var() == pytest.approx(n * p * (1 - p), rel=0.12)


@pytest.mark.parametrize("mean", [0.4, 30.0, 900.0])
def test_poisson_draws_have_the_moments_of_their_law(mean):
    rng = Random(4)
    drawn = np.array([poisson(rng, mean) for _ in range(4000)])
    assert abs(drawn.mean() - mean) < 4 * math.sqrt(mean / 4000)
    assert drawn.var() == pytest.approx(mean, rel=0.12)


@pytest.mark.parametrize("n", [0, 3, 2000])
def test_multinomial_draws_share_out_every_trial(n):
    drawn = multinomial(Random(5), n, [0.2, 0.0, 0.5, 0.3])
    assert sum(drawn) == n
    assert drawn[1] == 0


@pytest.mark.parametrize(("hits", "runs"), [(0, 40), (3, 40), (40, 40)])
def test_the_interval_of_a_rate_is_the_exact_one(hits, runs):
    low, high = stats.binomtest(hits, runs).proportion_ci(method="exact")
    assert Rate(hits=hits, runs=runs).interval == pytest.approx((low, high), abs=1e-9)


def test_a_rate_is_judged_with_the_luck_of_its_bound():
    assert Rate(hits=9, runs=100).is_within(0.05)
    assert not Rate(hits=13, runs=100).is_within(0.05)
