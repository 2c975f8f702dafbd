"""The best hyperparameters of one variant on some rows, by inner cross-validation.

All of it is a function of the rows given: no fold outside them is ever seen. Halving starts every draw on few rows
and lets the better third go on with three times as many (Jamieson & Talwalkar 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import delayed

from pilotage_server.bundle.decision import Argmax
from pilotage_server.train.config import ConfigError, Imbalance, Search
from pilotage_server.train.models.fitting import Variant, fit_quietly
from pilotage_server.train.models.folds import Indices, Rows, folds
from pilotage_server.train.progress import SILENT, Progress
from pilotage_server.train.search.decision import Floats, least_cost
from pilotage_server.train.search.fits import run_fits
from pilotage_server.train.search.score import goodness, measure
from pilotage_server.train.search.space import Params, bayesian, draws, grid

_FACTOR = 3
_LEAST_SHARE = 1 / 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One set of hyperparameters: mean goodness over the inner folds and its standard error."""

    params: Params
    goodness: float
    error: float
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What all fits of a search have in common."""

    search: Search
    classes: int
    costs: Floats | None
    jobs: int = 1


def tune(variant: Variant, rows: Rows, task: Task, progress: Progress = SILENT) -> tuple[Params, list[Trial]]:
    """Give the best hyperparameters and every trial; nothing to search gives no trial."""
    candidate, search = variant.blueprint.candidate, task.search
    if not candidate.space:
        return {}, []
    seed, name = candidate.seed, f"tuning {variant.name}"
    match search.method:
        case "grid" | "random":
            tried = grid(candidate) if search.method == "grid" else draws(candidate, search.trials, seed)
            progress.begin(name, len(tried) * search.folds)
            trials = evaluate(variant, tried, rows, task, progress)
        case "halving":
            progress.begin(name)
            return _halving(variant, draws(candidate, search.trials, seed), rows, task, progress)
        case _:
            trials = []
            progress.begin(name, search.trials * search.folds)
            for params, tell in bayesian(candidate, search.trials, seed):
                (trial,) = evaluate(variant, [params], rows, task, progress)
                tell(trial.goodness)
                trials.append(trial)
    return _best(trials, variant, rows), trials


def _halving(
    variant: Variant, params: Sequence[Params], rows: Rows, task: Task, progress: Progress
) -> tuple[Params, list[Trial]]:
    """Keep the better third, on three times the rows, until one round used all rows."""
    everything: list[Trial] = []
    share, left = _LEAST_SHARE, list(params)
    while True:
        part = rows if share >= 1 else rows.take(stratified_share(rows, share, variant.blueprint.candidate.seed))
        found = evaluate(variant, left, part, task, progress, share=min(1.0, share))
        everything += found
        if share >= 1:
            return _best(found, variant, rows), everything
        ranked = sorted(found, key=lambda trial: -trial.goodness)
        left = [trial.params for trial in ranked[: max(1, len(ranked) // _FACTOR)]]
        share = 1.0 if len(left) == 1 else share * _FACTOR


def stratified_share(rows: Rows, share: float, seed: int) -> Indices:
    """A share of each class's rows, but enough for the folds; whole order kept."""
    if rows.groups is not None:
        groups = np.random.default_rng(seed).permutation(np.unique(rows.groups))
        return np.flatnonzero(np.isin(rows.groups, groups[: max(20, round(len(groups) * share))]))
    rng, chosen = np.random.default_rng(seed), []
    for label in np.unique(rows.labels):
        members = rng.permutation(np.flatnonzero(rows.labels == label))
        chosen.append(members[: max(20, round(len(members) * share))])
    return np.sort(np.concatenate(chosen))


def _best(trials: Sequence[Trial], variant: Variant, rows: Rows) -> Params:
    best = max(trials, key=lambda trial: trial.goodness)
    if not np.isfinite(best.goodness):
        fit_quietly(variant, best.params, rows)  # says why, if it is about the values
        raise ConfigError(f"candidates.{variant.blueprint.candidate.name}.search: no trial could be scored")
    return best.params


def evaluate(
    variant: Variant, params: Sequence[Params], rows: Rows, task: Task, progress: Progress, share: float = 1.0
) -> list[Trial]:
    """Judge every set of hyperparameters on the same inner folds."""
    pairs = folds(rows, task.search.folds, variant.blueprint.candidate.seed)
    fits = [delayed(_score)(variant, one, rows, train, held, task) for one in params for train, held in pairs]
    scores = run_fits(fits, jobs=task.jobs, progress=progress)
    per_trial = np.array(scores).reshape(len(params), len(pairs))
    return [
        Trial(params=one, goodness=float(row.mean()), error=_standard_error(row), share=share)
        for one, row in zip(params, per_trial, strict=True)
    ]


def _standard_error(scores: Floats) -> float:
    return float(scores.std(ddof=1) / np.sqrt(len(scores))) if np.isfinite(scores).all() else float("inf")


def _score(variant: Variant, params: Params, rows: Rows, train: Indices, held: Indices, task: Task) -> float:
    try:
        fitted, _ = fit_quietly(variant, params, rows.take(train))
    except ConfigError:
        return -np.inf  # values that cannot be fitted lose against those that can
    probabilities = fitted.predict_proba(rows.values[held])
    predicted = plain_decision(variant, task.costs).decide(probabilities)
    return goodness(
        task.search.metric, measure(task.search.metric, rows.labels[held], predicted, probabilities, task.costs)
    )


def plain_decision(variant: Variant, costs: Floats | None) -> Any:
    """The decision while hyperparameters are tuned: least cost where there are costs, else the likeliest class."""
    weighed = costs is not None and variant.blueprint.imbalance is Imbalance.NONE
    return least_cost(costs) if weighed and costs is not None else Argmax()
