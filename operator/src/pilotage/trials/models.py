"""A simulated classifier: what it predicts for each true class, how well its scores separate, how often it answers.

`degraded` moves a model along the one direction that its gate watches: towards more errors of that kind (amount > 0)
or fewer (< 0). Row sums stay 1. Knows no traffic; what a metric is worth stands in `truth`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pilotage.trials.questions import COUNTED, SCORED, Question

Rows = tuple[tuple[float, ...], ...]


class Unreachable(ValueError):
    """No model of this family has the value asked for; the text says what it can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """`rows[i][j]`: chance to predict class j for a true i. `separation`: distance of the scores of members and others
    of a class in standard deviations (ROC-AUC = Φ(d/√2)), by class name, "" for the score of the true class. `good`:
    share of requests that count as good, by gate (errorRate, latency).
    """

    classes: tuple[str, ...]
    rows: Rows
    separation: Mapping[str, float] = field(default_factory=dict)
    good: Mapping[str, float] = field(default_factory=dict)


def from_recalls(classes: Sequence[str], recalls: Mapping[str, float]) -> Model:
    """Errors spread evenly over the other classes."""
    others = len(classes) - 1
    rows = tuple(
        tuple(recalls[actual] if predicted == actual else (1 - recalls[actual]) / others for predicted in classes)
        for actual in classes
    )
    return Model(classes=tuple(classes), rows=rows)


def from_confusion(confusion: Mapping[str, Mapping[str, float]]) -> tuple[Model, dict[str, float]]:
    """A model and its class shares from counts `{actual: {predicted: n}}`; every class needs a row with counts."""
    classes = tuple(sorted({*confusion, *(name for row in confusion.values() for name in row)}))
    totals = {name: sum(confusion.get(name, {}).values()) for name in classes}
    rows = tuple(tuple(confusion[name].get(other, 0) / totals[name] for other in classes) for name in classes)
    everything = sum(totals.values())
    return Model(classes=classes, rows=rows), {name: n / everything for name, n in totals.items()}


def degraded(model: Model, question: Question, amount: float) -> Model:
    """The model made worse (amount in (0, 1]) or better ([−1, 0)) in what the question asks about."""
    if question.metric in SCORED:
        key = question.class_name or ""
        keys = [key] if question.class_name or question.metric == "logLoss" else list(model.classes)
        scaled = {name: model.separation[name] * (1 - amount) for name in keys}
        return replace(model, separation={**model.separation, **scaled})
    if question.metric in COUNTED:
        good = model.good[question.name]
        moved = good * (1 - amount) if amount > 0 else good + (1 - good) * -amount
        return replace(model, good={**model.good, question.name: moved})
    if question.class_name is None:
        return replace(model, rows=tuple(_own(row, i, amount) for i, row in enumerate(model.rows)))
    about = model.classes.index(question.class_name)
    rows = list(model.rows)
    if question.metric not in ("precision", "specificity"):
        rows[about] = _own(rows[about], about, amount)
    if question.metric != "recall":
        rows = [row if i == about else _taken_for(row, i, about, amount) for i, row in enumerate(rows)]
    return replace(model, rows=tuple(rows))


def hardened(model: Model, factor: float) -> Model:
    """Every chance of an error multiplied by `factor`, up to certainty: a harder or an easier stream of requests."""

    def row(i: int, chances: tuple[float, ...]) -> tuple[float, ...]:
        wrong = 1 - chances[i]
        scale = min(factor, 1 / wrong) if wrong > 0 else 1.0
        return tuple(1 - scale * wrong if j == i else scale * p for j, p in enumerate(chances))

    bad = {name: min(1.0, (1 - good) * factor) for name, good in model.good.items()}
    return replace(
        model,
        rows=tuple(row(i, chances) for i, chances in enumerate(model.rows)),
        separation={name: d / factor**0.25 for name, d in model.separation.items()},
        good={name: 1 - share for name, share in bad.items()},
    )


def _own(row: tuple[float, ...], i: int, amount: float) -> tuple[float, ...]:
    """More of class i given away evenly, or more of it kept."""
    if amount < 0:
        return tuple(p * (1 + amount) - (amount if j == i else 0.0) for j, p in enumerate(row))
    return tuple(p * (1 - amount) + (0.0 if j == i else amount / (len(row) - 1)) for j, p in enumerate(row))


def _taken_for(row: tuple[float, ...], i: int, about: int, amount: float) -> tuple[float, ...]:
    """More of class i taken for the class in question, or less of it: what is not taken is recognised."""
    if amount > 0:
        return tuple(p * (1 - amount) + (amount if j == about else 0.0) for j, p in enumerate(row))
    moved = -amount * row[about]
    return tuple(p + (moved if j == i else 0.0) - (moved if j == about else 0.0) for j, p in enumerate(row))
