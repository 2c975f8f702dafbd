"""What a scrape says of one revision: each family with its lines, every cell there, zero included. Pure.

A counter that appears with its first event loses that event in every rate (prometheus/prometheus#1673). Counters that
cost many series are shown only when a gate asks for them, and from then on as long as they are not zero: one that
comes back with an old value would look like new labels.
"""

from collections.abc import Iterator
from typing import Final

from pilotage_server.feedback.collector.settings import CollectorConfig, Export, Omit
from pilotage_server.feedback.collector.snapshot import Cell, RevisionCounts
from pilotage_server.feedback.collector.tables import OUTCOMES, class_outcomes, cost_micro, late_counts, slice_outcomes
from pilotage_server.feedback.collector.text import Family, Kind, labelled
from pilotage_server.feedback.results import Result
from pilotage_server.quality.buckets import (
    COHORT_NAMES,
    DELAY_BOUNDS_S,
    MAX_COHORT_CLASSES,
    MAX_CURVES,
    MICRO,
    SCORE_BUCKETS,
)

MAX_CONFUSION_CLASSES: Final = 30
"""Classes up to which the matrix of all rows is shown; that of gate rows always is."""
LABELS: Final = Family(
    "pilotage_matured_labels", Kind.COUNTER, "Matured labels, one row per request: what gates count."
)
AUDIT: Final = Family(
    "pilotage_matured_audit",
    Kind.COUNTER,
    "Matured labels of requests picked at random for labelling, one row per request.",
)
SCORES: Final = Family(
    "pilotage_matured_scores",
    Kind.COUNTER,
    "Matured labels, one row per request, by class, whether it was the true one, and its log-odds bucket.",
)
LOSS: Final = Family(
    "pilotage_matured_loss",
    Kind.COUNTER,
    "Log loss of matured labels, one row per request, in millionths of a nat, p clipped at 0.001.",
)
LATE: Final = Family(
    "pilotage_late_labels",
    Kind.COUNTER,
    "Labels that came after labelDelay, one row per request, by how old the prediction was; not cumulative.",
)
CONFUSION: Final = Family("model_confusion", Kind.COUNTER, "Matured labels, all rows.")
CLASSES: Final = Family("model_class_outcomes", Kind.COUNTER, "Matured labels, all rows, by class.")
SCORE_OUTCOMES: Final = Family(
    "model_score_outcomes",
    Kind.COUNTER,
    "Matured labels, all rows, by class, whether it was the true one, and its log-odds bucket.",
)
COHORTS: Final = Family(
    "model_cohort_outcomes",
    Kind.COUNTER,
    "Matured labels, all rows, by class and how long after the prediction the label came; not cumulative.",
)
LOG_LOSS: Final = Family(
    "model_outcome_log_loss", Kind.SUMMARY, "Log loss in nats of matured labels, all rows, p clipped at 0.001."
)
BRIER: Final = Family(
    "model_outcome_brier", Kind.SUMMARY, "Brier score of matured labels, all rows; halved for two classes."
)
COST: Final = Family(
    "model_outcome_cost", Kind.SUMMARY, "Cost of matured labels, all rows, by the manifest's cost matrix."
)
SLICES: Final = Family(
    "model_slice_outcomes",
    Kind.COUNTER,
    "Matured labels, all rows, by what clients declared; zero until a value has 20 labels.",
)
DELAYS: Final = Family(
    "model_label_delay_seconds", Kind.HISTOGRAM, "Age of the prediction when its first label came, all rows."
)
FEEDBACK: Final = Family("model_feedback", Kind.COUNTER, "Feedback items by result.")

Lines = list[str]
_ZERO: Final = Cell(0, 0)
_SCORE_LABELS: Final = tuple(
    tuple(labelled(actual=str(actual), bucket=str(bucket)) for bucket in range(SCORE_BUCKETS)) for actual in (0, 1)
)


def families(
    counts: RevisionCounts, base: str, config: CollectorConfig, label_delay_ms: int
) -> Iterator[tuple[Family, Lines]]:
    """All families of one revision but `model_quality`; `base`: the labels ledger, model and revision."""
    yield from _confusion(counts, base, config)
    if config.shows(Export.SCORES) or counts.counts.scores:
        yield from _scores(counts, base, config)
    yield from _losses(counts, base)
    late = late_counts(counts, label_delay_ms)
    yield LATE, [LATE.line(f"{base},{labelled(age=seconds)}", requests) for seconds, requests in late.items()]
    yield CLASSES, _classes(counts, base)
    if not config.omits(Omit.COHORTS) and len(counts.classes) <= MAX_COHORT_CLASSES:
        yield COHORTS, _cohorts(counts, base)
    if not config.omits(Omit.SLICES):
        yield SLICES, _slices(counts, base)
    yield DELAYS, _delays(counts, base)


