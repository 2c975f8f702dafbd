"""A snapshot as Prometheus reads it. Pure: one snapshot in, one set of families out, integers exact.

Every cell of an announced revision exists, zero included: a counter that appears with its first event loses that event
in every rate (prometheus/prometheus#1673). Counters that cost many series are shown only when a gate asks for them, and
from then on as long as they are not zero: one that comes back with an old value would look like new labels.
"""

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from pilotage_server.feedback.collector.settings import CollectorConfig, Export
from pilotage_server.feedback.collector.snapshot import PAIR_OUTCOMES, Cell, RevisionCounts, Snapshot, exported
from pilotage_server.feedback.collector.tables import class_outcomes, cost_micro, late_counts, slice_outcomes
from pilotage_server.feedback.results import OTHER_REVISION, Result
from pilotage_server.quality.buckets import DELAY_BOUNDS_S, MICRO, SCORE_BUCKETS

_REVISION: Final = ("ledger", "model", "revision")
_CELL: Final = (*_REVISION, "actual", "predicted")
_ZERO: Final = Cell(0, 0)


class SnapshotCollector(Collector):
    """The Prometheus side: each scrape shows exactly one snapshot, as the configuration of the moment asks for."""

    def __init__(self, config: Callable[[], CollectorConfig], current: Callable[[], Snapshot]) -> None:
        self._config = config
        self._current = current

    def collect(self) -> Iterable[Metric]:
        """All families of one snapshot."""
        config = self._config()
        snapshot = self._current()
        shown = exported(snapshot.revisions, with_scores=config.shows(Export.SCORES))
        page = _Page(config.model, snapshot, shown)
        yield from page.confusion(config.shows(Export.AUDIT))
        yield page.scores(config.shows(Export.SCORES))
        yield page.loss()
        yield page.late()
        yield page.pairs()
        yield from page.outcomes()
        yield page.slices()
        yield page.delays()
        yield from page.gauges()
        yield page.feedback()


