"""The counters of gate rows in a server pod: one row per request, the one whose label would enter the gate.

A batch costs one append; counting happens 128 rows at a time with NumPy, and at every scrape, so that each scrape
shows all requests answered before it. Every series exists at zero from the start. Knows no HTTP and no token.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from pilotage_server.quality.buckets import CONFIDENCE_BUCKETS, CONFIDENCE_EDGES
from pilotage_server.quality.reference import GAPS, MAX_BINS, MAX_FEATURES, FeatureBins

_AT_ONCE: Final = 128
_SURE: Final = 1.0 - 1e-12  # keeps log-odds finite


class GateRows(Collector):
    """Counts gate rows by predicted class, confidence and feature bins; register it with Prometheus.

    `features`: names of the columns of an input row; `reference`: bins of some of them.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str,
        classes: Sequence[str],
        features: Sequence[str],
        reference: Sequence[FeatureBins],
    ) -> None:
        position = {name: column for column, name in enumerate(features)}
        self._bins = tuple(bins for bins in reference if len(bins.counts) <= MAX_BINS)[:MAX_FEATURES]
        self._columns = np.array([position[bins.feature] for bins in self._bins], dtype=np.int64)
        # All edges in one matrix, padded with infinity: one comparison bins every feature of every row.
        self._edges = np.full((len(self._bins), MAX_BINS - 1), np.inf)
        for index, bins in enumerate(self._bins):
            self._edges[index, : len(bins.edges)] = bins.edges
        # Where training had no gap, there is no bin for one.
        self._have_gaps = np.array([bins.edges[0] == GAPS for bins in self._bins], dtype=bool)
        self._offsets = np.arange(len(self._bins)) * MAX_BINS
        self._names = (model, revision)
        self._classes = tuple(classes)
        self._predicted = np.zeros(len(self._classes), dtype=np.int64)
        self._confidence = np.zeros(CONFIDENCE_BUCKETS, dtype=np.int64)
        self._features = np.zeros(len(self._bins) * MAX_BINS, dtype=np.int64)
        self._waiting: list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]] = []
        self._rows_waiting = 0
        self._lock = threading.Lock()  # scrapes are rendered on another thread

    def add(self, rows: NDArray[np.float64], predicted: NDArray[np.int64], confidences: NDArray[np.float64]) -> None:
        """Count requests by their gate rows: inputs [n, F], class indices [n], largest probabilities [n]."""
        with self._lock:
            # A copy of what is counted: a view would keep the whole batch alive.
            self._waiting.append((rows.take(self._columns, axis=1), predicted, confidences))
            self._rows_waiting += len(rows)
            if self._rows_waiting >= _AT_ONCE:
                self._count()

    def _count(self) -> None:
        """Move what waits into the arrays. The lock is held."""
        if not self._waiting:
            return
        rows, predicted, confidences = map(np.concatenate, zip(*self._waiting, strict=True))
        self._waiting.clear()
        self._rows_waiting = 0
        self._predicted += np.bincount(predicted, minlength=len(self._predicted))
        p = np.minimum(confidences, _SURE)
        buckets = np.searchsorted(CONFIDENCE_EDGES, np.log(p) - np.log1p(-p), side="right")
        self._confidence += np.bincount(buckets, minlength=CONFIDENCE_BUCKETS)
        if len(self._bins):
            bins = (rows[:, :, None] >= self._edges).sum(axis=2) + self._offsets
            known = ~np.isnan(rows) | self._have_gaps
            self._features += np.bincount(bins[known], minlength=len(self._features))

    @property
    def bins(self) -> tuple[FeatureBins, ...]:
        """Reference bins of the features that are counted."""
        return self._bins

    def feature_counts(self) -> list[NDArray[np.int64]]:
        """Gate rows per bin of each counted feature, since the start."""
        with self._lock:
            self._count()
            starts = range(0, len(self._features), MAX_BINS)
            return [
                self._features[at : at + len(bins.counts)].copy() for at, bins in zip(starts, self._bins, strict=True)
            ]

    def collect(self) -> Iterable[Metric]:
        """All families, with every request counted that was added before."""
        with self._lock:
            self._count()
            predicted, confidence, features = (
                counts.tolist() for counts in (self._predicted, self._confidence, self._features)
            )
        yield self._family(
            "model_gate_rows",
            "Requests by the class predicted for their gate row.",
            ("predicted",),
            [((name,), count) for name, count in zip(self._classes, predicted, strict=True)],
        )
        yield self._family(
            "model_confidence_bins",
            "Gate rows by their largest probability, in 20 buckets equal in log-odds.",
            ("bucket",),
            [((str(bucket),), count) for bucket, count in enumerate(confidence)],
        )
        yield self._family(
            "model_feature_bins",
            "Gate rows by the reference bin of the manifest that a feature falls into; edges: which bins these are.",
            ("feature", "edges", "bin"),
            [
                ((bins.feature, bins.edges_digest, str(bin_)), features[index * MAX_BINS + bin_])
                for index, bins in enumerate(self._bins)
                for bin_ in range(len(bins.counts))
            ],
        )

    def _family(
        self, name: str, text: str, labels: tuple[str, ...], counts: list[tuple[tuple[str, ...], int]]
    ) -> Metric:
        family = CounterMetricFamily(name, text, labels=("model", "revision", *labels))
        for values, count in counts:
            family.add_metric((*self._names, *values), count)
        return family
