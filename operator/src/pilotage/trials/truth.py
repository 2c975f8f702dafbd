"""What a metric of a simulated model is worth, exactly, and the model that is worth a given value.

Formulas are written from the definitions of the metrics, on chances instead of counts, and share nothing with the
gate's own estimates, so that a mistake in either shows. Undefined (0/0) is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pilotage.trials.models import Model, Rows, Unreachable, degraded
from pilotage.trials.questions import COUNTED, Question
from pilotage.trials.scores import average_precision, bucket_chances, losses, roc_auc

Shares = Mapping[str, float]
"""Class shares of the traffic, adding up to 1."""
_HALVINGS = 60


def value(question: Question, model: Model, shares: Shares) -> float | None:
    """The metric of this model on traffic with these class shares, in the metric's units."""
    if question.metric in COUNTED:
        good = model.good[question.name]
        return 1 - good if question.metric == "errorRate" else good
    if question.metric == "logLoss":
        return sum(p * loss for p, loss in zip(bucket_chances(model.separation[""], True), losses(), strict=True))
    if question.metric in ("rocAuc", "prAuc"):
        return _area(question, model, shares)
    if question.is_guard:
        return 0.0
    cells = joint(model.rows, [shares[name] for name in model.classes])
    if question.metric == "expectedCost":
        costs = question.costs or {}
        return sum(
            p * costs.get(actual, {}).get(predicted, 0.0)
            for actual, row in zip(model.classes, cells, strict=True)
            for predicted, p in zip(model.classes, row, strict=True)
        )
    return of_cells(question, model.classes, cells)


def of_cells(question: Question, classes: Sequence[str], cells: Sequence[Sequence[float]]) -> float | None:
    """Any metric of a confusion matrix `[actual][predicted]`, of chances or of counts."""
    everything = sum(map(sum, cells))
    if everything == 0:
        return None
    right = sum(row[i] for i, row in enumerate(cells)) / everything
    if question.metric == "accuracy" or (question.average == "micro" and question.metric != "specificity"):
        return right
    per_class = [_of_class(question, cells, k) for k in range(len(classes))]
    if question.class_name is not None:
        return per_class[classes.index(question.class_name)]
    if any(each is None for each in per_class):
        return None
    known = [each for each in per_class if each is not None]
    if question.average == "weighted":
        return sum(sum(row) / everything * each for row, each in zip(cells, known, strict=True))
    return sum(known) / len(known)


def placed(question: Question, model: Model, shares: Shares, target: float) -> Model:
    """The model made worse or better in what the question asks about until its metric is `target`.

    Raises Unreachable if even a useless or a perfect model is not.
    """
    low, high = -1.0, 1.0  # amounts; the metric gets worse from low to high
    ends = [value(question, degraded(model, question, amount), shares) for amount in (low, high)]
    best, worst = (question.worse * (each if each is not None else 0.0) for each in ends)
    if not best <= question.worse * target <= worst:
        between = sorted((question.worse * best, question.worse * worst))
        raise Unreachable(
            f"{question.title}: no simulated model has the value {target:.4g}; it can be between {between[0]:.4g} and "
            f"{between[1]:.4g} with these rates"
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = value(question, degraded(model, question, middle), shares)
        if found is None or question.worse * found > question.worse * target:
            high = middle
        else:
            low = middle
    return degraded(model, question, high)


def joint(rows: Rows, shares: Sequence[float]) -> list[list[float]]:
    """Chance of each (actual, predicted)."""
    return [[share * p for p in row] for share, row in zip(shares, rows, strict=True)]


def _of_class(question: Question, cells: Sequence[Sequence[float]], k: int) -> float | None:
    hit, actual, predicted = cells[k][k], sum(cells[k]), sum(row[k] for row in cells)
    match question.metric:
        case "recall" | "balancedAccuracy":
            return hit / actual if actual else None
        case "precision":
            return hit / predicted if predicted else None
        case "specificity":
            others = sum(map(sum, cells)) - actual
            return (others - predicted + hit) / others if others else None
        case "f1" | "fBeta":
            square = question.beta**2
            weight = square * actual + predicted
            return (1 + square) * hit / weight if weight else None
    raise ValueError(f"gates.{question.name}.metric: {question.metric} is not simulated")


def _area(question: Question, model: Model, shares: Shares) -> float:
    def one(name: str) -> float:
        d, share = model.separation[name], shares[name]
        members, others = bucket_chances(d, True), bucket_chances(d, False)
        if question.metric == "rocAuc":
            return roc_auc(members, others)
        return average_precision([share * p for p in members], [(1 - share) * p for p in others])

    if question.class_name is not None:
        return one(question.class_name)
    values = [one(name) for name in model.classes]
    if question.average == "weighted":
        return sum(shares[name] * each for name, each in zip(model.classes, values, strict=True))
    return sum(values) / len(values)
