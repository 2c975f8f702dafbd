"""Every variant beside the others on the same outer folds: tuned inside each, judged outside it.

Nested cross-validation: the outer rows of a fold take part in nothing that is done for that fold, neither tuning
nor calibration nor a threshold. The dummy (class shares, whatever the row) is judged like the rest.
Source: Cawley & Talbot 2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import delayed

from pilotage_server.bundle.decision import Decision
from pilotage_server.train.config import Calibration, Candidate, DecisionRule, Imbalance
from pilotage_server.train.evaluate import counts as of
from pilotage_server.train.evaluate.calibration import expected_calibration_error
from pilotage_server.train.models.fitting import Variant, fit_quietly, out_of_fold
from pilotage_server.train.models.folds import Indices, Rows, folds
from pilotage_server.train.models.pipeline import Blueprint
from pilotage_server.train.progress import SILENT, Progress
from pilotage_server.train.search.decision import Floats, decide, needs_scores
from pilotage_server.train.search.fits import run_fits
from pilotage_server.train.search.score import LOSSES, measure
from pilotage_server.train.search.space import Params
from pilotage_server.train.search.tune import Task, tune

DUMMY = "dummy"
METRICS = ("logLoss", "brier", "accuracy", "balancedAccuracy", "macroF1", "rocAuc", "prAuc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A variant's answers to rows outside each fold: per fold the metric's value, and pooled answers."""

    variant: Variant
    per_fold: tuple[float, ...]
    params: tuple[Params, ...]
    probabilities: Floats
    predicted: Indices
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What all variants share: rows, folds, the rule and the task."""

    rows: Rows
    classes: tuple[str, ...]
    rule: DecisionRule
    task: Task
    seed: int


def dummy_variant(like: Variant) -> Variant:
    """The baseline: class shares of the training rows."""
    candidate = Candidate(name=DUMMY, estimator="dummy", params={}, scale="none", seed=like.blueprint.candidate.seed)
    blueprint = Blueprint(candidate=candidate, columns=like.blueprint.columns)
    return Variant(blueprint=blueprint, calibration=Calibration(method="none"))


def compare(variants: Sequence[Variant], contest: Contest, progress: Progress = SILENT) -> list[Judged]:
    """Judge every variant on the same outer folds, in the order given; the dummy comes last."""
    pairs = folds(contest.rows, contest.task.search.outer, contest.seed)
    lined_up = [*variants, dummy_variant(variants[0])]
    progress.begin(f"comparing {len(lined_up)} ways on {len(pairs)} folds", len(lined_up) * len(pairs))
    fits = [delayed(_one_fold)(variant, contest, train, held) for variant in lined_up for train, held in pairs]
    answers = run_fits(fits, jobs=contest.task.jobs, progress=progress)
    return [
        _judged(variant, contest, pairs, answers[i * len(pairs) : (i + 1) * len(pairs)])
        for i, variant in enumerate(lined_up)
    ]


def decision_for(variant: Variant, rule: DecisionRule, classes: tuple[str, ...]) -> DecisionRule:
    """The rule a variant is judged by: threshold moving brings its own, for the rarer class, where none is written."""
    if variant.blueprint.imbalance is Imbalance.THRESHOLD and rule.rule == "argmax":
        return DecisionRule(rule="threshold", label=classes[1], choose="balancedAccuracy")
    return rule


def fit_and_decide(
    variant: Variant, params: Params, rows: Rows, contest: Contest
) -> tuple[Any, Decision, list[str], Floats | None]:
    """Fit on rows and settle the decision from them alone; gives also the out-of-fold probabilities it rests on."""
    fitted, notes = fit_quietly(variant, params, rows)
    rule = decision_for(variant, contest.rule, contest.classes)
    scores = None
    if needs_scores(rule):
        scores = out_of_fold(variant, params, rows, contest.task.search.folds, len(contest.classes))
    given = None if scores is None else (rows.labels, scores)
    return fitted, decide(rule, contest.classes, contest.task.costs, given), notes, scores


def _one_fold(
    variant: Variant, contest: Contest, train: Indices, held: Indices
) -> tuple[Params, Floats, Indices, list[str]]:
    inside = contest.rows.take(train)
    params, _ = tune(variant, inside, contest.task)
    fitted, decision, notes, _ = fit_and_decide(variant, params, inside, contest)
    probabilities = fitted.predict_proba(contest.rows.values[held])
    return params, probabilities, decision.decide(probabilities), notes


def _judged(
    variant: Variant,
    contest: Contest,
    pairs: Sequence[tuple[Indices, Indices]],
    answers: Sequence[tuple[Params, Floats, Indices, list[str]]],
) -> Judged:
    rows, task = contest.rows, contest.task
    probabilities = np.zeros((len(rows), len(contest.classes)))
    predicted = np.zeros(len(rows), dtype=np.int64)
    values = []
    for (_, held), (_, found, decided, _) in zip(pairs, answers, strict=True):
        probabilities[held], predicted[held] = found, decided
        values.append(measure(task.search.metric, rows.labels[held], decided, found, task.costs))
    return Judged(
        variant=variant,
        per_fold=tuple(values),
        params=tuple(params for params, *_ in answers),
        probabilities=probabilities,
        predicted=predicted,
        notes=tuple(sorted({note for *_, notes in answers for note in notes})),
    )


def row_of(judged: Judged, contest: Contest) -> dict[str, Any]:
    """One line of the comparison: every metric over the outer folds, calibration and recall per class."""
    actual = contest.rows.labels
    names = [*METRICS, *(["expectedCost"] if contest.task.costs is not None else [])]
    counts = of.confusion(actual, judged.predicted, len(contest.classes))
    recalls = of.recall(counts)
    return {
        "name": judged.variant.name,
        "estimator": judged.variant.blueprint.candidate.estimator,
        "imbalance": str(judged.variant.blueprint.imbalance),
        "calibration": judged.variant.method,
        "params": [dict(params) for params in judged.params],
        "perFold": list(judged.per_fold),
        "mean": float(np.mean(judged.per_fold)),
        "metrics": {
            name: _plain(measure(name, actual, judged.predicted, judged.probabilities, contest.task.costs))
            for name in names
        },
        "calibrationError": expected_calibration_error(actual, judged.probabilities),
        "recall": {label: _plain(float(recalls[i])) for i, label in enumerate(contest.classes)},
        "notes": list(judged.notes),
    }


def lower_is_better(metric: str) -> bool:
    """Whether a metric is a loss."""
    return metric in LOSSES


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
