"""Which way of training this run takes: the only one asked for, or the winner of a nested comparison.

The final fit is on all training rows, validation included; calibration and threshold are learned anew there by
cross-validation, never carried over from a fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pilotage_server.bundle.decision import Decision
from pilotage_server.train.config import FEATURES, Config, ConfigError, Imbalance
from pilotage_server.train.data import Table
from pilotage_server.train.data.split import Split
from pilotage_server.train.evaluate.curves import learning_curve, validation_curves
from pilotage_server.train.models.fitting import Variant
from pilotage_server.train.models.folds import Rows
from pilotage_server.train.models.pipeline import Blueprint, Columns
from pilotage_server.train.models.sampling import suits
from pilotage_server.train.progress import SILENT, Progress
from pilotage_server.train.search.choose import Choice, choose
from pilotage_server.train.search.compare import Contest, Judged, compare, fit_and_decide, lower_is_better, row_of
from pilotage_server.train.search.decision import Curve, Floats, check_rule, cost_matrix
from pilotage_server.train.search.enough import enough_rows
from pilotage_server.train.search.space import Params
from pilotage_server.train.search.tune import Task, Trial, tune


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The fitted winner (not yet in serving form), its decision, and how it was found, as plain JSON values."""

    fitted: Any
    decision: Decision
    variant: Variant
    params: Params
    costs: Floats | None
    document: dict[str, Any]
    notes: list[str]


def select(config: Config, table: Table, parts: Split, *, jobs: int = 1, progress: Progress = SILENT) -> Selected:
    """Compare if there is a choice, tune on all training rows, fit; raises `ConfigError`."""
    check_rule(config.decision, table.classes)
    rows = Rows(
        values=parts.train.rows,
        labels=parts.train.labels,
        groups=parts.train.groups if not parts.in_time else None,
        in_time=parts.in_time,
    )
    costs = cost_matrix(config.costs, table.classes)
    task = Task(search=config.search, classes=len(table.classes), costs=costs, jobs=jobs)
    contest = Contest(rows=rows, classes=table.classes, rule=config.decision, task=task, seed=config.split.seed)
    variants = make_variants(config, table, rows)
    document: dict[str, Any] = {}
    variant = variants[0]
    fewer, seen = enough_rows(variant, rows, task, progress)
    if len(variants) > 1:
        contest = replace(contest, rows=fewer)
        judged = compare(variants, contest, progress)
        choice = choose(judged, config.search)
        variant = choice.winner.variant
        document["comparison"] = comparison_document(judged, choice, contest)
    params, trials = tune(variant, fewer, task, progress)
    progress.begin(f"fitting {variant.name}")
    fitted, decision, notes, scores = fit_and_decide(variant, params, rows, contest)
    document |= final_document(variant, params, trials, config)
    if seen:
        document["search"] |= {"rows": len(fewer), "seen": seen}
    if scores is not None and len(table.classes) == 2:
        positive = table.classes.index(config.decision.label) if config.decision.label else 1
        document["thresholdCurve"] = {
            "class": table.classes[positive],
            **Curve.of(scores[:, positive], rows.labels == positive).document(positive, costs),
        }
    if config.report.learning_curve:
        progress.begin("drawing the learning curve")
        document["learningCurve"] = learning_curve(variant, params, rows, task)
    return Selected(
        fitted=fitted, decision=decision, variant=variant, params=params, costs=costs, document=document, notes=notes
    )


def make_variants(config: Config, table: Table, rows: Rows) -> list[Variant]:
    """Every candidate with every choice about imbalance that suits it; raises `ConfigError` if none does."""
    kinds = [column.is_categorical for column in table.columns]
    columns = Columns(
        numeric=tuple(int(i) for i in np.flatnonzero(~np.array(kinds))),
        categorical=tuple(int(i) for i in np.flatnonzero(kinds)),
        has_missing=bool(np.isnan(table.rows).any()),
    )
    found = []
    for candidate in config.candidates:
        for imbalance in config.imbalance:
            moved = imbalance is Imbalance.THRESHOLD and config.decision.rule != "argmax"
            if moved or not suits(imbalance, candidate.estimator, len(table.classes)):
                continue
            blueprint = Blueprint(
                candidate=candidate,
                columns=columns,
                preparation=config.preparation,
                selections=config.features,
                imbalance=imbalance,
            )
            found.append(Variant(blueprint=blueprint, calibration=config.calibration))
    if not found:
        raise ConfigError("imbalance.compare: no choice suits any candidate; add none")
    return found


def comparison_document(judged: Sequence[Judged], choice: Choice, contest: Contest) -> dict[str, Any]:
    """The whole comparison as plain JSON values."""
    search = contest.task.search
    return {
        "metric": search.metric,
        "lowerIsBetter": lower_is_better(search.metric),
        "outerFolds": search.outer,
        "winner": choice.winner.variant.name,
        "beatsDummy": choice.beats_dummy,
        "variants": [row_of(one, contest) | choice.against.get(one.variant.name, {}) for one in judged],
    }


def final_document(variant: Variant, params: Params, trials: Sequence[Trial], config: Config) -> dict[str, Any]:
    """What was fitted in the end and what was tried on the way, as plain JSON values."""
    candidate = variant.blueprint.candidate
    return {
        "chosen": {
            "name": variant.name,
            "estimator": candidate.estimator,
            "params": {**candidate.params, **{key: value for key, value in params.items() if key != FEATURES}},
            "scale": candidate.scale,
            "seed": candidate.seed,
            "imbalance": str(variant.blueprint.imbalance),
            "calibration": variant.method,
            "features": variant.blueprint.selected(params).name,
        },
        "search": {
            "method": config.search.method if trials else "none",
            "trials": [
                {"params": dict(t.params), "goodness": t.goodness if np.isfinite(t.goodness) else None} for t in trials
            ],
        },
        "validationCurves": validation_curves(trials, config.search.metric) if config.report.validation_curve else [],
    }
