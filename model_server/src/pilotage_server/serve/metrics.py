"""What a server counts about itself, for Prometheus. Every series exists at zero from the start.

Labels come from the operator's names and the bundle's classes, never from a request, so their number is
bounded by the manifest. Labels arriving later are counted by the collector, not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pilotage_server.quality.unlabelled import Unlabelled, decisions_of_test
from pilotage_server.serve.counting import Distribution, Tally
from pilotage_server.serve.errors import Reason
from pilotage_server.serve.model import Predictions, ServedModel
from pilotage_server.serve.settings import SettingsRefused

CODES: Final = (200, 400, 404, 405, 408, 413, 415, 500, 503)
_DURATIONS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Spoken(StrEnum):
    """The protocol an infer request came in."""

    V2 = "v2"
    V1 = "v1"
    GRPC = "grpc"


class ServerMetrics(Collector):
    """The metrics of one served model: a few additions a request, a few calls to NumPy a batch."""

    def __init__(self, model: ServedModel, waiting_rows: Callable[[], int]) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        manifest = model.bundle.manifest
        fixed = {"model": model.name, "revision": model.revision}
        self._requests = Tally(
            "model_requests",
            "Infer requests by protocol and HTTP status.",
            fixed,
            ("protocol", "code"),
            product(Spoken, map(str, CODES)),
        )
        self._rejected = Tally(
            "model_rejected", "Infer requests not predicted, by reason.", fixed, ("reason",), ((one,) for one in Reason)
        )
        self._predictions = Tally(
            "model_predictions", "Rows by predicted class.", fixed, ("predicted",), ((one,) for one in manifest.classes)
        )
        self._rows = Tally("model_rows", "Rows predicted.", fixed, (), [()])
        gaps = [(i, feature.name) for i, feature in enumerate(manifest.features) if feature.missing]
        self._missing = Tally(
            "model_feature_missing",
            "Rows without a value of a feature that may be missing.",
            fixed,
            ("feature",),
            ((name,) for _, name in gaps),
        )
        self._gaps = [column for column, _ in gaps]
        self._durations = Distribution(
            "model_request_duration_seconds",
            "Infer requests, from the last byte of the body to the first of the answer.",
            fixed,
            _DURATIONS,
        )
        self._inference = Distribution("model_inference_duration_seconds", "Batches.", fixed, _DURATIONS)
        self._batches = Distribution("model_batch_rows", "Rows per batch.", fixed, _BATCHES)
        self._codes = {code: str(code) for code in CODES}
        self._counted = (
            self._requests,
            self._rejected,
            self._predictions,
            self._rows,
            self._missing,
            self._durations,
            self._inference,
            self._batches,
        )
        tested = decisions_of_test(manifest.baseline, len(manifest.classes))
        self._unlabelled = Unlabelled(
            model=model.name, revision=model.revision, classes=manifest.classes, tested=tested
        )
        self.registry.register(self)
        self.registry.register(self._unlabelled)
        self.ready = self._gauge("model_ready", "1 while new connections are welcome.", fixed)
        self._gauge("model_queue_rows", "Rows waiting for prediction.", fixed).set_function(waiting_rows)
        described = {"version": manifest.version, "digest": f"sha256:{model.bundle.digest}"}
        described |= {"backend": str(manifest.backend), "sklearn": manifest.versions.get("scikit-learn", "")}
        self._gauge("model_info", "The bundle that is served.", {**fixed, **described}).set(1)
        ProcessCollector(registry=self.registry)

    def _gauge(self, name: str, text: str, labels: dict[str, str]) -> Gauge:
        return Gauge(name, text, tuple(labels), registry=self.registry).labels(*labels.values())

    def collect(self) -> Iterable[Metric]:
        """All that is counted here."""
        return [counted.family() for counted in self._counted]

    def observe_predictions(self, rows: NDArray[np.float64], predictions: Predictions, seconds: float) -> None:
        """Count one batch that was predicted: rows [n, F] and what became of them."""
        count = len(rows)
        self._rows.counts[()] += count
        self._inference.add(seconds)
        self._batches.add(count)
        counts = self._predictions.counts
        for label, added in zip(
            counts, np.bincount(predictions.predicted, minlength=len(counts)).tolist(), strict=True
        ):
            counts[label] += added
        self._unlabelled.add(predictions.predicted, predictions.probabilities)
        if self._gaps:
            missing = np.isnan(rows[:, self._gaps]).sum(axis=0).tolist()
            for label, added in zip(self._missing.counts, missing, strict=True):
                self._missing.counts[label] += added

    def observe_request(self, spoken: Spoken, code: int, seconds: float) -> None:
        """Count one answered infer request."""
        self._requests.counts[spoken, self._codes[code]] += 1
        self._durations.add(seconds)

    def observe_rejected(self, reason: Reason) -> None:
        """Count one infer request that was the client's fault, or too much."""
        self._rejected.counts[(reason,)] += 1


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
