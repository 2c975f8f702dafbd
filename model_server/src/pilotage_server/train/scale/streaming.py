"""Rows beyond memory: a linear classifier learned from a file in pieces by `partial_fit`.

Preparation (gaps, categories, scale, selection) is learned from a sample of the training rows, the classifier from all
of them, in several passes. A tenth of the training rows never teaches where something else is learned from them:
calibration, a threshold, and the curve by which learning stops when more rows help no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline

from pilotage_server.train.config import Candidate, Config, ConfigError, File, Imbalance
from pilotage_server.train.data import Table
from pilotage_server.train.data.split import Part, Split
from pilotage_server.train.data.table import order_classes
from pilotage_server.train.evaluate.metrics import row_log_loss
from pilotage_server.train.models.features import selecting
from pilotage_server.train.models.fitting import Variant, calibrate
from pilotage_server.train.models.folds import Rows
from pilotage_server.train.models.pipeline import preparing
from pilotage_server.train.models.serving import serving_form
from pilotage_server.train.progress import SILENT, Progress
from pilotage_server.train.scale.pieces import HOLD, JUDGE, LEARN, TEST, Kept, Pieces, keep
from pilotage_server.train.search.decision import needs_scores
from pilotage_server.train.search.select import make_variants

ESTIMATOR: Final = "sgd-logistic-regression"
_EPOCHS: Final = 3
_FIRST_LOOK: Final = 1_000
"""Learned rows at which the curve begins; then at every doubling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """A fitted pipeline in its serving form, and the rows that were kept as a table with its split.

    `learned`: how many rows taught; `scores`: classes and probabilities of rows that did not, empty without such;
    `curve`: log loss on them by learned rows.
    """

    pipeline: Pipeline
    variant: Variant
    table: Table
    parts: Split
    learned: int
    scores: tuple[NDArray[np.int64], NDArray[np.float64]] | None
    curve: list[dict[str, float]]


def fit_stream(config: Config, chunk_rows: int, progress: Progress = SILENT) -> Streamed:
    """Learn from a file larger than memory; raises `ConfigError` for what cannot be learned that way."""
    candidate, source = _check(config)
    judges = (
        config.calibration.method not in ("auto", "none")
        or Imbalance.CLASS_WEIGHT in config.imbalance
        or needs_scores(config.decision)
        or config.report.learning_curve
        or config.search.enough > 0
    )
    progress.begin("looking through the file")
    pieces = Pieces(config, source, chunk_rows, judges=judges)
    classes, class_type, _ = order_classes(sorted(pieces.labels))
    index = {label: i for i, label in enumerate(classes)}
    progress.begin("keeping a sample")
    kept, taught = keep(pieces, index)
    if not taught.all() or not len(kept[TEST]) or (judges and len(np.unique(kept[JUDGE].labels)) < len(classes)):
        raise ConfigError("split: a class has no training row, or nothing is left to test; use another share")
    table, parts = _table(source, pieces, kept, classes, class_type)
    sample = Rows(values=parts.train.rows, labels=parts.train.labels)
    variant = make_variants(config, table, sample)[0]
    learner = _Learner(variant, sample, kept[JUDGE], taught)
    curve = learner.learn(_lessons(pieces, index, candidate, progress), config.search.enough)
    judged = kept[JUDGE]
    pipeline = serving_form(learner.pipeline(variant.method, judged))
    return Streamed(
        pipeline=pipeline,
        variant=variant,
        table=table,
        parts=parts,
        learned=learner.learned,
        scores=(judged.labels, pipeline.predict_proba(judged.rows)) if judges else None,
        curve=curve,
    )


def _check(config: Config) -> tuple[Candidate, File]:
    source, candidate = config.data.source, config.candidates[0]
    problems = {
        "data.csv: rows in pieces need a CSV file": not isinstance(source, File) or source.format != "csv",
        f"model.estimator: rows in pieces need {ESTIMATOR}": candidate.estimator != ESTIMATOR,
        "candidates: rows in pieces need one model, no search": config.compares or bool(candidate.space),
        "split.by: rows in pieces are split by their hash; use random": config.split.by != "random",
        "imbalance.compare: rows in pieces take none or class-weight": config.imbalance[0]
        not in (Imbalance.NONE, Imbalance.CLASS_WEIGHT),
        "prepare.encode: rows in pieces take one-hot": config.preparation.encode != "one-hot",
        "data.subsample, data.relabel: not for rows in pieces": bool(config.data.subsample or config.data.relabel),
        "data.columns.attributes: not for rows in pieces": bool(config.data.columns.attributes),
    }
    found = [problem for problem, is_wrong in problems.items() if is_wrong]
    if found:
        raise ConfigError("\n".join(found))
    assert isinstance(source, File)
    return candidate, source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lesson:
    """Some training rows in a seeded order; `epoch` counts passes from 0."""

    rows: NDArray[np.float64]
    labels: NDArray[np.int64]
    epoch: int


