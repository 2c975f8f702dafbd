"""Before a wave: how much each cluster serves, what stable did lately, and which classes there are."""

from __future__ import annotations

import time

from pilotage.evidence import Baseline, BaselineQuery, Unavailable, answer
from support.prometheus import Prometheus


def a_question(model: str) -> BaselineQuery:
    return BaselineQuery(cluster="aws", namespace="models", model=model, stable="digits-stable", served_window_s=5.0)


async def test_rows_history_and_every_class_even_without_a_label(prometheus: Prometheus, model: str):
    exporter = prometheus.exporter
    exporter.set(f'pilotage_label_delay_seconds{{namespace="models",ledger="l1",model="{model}"}}', 5)
    for actual in "abc":
        for predicted in "abc":
            labels = f'ledger="l1",model="{model}",revision="digits-stable",actual="{actual}",predicted="{predicted}"'
            exporter.set(
                f'pilotage_matured_labels_total{{namespace="models",{labels}}}', 4 if actual == predicted else 0
            )
    rows = f'model_rows_total{{namespace="models",model="{model}",pod="p"}}'
    exporter.set(rows, 0)
    exporter.scraped()
    exporter.add(rows, 500)
    exporter.scraped()

    reading = await answer(a_question(model), prometheus.fetch, time.time())

    assert isinstance(reading, Baseline), reading
    assert reading.classes == ("a", "b", "c")
    assert reading.history.confusion == {"a": {"a": 4}, "b": {"b": 4}, "c": {"c": 4}}
    assert reading.rows > 0


async def test_a_cluster_whose_collector_is_not_scraped_gives_no_baseline(prometheus: Prometheus, model: str):
    reading = await answer(a_question(model), prometheus.fetch, time.time())

    assert isinstance(reading, Unavailable)
    assert reading.reason == "CountersMissing"