def _confusion(counts: RevisionCounts, base: str, config: CollectorConfig) -> Iterator[tuple[Family, Lines]]:
    cells = [
        (f"{base},{labelled(actual=actual_name, predicted=name)}", counts.cells.get((actual, predicted), _ZERO))
        for actual, actual_name in enumerate(counts.classes)
        for predicted, name in enumerate(counts.classes)
    ]
    yield LABELS, [LABELS.line(labels, cell.requests) for labels, cell in cells]
    if len(counts.classes) <= MAX_CONFUSION_CLASSES and not config.omits(Omit.CONFUSION):
        yield CONFUSION, [CONFUSION.line(labels, cell.rows) for labels, cell in cells]
    if config.shows(Export.AUDIT) or any(cell.audited for _, cell in cells):
        yield AUDIT, [AUDIT.line(labels, cell.audited) for labels, cell in cells]


def _scores(counts: RevisionCounts, base: str, config: CollectorConfig) -> Iterator[tuple[Family, Lines]]:
    keys = [
        (f"{class_labels},{labels}", (class_, actual, bucket))
        for class_, class_labels in enumerate([f"{base},{labelled(class_=name)}" for name in counts.classes])
        for actual in (0, 1)
        for bucket, labels in enumerate(_SCORE_LABELS[actual])
    ]
    yield SCORES, [SCORES.line(labels, counts.counts.scores.get(key, 0)) for labels, key in keys]
    if len(counts.classes) <= MAX_CURVES and not config.omits(Omit.SCORES):
        rows = counts.counts.score_rows
        yield SCORE_OUTCOMES, [SCORE_OUTCOMES.line(labels, rows.get(key, 0)) for labels, key in keys]


def _losses(counts: RevisionCounts, base: str) -> Iterator[tuple[Family, Lines]]:
    moments = counts.counts.moments
    values = (("count", moments.requests), ("sum", moments.loss), ("sumsq", moments.squares))
    yield LOSS, [LOSS.line(f"{base},{labelled(moment=name)}", value) for name, value in values]
    yield LOG_LOSS, _summary(LOG_LOSS, base, moments.rows, moments.rows_loss)
    yield BRIER, _summary(BRIER, base, moments.rows, moments.rows_brier)
    if counts.costs:
        yield COST, _summary(COST, base, counts.counted_rows, cost_micro(counts))


def _summary(family: Family, base: str, rows: int, micro: int) -> Lines:
    return [family.line(base, rows, "_count"), family.line(base, micro / MICRO, "_sum")]


def _classes(counts: RevisionCounts, base: str) -> Lines:
    return [
        CLASSES.line(f"{base},{labelled(class_=name, outcome=outcome)}", rows)
        for name, outcomes in class_outcomes(counts).items()
        for outcome, rows in outcomes.items()
    ]


def _cohorts(counts: RevisionCounts, base: str) -> Lines:
    found = counts.counts.cohorts
    return [
        COHORTS.line(
            f"{base},{labelled(class_=name, outcome=outcome, delay=delay)}", found.get((class_, outcome, position), 0)
        )
        for class_, name in enumerate(counts.classes)
        for outcome in OUTCOMES
        for position, delay in enumerate(COHORT_NAMES)
    ]


def _slices(counts: RevisionCounts, base: str) -> Lines:
    return [
        SLICES.line(f"{base},{labelled(slice=slice_, value=value, class_=class_, outcome=outcome)}", rows)
        for (slice_, value, class_), outcomes in slice_outcomes(counts).items()
        for outcome, rows in outcomes.items()
    ]


def _delays(counts: RevisionCounts, base: str) -> Lines:
    lines, cumulative = [], 0
    for bound, name in enumerate([*(f"{seconds}.0" for seconds in DELAY_BOUNDS_S), "+Inf"]):
        cumulative += counts.arrivals.delays.get(bound, (0, 0))[0]
        lines.append(DELAYS.line(f"{base},{labelled(le=name)}", cumulative, "_bucket"))
    total_ms = sum(age_ms for _, age_ms in counts.arrivals.delays.values())
    return [*lines, DELAYS.line(base, cumulative, "_count"), DELAYS.line(base, total_ms / 1000, "_sum")]


def results(counts: RevisionCounts, model: str) -> Lines:
    """`model_feedback` of one revision; it belongs to no ledger."""
    return [
        FEEDBACK.line(
            labelled(model=model, revision=counts.revision, result=result.value), counts.results.get(result, 0)
        )
        for result in Result
    ]