def _lessons(pieces: Pieces, index: dict[str, int], candidate: Candidate, progress: Progress) -> Iterator[_Lesson]:
    for epoch in range(_EPOCHS):
        progress.begin(f"learning, time {epoch + 1} of {_EPOCHS}")
        for piece in pieces:
            chosen = np.flatnonzero(piece.parts == LEARN)
            chosen = np.random.default_rng([candidate.seed, epoch]).permutation(chosen)
            labels = np.array([index[piece.labels[i]] for i in chosen], dtype=np.int64)
            yield _Lesson(rows=piece.rows[chosen], labels=labels, epoch=epoch)


class _Learner:
    """A preparation that is fitted, and a classifier that learns from lesson after lesson."""

    def __init__(self, variant: Variant, sample: Rows, judged: Kept, taught: NDArray[np.int64]) -> None:
        blueprint = variant.blueprint
        candidate = blueprint.candidate
        steps = [
            *preparing(blueprint),
            *selecting(blueprint.selections[0], blueprint.columns.total, candidate.seed),
        ]
        self._prepare = Pipeline(steps).fit(sample.values, sample.labels) if steps else None
        given = {"alpha": 1e-4, **candidate.params}
        if blueprint.imbalance is Imbalance.CLASS_WEIGHT:
            given["class_weight"] = dict(enumerate((taught.sum() / (len(taught) * taught)).tolist()))
        self._classifier = SGDClassifier(loss="log_loss", random_state=candidate.seed, average=True, **given)
        self._classes = np.arange(len(taught))
        self._sample, self._judged = Kept(rows=sample.values, labels=sample.labels), judged
        self.learned = 0

    def learn(self, lessons: Iterator[_Lesson], enough: float) -> list[dict[str, float]]:
        """Learn until lessons end, or twice the rows improve log loss by less than `enough` (a share); the curve."""
        curve: list[dict[str, float]] = []
        look = _FIRST_LOOK
        for lesson in lessons:
            if not len(lesson.labels):
                continue
            self._classifier.partial_fit(self._prepared(lesson.rows), lesson.labels, classes=self._classes)
            if lesson.epoch == 0:
                self.learned += len(lesson.labels)
            if lesson.epoch > 0 or not len(self._judged) or self.learned < look:
                continue
            look = 2 * self.learned
            known, unknown = self._loss(self._sample), self._loss(self._judged)
            curve.append({"rows": self.learned, "training": known, "validation": unknown, "error": 0.0})
            if len(curve) > 1 and curve[-2]["validation"] - curve[-1]["validation"] < enough * curve[-2]["validation"]:
                break
        return curve

    def pipeline(self, method: str, judged: Kept) -> Pipeline:
        """Give what was learned, calibrated on rows that did not teach."""
        end: Any = self._classifier
        if method != "none":
            end = calibrate(end, method, self._prepared(judged.rows), judged.labels)
        return Pipeline([*(self._prepare.steps if self._prepare else []), ("classify", end)])

    def _prepared(self, rows: NDArray[np.float64]) -> Any:
        return self._prepare.transform(rows) if self._prepare else rows

    def _loss(self, rows: Kept) -> float:
        probabilities = self._classifier.predict_proba(self._prepared(rows.rows))
        return float(row_log_loss(rows.labels, probabilities).mean())


def _table(
    source: File, pieces: Pieces, kept: dict[int, Kept], classes: tuple[str, ...], class_type: Any
) -> tuple[Table, Split]:
    """The kept rows as a table with its split."""
    which = (LEARN, TEST, HOLD)
    table = Table(
        name=source.path.name,
        columns=pieces.columns,
        classes=classes,
        class_type=class_type,
        rows=np.concatenate([kept[one].rows for one in which]),
        labels=np.concatenate([kept[one].labels for one in which]),
    )
    ends = np.cumsum([0, *(len(kept[one]) for one in which)])
    parts = []
    for i in range(len(which)):
        indices = np.arange(ends[i], ends[i + 1])
        parts.append(Part(rows=table.rows[indices], labels=table.labels[indices], indices=indices))
    return table, Split(train=parts[0], test=parts[1], holdback=parts[2])
