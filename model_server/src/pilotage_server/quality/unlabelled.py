"""What predictions say before any label comes: expected outcomes, and whether answers have moved since the test.

Expected outcomes believe the model: a row decided as d with probabilities p counts p_d as a true positive of d, 1 − p_d
as a false one, and p_c as a miss of every other class c (confidence-based performance estimation). They are right as
far as the probabilities are calibrated and the meaning of the classes has not changed. Knows no HTTP and no token.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pilotage_server.quality.drift import LEAST, Sliding, psi

_BATCHES_AT_ONCE: Final = 128
_ROWS_AT_ONCE: Final = 1_024


class Unlabelled(Collector):
    """Counts every predicted row of one model; register it with Prometheus.

    `tested`: rows of the test set by predicted class, of a bundle that tells them.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str,
        classes: Sequence[str],
        tested: Sequence[int] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = (model, revision)
        self._classes = tuple(classes)
        self._tested = np.array(tested if tested is not None else (), dtype=np.int64)
        self._expected = np.zeros((len(self._classes), len(self._classes)))  # [decided, class]: sums of p
        self._decided = np.zeros(len(self._classes), dtype=np.int64)
        self._window = Sliding(clock)
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._rows = 0
        self._lock = threading.Lock()  # scrapes are rendered on another thread

    def add(self, predicted: NDArray[np.int64], probabilities: NDArray[np.float64]) -> None:
        """Count one batch, which nobody may write to afterwards: class indices [n], probabilities [n, K]."""
        with self._lock:
            self._waiting.append((predicted, probabilities))
            self._rows += len(predicted)
            if len(self._waiting) >= _BATCHES_AT_ONCE or self._rows >= _ROWS_AT_ONCE:
                self._count()

    def _count(self) -> None:
        """Move what waits into the sums. The lock is held."""
        if not self._waiting:
            return
        predicted, probabilities = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting.clear()
        self._rows = 0
        order = np.argsort(predicted, kind="stable")
        classes, starts = np.unique(predicted[order], return_index=True)
        self._expected[classes] += np.add.reduceat(probabilities[order], starts, axis=0)
        self._decided += np.bincount(predicted, minlength=len(self._classes))

    def collect(self) -> Iterable[Metric]:
        """All families, with every row counted that was added before."""
        with self._lock:
            self._count()
            expected, decided = self._expected.copy(), self._decided.copy()
        labels = ("model", "revision")
        outcomes = CounterMetricFamily(
            "model_expected_outcomes",
            "Outcomes by class that the model's own probabilities expect of all rows; "
            "right as far as they are calibrated and what the classes mean has not changed.",
            labels=(*labels, "class", "outcome"),
        )
        hits = expected.diagonal().copy()
        # Sums of what only grows never fall, as a difference of two rounded sums may: Prometheus calls that a reset.
        np.fill_diagonal(expected, 0.0)
        columns = (("tp", hits), ("fp", expected.sum(axis=1)), ("fn", expected.sum(axis=0)))
        for index, name in enumerate(self._classes):
            for outcome, values in columns:
                outcomes.add_metric((*self._names, name, outcome), float(values[index]))
        yield outcomes
        shift = GaugeMetricFamily(
            "model_prediction_psi",
            "Population stability index of the last hour's predicted classes against those of the test set.",
            labels=labels,
        )
        (lately,) = self._window.counted([decided])
        is_told = len(self._tested) and lately.sum() >= LEAST
        shift.add_metric(self._names, psi(self._tested, lately) if is_told else float("nan"))
        yield shift


def decisions_of_test(baseline: Mapping[str, Any], classes: int) -> list[int] | None:
    """Rows of the test set by predicted class, out of a manifest's baseline; None where it does not tell."""
    confusion = baseline.get("confusion")
    rows = confusion if isinstance(confusion, Sequence) else ()
    if len(rows) != classes or not all(isinstance(row, Sequence) and len(row) == classes for row in rows):
        return None
    if not all(type(cell) is int and cell >= 0 for row in rows for cell in row):
        return None
    return [sum(row[column] for row in rows) for column in range(classes)]
