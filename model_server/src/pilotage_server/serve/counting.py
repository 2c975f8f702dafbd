"""Counters as plain numbers, made into Prometheus families when somebody scrapes.

Laws: the event loop alone counts, one addition an event; a scrape, on another thread, reads whole numbers. Every series
exists at zero from the start, and none can be added later. Knows no HTTP and no model.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

Values = tuple[str, ...]


class Tally:
    """One counter with labels of its own; `counts` by the values of these, to be added to.

    `fixed`: names and values of the labels every series has.
    """

    def __init__(self, name: str, text: str, fixed: dict[str, str], labels: Values, series: Iterable[Values]) -> None:
        self.counts: dict[Values, int] = dict.fromkeys(series, 0)
        self._name, self._text = name, text
        self._labels, self._fixed = (*fixed, *labels), tuple(fixed.values())

    def family(self) -> Metric:
        """What a scrape shows."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for values, count in self.counts.items():
            family.add_metric((*self._fixed, *values), count)
        return family


class Distribution:
    """One histogram without labels of its own. `bounds` ascend; the last bucket is open."""

    def __init__(self, name: str, text: str, fixed: dict[str, str], bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._shown = [*map(floatToGoString, bounds), "+Inf"]
        self._counts = [0] * len(self._shown)
        self._sum = 0.0
        self._name, self._text, self._fixed = name, text, fixed

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def family(self) -> Metric:
        """What a scrape shows."""
        family = HistogramMetricFamily(self._name, self._text, labels=tuple(self._fixed))
        family.add_metric(
            tuple(self._fixed.values()), list(zip(self._shown, accumulate(self._counts), strict=True)), self._sum
        )
        return family
