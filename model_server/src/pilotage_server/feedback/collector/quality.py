"""The document at `/quality`: every integer the ledger holds, nothing derived.

Exact where a scrape cannot be: increase() extrapolates to fractions, and loses what a dying process counted last.
"""

from collections.abc import Callable
from typing import Any

from pilotage_server.feedback.collector.settings import CollectorConfig
from pilotage_server.feedback.collector.snapshot import Cell, RevisionCounts, Snapshot, exported
from pilotage_server.feedback.collector.tables import cost_micro, late_counts, slice_outcomes
from pilotage_server.feedback.results import Result
from pilotage_server.quality.buckets import DELAY_BOUNDS_S, SCORE_BUCKETS

_ZERO = Cell(0, 0)


def quality(snapshot: Snapshot, config: CollectorConfig, *, shown_only: bool = False) -> dict[str, Any]:
    """All counts of one snapshot, JSON-ready; losses in millionths. `shown_only`: of the revisions a scrape shows."""
    revisions = exported(snapshot.revisions) if shown_only else snapshot.revisions
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
        "results": {result.value: items for result, items in counts.results.items()},
    }
    if counts.counts.scores:
        found["buckets"] = _buckets(counts)
    if counts.slices:
        found["slices"] = [
            {"slice": slice_, "value": value, "class": class_, **outcomes}
            for (slice_, value, class_), outcomes in slice_outcomes(counts).items()
        ]
    if counts.costs:
        found["costMicro"] = cost_micro(counts)
    return found


def _matrix(counts: RevisionCounts, count: Callable[[Cell], int]) -> dict[str, dict[str, int]]:
    return {
        actual_name: {
            predicted_name: count(counts.cells.get((actual, predicted), _ZERO))
            for predicted, predicted_name in enumerate(counts.classes)
        }
        for actual, actual_name in enumerate(counts.classes)
    }


def _buckets(counts: RevisionCounts) -> dict[str, dict[str, list[int]]]:
    return {
        name: {
            str(actual): [counts.counts.scores.get((class_, actual, bucket), 0) for bucket in range(SCORE_BUCKETS)]
            for actual in (0, 1)
        }
        for class_, name in enumerate(counts.classes)
    }


def _delays(counts: RevisionCounts) -> dict[str, int]:
    bounds = [*map(str, DELAY_BOUNDS_S), "+Inf"]
    return {name: counts.arrivals.delays.get(bound, (0, 0))[0] for bound, name in enumerate(bounds)}
