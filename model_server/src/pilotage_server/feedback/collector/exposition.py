"""A snapshot as people and Prometheus read it. Pure: one snapshot in, one document out, integers exact.

Every cell of an announced revision exists, zero included: a counter that appears with its first event loses that event
in every rate (prometheus/prometheus#1673).
"""

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pilotage_server.feedback.collector.settings import CollectorConfig
from pilotage_server.feedback.collector.snapshot import Cell, RevisionCounts, Snapshot, exported
from pilotage_server.feedback.results import OTHER_REVISION, Result

_CELL_LABELS = ("ledger", "model", "revision", "actual", "predicted")
_ZERO = Cell(0, 0)


class SnapshotCollector(Collector):
    """The Prometheus side: each scrape shows exactly one snapshot."""

    def __init__(self, model: str, current: Callable[[], Snapshot]) -> None:
        self._model = model
        self._current = current

    def collect(self) -> Iterable[Metric]:
        """All families of one snapshot."""
        snapshot = self._current()
        shown = exported(snapshot.revisions)
        yield from self._confusion(snapshot, shown)
        yield self._gauge(
            "pilotage_label_delay_seconds",
            "Age at which the label of a prediction is counted.",
            snapshot,
            snapshot.label_delay_ms,
        )
        yield self._gauge(
            "pilotage_ledger_committed_until_seconds",
            "Unix time up to which every stored label that had matured is in this scrape's counters.",
            snapshot,
            snapshot.counted_until_ms,
        )
        yield self._feedback(snapshot, shown)

    def _confusion(self, snapshot: Snapshot, shown: list[RevisionCounts]) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "pilotage_matured_labels", "Matured labels, one row per request: what gates count.", labels=_CELL_LABELS
        )
        rows = CounterMetricFamily("model_confusion", "Matured labels, all rows.", labels=_CELL_LABELS)
        for counts in shown:
            for actual, actual_name in enumerate(counts.classes):
                for predicted, predicted_name in enumerate(counts.classes):
                    cell = counts.cells.get((actual, predicted), _ZERO)
                    labels = (snapshot.ledger, self._model, counts.revision, actual_name, predicted_name)
                    requests.add_metric(labels, cell.requests)
                    rows.add_metric(labels, cell.rows)
        return requests, rows

    def _gauge(self, name: str, text: str, snapshot: Snapshot, value_ms: int) -> Metric:
        family = GaugeMetricFamily(name, text, labels=("ledger", "model"))
        family.add_metric((snapshot.ledger, self._model), value_ms / 1000)
        return family

    def _feedback(self, snapshot: Snapshot, shown: list[RevisionCounts]) -> Metric:
        family = CounterMetricFamily(
            "model_feedback", "Feedback items by result.", labels=("model", "revision", "result")
        )
        for counts in shown:
            for result in Result:
                family.add_metric((self._model, counts.revision, result.value), counts.results[result])
        for result in Result:
            family.add_metric((self._model, OTHER_REVISION, result.value), snapshot.others[result])
        return family


def quality(snapshot: Snapshot, config: CollectorConfig) -> dict[str, Any]:
    """The document at `/quality`: the same integers, of every revision the ledger still knows."""
    return {
        "ledger": snapshot.ledger,
        "bornAt": snapshot.born_ms / 1000,
        "model": config.model,
        "namespace": config.namespace,
        "cluster": config.cluster,
        "labelDelaySeconds": snapshot.label_delay_ms / 1000,
        "countedUntil": snapshot.counted_until_ms / 1000,
        "revisions": {counts.revision: _revision(counts) for counts in snapshot.revisions},
        "otherResults": {result.value: snapshot.others[result] for result in Result},
    }


def _revision(counts: RevisionCounts) -> dict[str, Any]:
    def matrix(count: Callable[[Cell], int]) -> dict[str, dict[str, int]]:
        return {
            actual_name: {
                predicted_name: count(counts.cells.get((actual, predicted), _ZERO))
                for predicted, predicted_name in enumerate(counts.classes)
            }
            for actual, actual_name in enumerate(counts.classes)
        }

    return {
        "classes": list(counts.classes),
        "matured": matrix(lambda cell: cell.requests),
        "confusion": matrix(lambda cell: cell.rows),
        "maturedLabels": counts.counted_requests,
        "countedRows": counts.counted_rows,
        "pendingRows": counts.stored - counts.counted_rows,
        "results": {result.value: items for result, items in counts.results.items()},
    }
