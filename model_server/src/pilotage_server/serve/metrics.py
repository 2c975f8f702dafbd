"""What a server counts about itself, for Prometheus. Every series exists at zero from the start.

Labels come from the operator's names and the bundle's classes, never from a request, so their number is
bounded by the manifest. Labels arriving later are counted by the collector, not here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from pilotage_server.serve.errors import Reason
from pilotage_server.serve.model import Predictions, ServedModel
from pilotage_server.serve.settings import SettingsRefused

CODES: Final = (200, 400, 404, 405, 408, 413, 415, 500, 503)
_DURATIONS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class ServerMetrics:
    """The metrics of one served model; updating them costs a few microseconds a batch."""

    def __init__(self, model: ServedModel, waiting_rows: Callable[[], int]) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        names, values = ("model", "revision"), (model.name, model.revision)
        requests = Counter("model_requests", "Infer requests by HTTP status.", (*names, "code"), registry=self.registry)
        rejected = Counter(
            "model_rejected", "Infer requests not predicted, by reason.", (*names, "reason"), registry=self.registry
        )
        predictions = Counter(
            "model_predictions", "Rows by predicted class.", (*names, "predicted"), registry=self.registry
        )
        self._requests = {code: requests.labels(*values, str(code)) for code in CODES}
        self._rejected = {reason: rejected.labels(*values, reason.value) for reason in Reason}
        self._predictions = [predictions.labels(*values, label) for label in model.bundle.manifest.classes]
        self._rows = Counter("model_rows", "Rows predicted.", names, registry=self.registry).labels(*values)
        self._durations = Histogram(
            "model_request_duration_seconds",
            "Infer requests, from the last byte of the body to the first of the answer.",
            names,
            buckets=_DURATIONS,
            registry=self.registry,
        ).labels(*values)
        self._inference = Histogram(
            "model_inference_duration_seconds", "Batches.", names, buckets=_DURATIONS, registry=self.registry
        ).labels(*values)
        self._batches = Histogram(
            "model_batch_rows", "Rows per batch.", names, buckets=_BATCHES, registry=self.registry
        ).labels(*values)
        Gauge("model_queue_rows", "Rows waiting for prediction.", names, registry=self.registry).labels(
            *values
        ).set_function(waiting_rows)
        self.ready = Gauge("model_ready", "1 while new connections are welcome.", names, registry=self.registry).labels(
            *values
        )
        self._describe(model)
        ProcessCollector(registry=self.registry)

    def _describe(self, model: ServedModel) -> None:
        manifest = model.bundle.manifest
        Gauge(
            "model_info",
            "The bundle that is served.",
            ("model", "revision", "version", "digest", "backend"),
            registry=self.registry,
        ).labels(
            model.name, model.revision, manifest.version, f"sha256:{model.bundle.digest}", str(manifest.backend)
        ).set(1)

    def observe_predictions(self, predictions: Predictions, seconds: float) -> None:
        """Count one batch that was predicted."""
        rows = len(predictions.predicted)
        self._rows.inc(rows)
        self._inference.observe(seconds)
        self._batches.observe(rows)
        if rows == 1:
            self._predictions[int(predictions.predicted[0])].inc()
            return
        counts = np.bincount(predictions.predicted, minlength=len(self._predictions))
        for index in np.flatnonzero(counts).tolist():
            self._predictions[index].inc(int(counts[index]))

    def observe_request(self, code: int, seconds: float) -> None:
        """Count one answered infer request."""
        self._requests[code].inc()
        self._durations.observe(seconds)

    def observe_rejected(self, reason: Reason) -> None:
        """Count one infer request that was the client's fault, or too much."""
        self._rejected[reason].inc()


def check_series(registry: CollectorRegistry, most: int) -> None:
    """Raise `SettingsRefused` where a scrape would hold more than `most` series, naming what there is most of."""
    sizes = {family.name: len(family.samples) for family in registry.collect()}
    if sum(sizes.values()) > most:
        largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:3]
        shown = ", ".join(f"{name} {sizes[name]}" for name in largest)
        raise SettingsRefused(
            f"--max-series: this model would export {sum(sizes.values())} series ({shown}), more than {most}; "
            "raise PILOTAGE_SERVER_MAX_SERIES, or train with fewer reference features"
        )
