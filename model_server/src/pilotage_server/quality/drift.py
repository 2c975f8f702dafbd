"""How far inputs have moved from training: PSI and KS over reference bins, of what was asked lately.

Effect sizes, not p-values: at volume everything is significant. A value needs `LEAST` rows in the window; before that
it is NaN, which is no drift and no reassurance. Comparing canary with stable in one window is the gate's part and
cancels what moves both. Knows neither HTTP nor files.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pilotage_server.quality.reference import FeatureBins

WINDOW_S: Final = 3600.0
LEAST: Final = 200
_SPACING_S: Final = 60.0
_SMOOTHING: Final = 0.5  # counts added to every bin: an empty one is rare, not impossible


def psi(expected: NDArray[np.int64], actual: NDArray[np.int64]) -> float:
    """Population stability index of counts in the same bins, ≥ 0; by custom 0.1 is some and 0.25 is much."""
    e = (expected + _SMOOTHING) / (expected + _SMOOTHING).sum()
    a = (actual + _SMOOTHING) / (actual + _SMOOTHING).sum()
    return float(((a - e) * np.log(a / e)).sum())


def ks(expected: NDArray[np.int64], actual: NDArray[np.int64]) -> float:
    """Largest distance of the two distribution functions at the bins' edges, in [0, 1]."""
    return float(np.abs(np.cumsum(expected) / expected.sum() - np.cumsum(actual) / actual.sum()).max())


class Drift(Collector):
    """Gauges of every counted feature over a sliding window of about an hour; register it with Prometheus.

    `counts` gives what was counted since the start, feature by feature in the order of `reference`.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str,
        reference: Sequence[FeatureBins],
        counts: Callable[[], Sequence[NDArray[np.int64]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = [model, revision]
        self._reference = [(bins.feature, np.array(bins.counts)) for bins in reference]
        self._counts = counts
        self._clock = clock
        self._past: deque[tuple[float, Sequence[NDArray[np.int64]]]] = deque()

    def collect(self) -> Iterable[Metric]:
        """PSI and KS now; NaN where the window holds too few rows."""
        now, counts = self._clock(), self._counts()
        while len(self._past) > 1 and self._past[1][0] <= now - WINDOW_S:
            self._past.popleft()
        start = self._past[0][1] if self._past else [np.zeros_like(one) for one in counts]
        families = [
            GaugeMetricFamily(f"model_feature_{name}", text, labels=("model", "revision", "feature"))
            for name, text in (
                ("psi", "Population stability index of the last hour's rows against training."),
                ("ks", "Largest distance of the distributions of the last hour's rows and of training."),
            )
        ]
        for (feature, expected), then, since in zip(self._reference, counts, start, strict=True):
            actual = then - since
            enough = actual.sum() >= LEAST
            for family, measure in zip(families, (psi, ks), strict=True):
                family.add_metric([*self._names, feature], measure(expected, actual) if enough else float("nan"))
        if not self._past or now - self._past[-1][0] >= _SPACING_S:
            self._past.append((now, counts))
        return families