class _Page:
    """The families of one snapshot."""

    def __init__(self, model: str, snapshot: Snapshot, shown: list[RevisionCounts]) -> None:
        self._model = model
        self._snapshot = snapshot
        self._shown = shown

    def _values(self, counts: RevisionCounts, *more: str) -> tuple[str, ...]:
        return (self._snapshot.ledger, self._model, counts.revision, *more)

    def confusion(self, asks_for_audit: bool) -> list[Metric]:
        requests = CounterMetricFamily(
            "pilotage_matured_labels", "Matured labels, one row per request: what gates count.", labels=_CELL
        )
        rows = CounterMetricFamily("model_confusion", "Matured labels, all rows.", labels=_CELL)
        audited = CounterMetricFamily(
            "pilotage_matured_audit",
            "Matured labels of requests picked at random for labelling, one row per request.",
            labels=_CELL,
        )
        for counts in self._shown:
            with_audit = asks_for_audit or any(cell.audited for cell in counts.cells.values())
            for actual, actual_name in enumerate(counts.classes):
                for predicted, predicted_name in enumerate(counts.classes):
                    cell = counts.cells.get((actual, predicted), _ZERO)
                    labels = self._values(counts, actual_name, predicted_name)
                    requests.add_metric(labels, cell.requests)
                    rows.add_metric(labels, cell.rows)
                    if with_audit:
                        audited.add_metric(labels, cell.audited)
        return [requests, rows, audited]

    def scores(self, asked_for: bool) -> Metric:
        family = CounterMetricFamily(
            "pilotage_matured_scores",
            "Matured labels, one row per request, by class, whether it was the true one, and its log-odds bucket.",
            labels=(*_REVISION, "class", "actual", "bucket"),
        )
        for counts in self._shown:
            if not (asked_for or counts.counts.scores):
                continue
            for class_, name in enumerate(counts.classes):
                for actual in (0, 1):
                    for bucket in range(SCORE_BUCKETS):
                        requests = counts.counts.scores.get((class_, actual, bucket), 0)
                        family.add_metric(self._values(counts, name, str(actual), str(bucket)), requests)
        return family

    def loss(self) -> Metric:
        family = CounterMetricFamily(
            "pilotage_matured_loss",
            "Log loss of matured labels, one row per request, in millionths of a nat, p clipped at 0.001.",
            labels=(*_REVISION, "moment"),
        )
        for counts in self._shown:
            moments = counts.counts.moments
            for name, value in (("count", moments.requests), ("sum", moments.loss), ("sumsq", moments.squares)):
                family.add_metric(self._values(counts, name), value)
        return family

    def late(self) -> Metric:
        family = CounterMetricFamily(
            "pilotage_late_labels",
            "Labels that came after labelDelay, one row per request, by how old the prediction was; not cumulative.",
            labels=(*_REVISION, "le"),
        )
        for counts in self._shown:
            for seconds, requests in late_counts(counts, self._snapshot.label_delay_ms).items():
                family.add_metric(self._values(counts, seconds), requests)
        return family

    def pairs(self) -> Metric:
        family = CounterMetricFamily(
            "pilotage_matured_pairs",
            "Matured labels of requests a shadow answered too: canary right (first digit) by stable right (second).",
            labels=("ledger", "model", "stable", "canary", "outcome"),
        )
        shown = {counts.revision for counts in self._shown}
        for stable, canary in sorted({key[:2] for key in self._snapshot.pairs if shown.issuperset(key[:2])}):
            for outcome in PAIR_OUTCOMES:
                requests = self._snapshot.pairs.get((stable, canary, outcome), 0)
                family.add_metric((self._snapshot.ledger, self._model, stable, canary, outcome), requests)
        return family

    def outcomes(self) -> list[Metric]:
        classes = CounterMetricFamily(
            "model_class_outcomes", "Matured labels, all rows, by class.", labels=(*_REVISION, "class", "outcome")
        )
        loss = SummaryMetricFamily(
            "model_outcome_log_loss",
            "Log loss in nats of matured labels, all rows, p clipped at 0.001.",
            labels=_REVISION,
        )
        brier = SummaryMetricFamily(
            "model_outcome_brier", "Brier score of matured labels, all rows; halved for two classes.", labels=_REVISION
        )
        cost = SummaryMetricFamily(
            "model_outcome_cost", "Cost of matured labels, all rows, by the manifest's cost matrix.", labels=_REVISION
        )
        for counts in self._shown:
            for name, outcomes in class_outcomes(counts).items():
                for outcome, rows in outcomes.items():
                    classes.add_metric(self._values(counts, name, outcome), rows)
            moments, labels = counts.counts.moments, self._values(counts)
            loss.add_metric(labels, count_value=moments.rows, sum_value=moments.rows_loss / MICRO)
            brier.add_metric(labels, count_value=moments.rows, sum_value=moments.rows_brier / MICRO)
            if counts.costs:
                cost.add_metric(labels, count_value=counts.counted_rows, sum_value=cost_micro(counts) / MICRO)
        return [classes, loss, brier, cost]

    def slices(self) -> Metric:
        family = CounterMetricFamily(
            "model_slice_outcomes",
            "Matured labels, all rows, by what clients declared; zero until a value has 20 labels.",
            labels=(*_REVISION, "slice", "value", "class", "outcome"),
        )
        for counts in self._shown:
            for (slice_, value, class_), outcomes in slice_outcomes(counts).items():
                for outcome, rows in outcomes.items():
                    family.add_metric(self._values(counts, slice_, value, class_, outcome), rows)
        return family

    def delays(self) -> Metric:
        family = HistogramMetricFamily(
            "model_label_delay_seconds", "Age of the prediction when its first label came, all rows.", labels=_REVISION
        )
        for counts in self._shown:
            cumulative, buckets = 0, []
            for bound, name in enumerate([*(f"{seconds}.0" for seconds in DELAY_BOUNDS_S), "+Inf"]):
                cumulative += counts.arrivals.delays.get(bound, (0, 0))[0]
                buckets.append((name, cumulative))
            total_ms = sum(age_ms for _, age_ms in counts.arrivals.delays.values())
            family.add_metric(self._values(counts), buckets, total_ms / 1000)
        return family

    def gauges(self) -> list[Metric]:
        snapshot = self._snapshot
        found: list[Metric] = []
        for name, text, value_ms in (
            (
                "pilotage_label_delay_seconds",
                "Age at which the label of a prediction is counted.",
                snapshot.label_delay_ms,
            ),
            (
                "pilotage_ledger_committed_until_seconds",
                "Unix time up to which every stored label that had matured is in this scrape's counters.",
                snapshot.counted_until_ms,
            ),
        ):
            family = GaugeMetricFamily(name, text, labels=("ledger", "model"))
            family.add_metric((snapshot.ledger, self._model), value_ms / 1000)
            found.append(family)
        return found

    def feedback(self) -> Metric:
        family = CounterMetricFamily(
            "model_feedback", "Feedback items by result.", labels=("model", "revision", "result")
        )
        for counts in self._shown:
            for result in Result:
                family.add_metric((self._model, counts.revision, result.value), counts.results.get(result, 0))
        for result in Result:
            family.add_metric((self._model, OTHER_REVISION, result.value), self._snapshot.others[result])
        return family
