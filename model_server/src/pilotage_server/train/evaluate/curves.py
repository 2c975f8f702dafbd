"""Curves for people: ROC, precision-recall and reliability per class; learning and validation curves.

The first three are of test rows; the last two of training rows, out of fold. Thinned to about 100 points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pilotage_server.train.evaluate.calibration import reliability
from pilotage_server.train.evaluate.metrics import Answers
from pilotage_server.train.models.fitting import Variant, fit_quietly
from pilotage_server.train.models.folds import Rows, folds
from pilotage_server.train.search.score import measure
from pilotage_server.train.search.space import Params
from pilotage_server.train.search.tune import Task, Trial, plain_decision

_POINTS = 100
SIZES = (0.1, 0.2, 0.4, 0.7, 1.0)


def class_curves(answers: Answers) -> dict[str, Any]:
    """Per class: ROC and precision-recall points, and reliability bins."""
    return {label: _of_class(answers, i) for i, label in enumerate(answers.classes)}


def _of_class(answers: Answers, i: int) -> dict[str, Any]:
    scores, positive = answers.probabilities[:, i], answers.actual == i
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits, alarms = np.cumsum(positive[order])[ends], np.cumsum(~positive[order])[ends]
    if not hits[-1] or not alarms[-1]:
        return {"roc": [], "pr": [], "reliability": []}
    chosen = np.unique(np.linspace(0, len(ends) - 1, _POINTS).astype(int))
    roc = [[0.0, 0.0], *zip((alarms / alarms[-1])[chosen].tolist(), (hits / hits[-1])[chosen].tolist(), strict=True)]
    pr = zip((hits / hits[-1])[chosen].tolist(), (hits / (hits + alarms))[chosen].tolist(), strict=True)
    return {"roc": [list(p) for p in roc], "pr": [list(p) for p in pr], "reliability": reliability(scores, positive)}


def learning_curve(variant: Variant, params: Params, rows: Rows, task: Task) -> dict[str, Any]:
    """The metric on training and validation rows, by number of training rows: would more of them help?"""
    pairs = folds(rows, task.search.folds, variant.blueprint.candidate.seed)
    rng = np.random.default_rng(variant.blueprint.candidate.seed)
    points = []
    shuffled = [(train if rows.in_time else rng.permutation(train), held) for train, held in pairs]
    for share in SIZES:
        scored = []
        for train, held in shuffled:
            part = train[: max(2, round(len(train) * share))]
            if (
                len(np.unique(rows.labels[part])) < task.classes
                or _smallest(rows, part) < 2 * variant.calibration.folds
            ):
                continue
            inside, outside = _pair(variant, params, rows.take(np.sort(part)), rows.take(held), task)
            scored.append((inside, outside, len(part)))
        if scored:
            training, validation, sizes = zip(*scored, strict=True)
            points.append(
                {
                    "rows": round(float(np.mean(sizes))),
                    "training": float(np.mean(training)),
                    "validation": float(np.mean(validation)),
                    "error": float(np.std(validation, ddof=1) / np.sqrt(len(validation))) if len(scored) > 1 else 0.0,
                }
            )
    return {"metric": task.search.metric, "points": points}


def _smallest(rows: Rows, part: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    return int(np.bincount(rows.labels[part]).min())


def _pair(variant: Variant, params: Params, inside: Rows, outside: Rows, task: Task) -> tuple[float, float]:
    fitted, _ = fit_quietly(variant, params, inside)
    found = []
    for rows in (inside, outside):
        probabilities = fitted.predict_proba(rows.values)
        predicted = plain_decision(variant, task.costs).decide(probabilities)
        found.append(measure(task.search.metric, rows.labels, predicted, probabilities, task.costs))
    return found[0], found[1]


def validation_curves(trials: Sequence[Trial], metric: str) -> list[dict[str, Any]]:
    """Per numeric hyperparameter of a search: each value tried, and the goodness of its best trial."""
    full = [trial for trial in trials if trial.share >= 1 and np.isfinite(trial.goodness)]
    keys = sorted({key for trial in full for key in trial.params})
    found = []
    for key in keys:
        best: dict[float, Mapping[str, Any]] = {}
        for trial in full:
            value = trial.params[key]
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if float(value) not in best or trial.goodness > best[float(value)]["goodness"]:
                best[float(value)] = {"value": float(value), "goodness": trial.goodness, "error": trial.error}
        if len(best) > 1:
            found.append({"parameter": key, "metric": metric, "points": [best[value] for value in sorted(best)]})
    return found
