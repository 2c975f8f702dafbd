"""The document at `/quality`: every integer the ledger holds, nothing derived.

Exact where a scrape cannot be: increase() extrapolates to fractions, and loses what a dying process counted last.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pilotage_server.feedback.collector.settings import CollectorConfig
from pilotage_server.feedback.collector.snapshot import Cell, RevisionCounts, Snapshot, newest
from pilotage_server.feedback.collector.tables import OUTCOMES, cost_micro, late_counts, slice_outcomes
from pilotage_server.feedback.collector.window import Window
from pilotage_server.feedback.results import Result
from pilotage_server.quality.buckets import COHORT_NAMES, DELAY_BOUNDS_S, MAX_COHORT_CLASSES, SCORE_BUCKETS

_ZERO: Final = Cell(0, 0)
_MOST_CELLS: Final = 5_000
_ALWAYS_TOLD: Final = 3


def quality(snapshot: Snapshot, config: CollectorConfig, *, is_bounded: bool = False) -> dict[str, Any]:
    """All counts of one snapshot, JSON-ready; losses in millionths.

    `is_bounded`: of the revisions announced last, up to 5,000 confusion cells in all and never fewer than three.
    """
    revisions = _bounded(snapshot.revisions) if is_bounded else snapshot.revisions
    return {
        "ledger": snapshot.ledger,
        "bornAt": snapshot.born_ms / 1000,
        "model": config.model,
        "namespace": config.namespace,
        "cluster": config.cluster,
        "labelDelaySeconds": snapshot.label_delay_ms / 1000,
        "countedUntil": snapshot.counted_until_ms / 1000,
        "revisions": {counts.revision: _revision(counts, snapshot) for counts in revisions},
        "pairs": [
            {"stable": stable, "canary": canary, "outcome": outcome, "requests": requests}
            for (stable, canary, outcome), requests in sorted(snapshot.pairs.items())
        ],
        "otherResults": {result.value: snapshot.others[result] for result in Result},
    }


def _bounded(revisions: Iterable[RevisionCounts]) -> list[RevisionCounts]:
    chosen: list[RevisionCounts] = []
    cells = 0
    for counts in newest(revisions):
        cells += len(counts.classes) ** 2
        if cells > _MOST_CELLS and len(chosen) >= _ALWAYS_TOLD:
            break
        chosen.append(counts)
    return chosen


def _revision(counts: RevisionCounts, snapshot: Snapshot) -> dict[str, Any]:
    moments = counts.counts.moments
    found = {
        "classes": list(counts.classes),
        "matured": _matrix(counts, lambda cell: cell.requests),
        "confusion": _matrix(counts, lambda cell: cell.rows),
        "audit": _matrix(counts, lambda cell: cell.audited),
        "maturedLabels": counts.counted_requests,
        "countedRows": counts.counted_rows,
        "pendingRows": counts.stored - counts.counted_rows,
        "loss": {"count": moments.requests, "sum": moments.loss, "sumsq": moments.squares},
        "lossRows": {"count": moments.rows, "sum": moments.rows_loss, "brier": moments.rows_brier},
        "late": late_counts(counts, snapshot.label_delay_ms),
        "delays": _delays(counts),
        "cohorts": _cohorts(counts),
        "results": {result.value: items for result, items in counts.results.items()},
    }
    if counts.window is not None:
        found["window"] = _window(counts.window, counts.classes)
    if counts.counts.scores:
        found["buckets"] = _buckets(counts, counts.counts.scores)
        found["bucketsRows"] = _buckets(counts, counts.counts.score_rows)
    if counts.slices:
        found["slices"] = [
            {"slice": slice_, "value": value, "class": class_, **outcomes}
            for (slice_, value, class_), outcomes in slice_outcomes(counts).items()
        ]
    if counts.costs:
        found["costMicro"] = cost_micro(counts)
    return found


def _window(window: Window, classes: Sequence[str]) -> dict[str, Any]:
    """The labels counted last, all rows: what `model_quality` is made of."""
    cells = window.cells()
    scored, loss, brier = window.losses()
    found: dict[str, Any] = {
        "labels": window.labels,
        "confusion": {
            actual_name: {name: cells.get((actual, predicted), 0) for predicted, name in enumerate(classes)}
            for actual, actual_name in enumerate(classes)
        },
        "loss": {"count": scored, "sum": loss, "brier": brier},
    }
    if window.has_curves:
        found["buckets"] = {
            name: {"0": ranking.negative, "1": ranking.positive}
            for name, ranking in zip(classes, window.rankings(), strict=True)
        }
    return found


def _cohorts(counts: RevisionCounts) -> dict[str, dict[str, dict[str, int]]]:
    found = counts.counts.cohorts
    return {
        name: {
            outcome: {delay: found.get((class_, outcome, position), 0) for position, delay in enumerate(COHORT_NAMES)}
            for outcome in OUTCOMES
        }
        for class_, name in enumerate(counts.classes)
        if len(counts.classes) <= MAX_COHORT_CLASSES
    }


def _matrix(counts: RevisionCounts, count: Callable[[Cell], int]) -> dict[str, dict[str, int]]:
    return {
        actual_name: {
            predicted_name: count(counts.cells.get((actual, predicted), _ZERO))
            for predicted, predicted_name in enumerate(counts.classes)
        }
        for actual, actual_name in enumerate(counts.classes)
    }


def _buckets(counts: RevisionCounts, scores: Mapping[tuple[int, int, int], int]) -> dict[str, dict[str, list[int]]]:
    return {
        name: {
            str(actual): [scores.get((class_, actual, bucket), 0) for bucket in range(SCORE_BUCKETS)]
            for actual in (0, 1)
        }
        for class_, name in enumerate(counts.classes)
    }


def _delays(counts: RevisionCounts) -> dict[str, int]:
    bounds = [*map(str, DELAY_BOUNDS_S), "+Inf"]
    return {name: counts.arrivals.delays.get(bound, (0, 0))[0] for bound, name in enumerate(bounds)}
