"""Why a collector shows every cell at zero: a real Prometheus' increase() sees the first label only then."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pilotage_server.feedback.collector.exposition import Exposition
from pilotage_server.feedback.collector.ledger import Ledger
from pilotage_server.feedback.collector.settings import CollectorConfig, Export
from support.feedback import START_S, a_delivery, an_announcement, an_item
from support.prometheus import Prometheus

BORN, DELAY = int(START_S * 1000), 60_000


class Collector:
    """A ledger whose page a real Prometheus scrapes."""

    def __init__(self, ledger: Ledger, prometheus: Prometheus, model: str) -> None:
        self._ledger = ledger
        self._prometheus = prometheus
        config = CollectorConfig(
            model=model, namespace="models", cluster="aws", label_delay_s=60, export=frozenset(Export)
        )
        self._exposition = Exposition(lambda: config, lambda: ledger.snapshot)
        self.model = model

    def count_a_cat(self) -> None:
        """One label, right, old enough to count."""
        item = an_item(issued_ms=BORN, label="cat", probabilities=(1.0, 0.0, 0.0))
        self._ledger.apply([a_delivery(item)], now_ms=BORN, delay_ms=DELAY, keeps_scores=True)
        self._ledger.apply([], now_ms=BORN + DELAY, delay_ms=DELAY, keeps_scores=True)

    def is_scraped(self, *, without_zeros: bool = False) -> None:
        """Let Prometheus see the page of now, as it is or as a client library would write it."""
        for line in self._exposition.render()[0].decode().splitlines():
            series, _, value = line.rpartition(" ")
            if not line.startswith("#") and not (without_zeros and float(value) == 0):
                self._prometheus.exporter.set(series, float(value))
        self._prometheus.exporter.scraped()

    async def increases(self, metric: str, **labels: str) -> list[float]:
        """increase() over the test, of every series with these labels."""
        chosen = ",".join(f'{name}="{value}"' for name, value in {"model": self.model, **labels}.items())
        body = json.loads(await self._prometheus.fetch("aws", f"increase({metric}{{{chosen}}}[1m])", None))
        found: list[Mapping[str, tuple[float, str]]] = body["data"]["result"]
        return [float(one["value"][1]) for one in found]


@pytest.fixture
def collector(prometheus: Prometheus, model: str, tmp_path: Path) -> Iterator[Collector]:
    ledger = Ledger(tmp_path / "ledger", now_ms=BORN, delay_ms=DELAY)
    ledger.apply([an_announcement()], now_ms=BORN, delay_ms=DELAY)
    yield Collector(ledger, prometheus, model)
    ledger.close()
    prometheus.exporter.drop(f'model="{model}"')


CELLS = {
    "pilotage_matured_labels_total": {"actual": "cat", "predicted": "cat"},
    "pilotage_matured_scores_total": {"class": "cat", "actual": "1", "bucket": "49"},
    "model_confusion_total": {"actual": "cat", "predicted": "cat"},
    "model_class_outcomes_total": {"class": "cat", "outcome": "tp"},
    "model_cohort_outcomes_total": {"class": "cat", "outcome": "tp", "delay": "1h"},
    "model_score_outcomes_total": {"class": "cat", "actual": "1", "bucket": "49"},
    "model_outcome_log_loss_count": {},
    "model_label_delay_seconds_count": {},
    "model_feedback_total": {"result": "accepted", "revision": "pets-0a1b2c3d4e"},
}


async def test_the_first_label_of_every_counter_is_in_its_increase(collector: Collector) -> None:
    collector.is_scraped()
    collector.count_a_cat()
    collector.is_scraped()

    for metric, labels in CELLS.items():
        (grown,) = await collector.increases(metric, **labels)
        assert grown > 0, metric


async def test_a_counter_that_appears_with_its_first_label_would_lose_it(collector: Collector) -> None:
    """The same history without zeros: what Prometheus makes of it, and why the law above is worth its series."""
    collector.is_scraped(without_zeros=True)
    collector.count_a_cat()
    collector.is_scraped(without_zeros=True)

    for metric, labels in CELLS.items():
        assert await collector.increases(metric, **labels) in ([], [0.0]), metric
