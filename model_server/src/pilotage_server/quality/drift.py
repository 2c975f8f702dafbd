"""How far inputs have moved from training: PSI, KS and JS over reference bins, of what was asked lately.

Effect sizes, not p-values: at volume everything is significant. A value needs `LEAST` rows in the window; before that
it is NaN, which is no drift and no reassurance. Comparing canary with stable in one window is the gate's part and
cancels what moves both. Knows neither HTTP nor files.
"""

from __future__ import annotations

import threading
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

Counts = NDArray[np.int64]


def psi(expected: Counts, actual: Counts) -> float:
    """Population stability index of counts in the same bins, ≥ 0; by custom 0.1 is some and 0.25 is much."""
    e, a = _shares(expected), _shares(actual)
    return float(((a - e) * np.log(a / e)).sum())


def ks(expected: Counts, actual: Counts) -> float:
    """Largest distance of the two distribution functions at the bins' edges, in [0, 1]."""
    return float(np.abs(np.cumsum(expected) / expected.sum() - np.cumsum(actual) / actual.sum()).max())


def js(expected: Counts, actual: Counts) -> float:
    """Jensen–Shannon distance of counts in the same bins, base 2: 0 alike, 1 nothing in common; symmetric."""
    e, a = _shares(expected), _shares(actual)
    middle = (e + a) / 2
    return float(np.sqrt(max(0.0, (e * np.log2(e / middle) + a * np.log2(a / middle)).sum() / 2)))


def _shares(counts: Counts) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = (counts + _SMOOTHING) / (counts + _SMOOTHING).sum()
    return shares


class Sliding:
    """What was counted in about the last hour, out of totals since the start; moves when it is looked at."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._past: deque[tuple[float, Sequence[Counts]]] = deque()
        self._lock = threading.Lock()  # scrapes may meet

    def counted(self, totals: Sequence[Counts]) -> list[Counts]:
        """The window's share of these totals, one by one."""
        with self._lock:
            start = self._begun(totals)
        return [then - since for then, since in zip(totals, start, strict=True)]

    def _begun(self, totals: Sequence[Counts]) -> Sequence[Counts]:
        """Totals when the window began; notes these for windows to come."""
        now = self._clock()
        while len(self._past) > 1 and self._past[1][0] <= now - WINDOW_S:
            self._past.popleft()
        start = self._past[0][1] if self._past else [np.zeros_like(one) for one in totals]
        if not self._past or now - self._past[-1][0] >= _SPACING_S:
            self._past.append((now, totals))
        return start


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
        counts: Callable[[], Sequence[Counts]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = [model, revision]
        self._reference = [(bins.feature, np.array(bins.counts)) for bins in reference]
        self._counts = counts
        self._window = Sliding(clock)

    def collect(self) -> Iterable[Metric]:
        """PSI, KS and JS now; NaN where the window holds too few rows."""
        measures = (
            (psi, "Population stability index of the last hour's rows against training."),
            (ks, "Largest distance of the distributions of the last hour's rows and of training."),
            (js, "Jensen-Shannon distance of the last hour's rows and training, 0 to 1."),
        )
        families = [
            GaugeMetricFamily(f"model_feature_{measure.__name__}", text, labels=("model", "revision", "feature"))
            for measure, text in measures
        ]
        for (feature, expected), actual in zip(self._reference, self._window.counted(self._counts()), strict=True):
            enough = actual.sum() >= LEAST
            for family, (measure, _) in zip(families, measures, strict=True):
                family.add_metric([*self._names, feature], measure(expected, actual) if enough else float("nan"))
        return families
