"""Audits, late labels, score buckets and losses come out of the collector as exactly as confusion cells do."""

from __future__ import annotations

import json
import time

import pytest

from pilotage.evidence import Block, BlockQuery, Loss, Needs, Refused, Unavailable, Window, answer, promql
from pilotage.evidence.errors import TooLarge
from support.exported import CANARY, DELAY_S, STABLE, Collector
from support.prometheus import Prometheus

EVERYTHING = Needs(audit=True, scores=True, loss=True)
AUDIT, LATE = "pilotage_matured_audit_total", "pilotage_late_labels_total"
SCORES, LOSS = "pilotage_matured_scores_total", "pilotage_matured_loss_total"


def a_query(model: str, opens: float, needs: Needs = EVERYTHING) -> BlockQuery:
    return BlockQuery(
        cluster="aws",
        namespace="models",
        model=model,
        wave="first",
        stable=STABLE,
        canary=CANARY,
        window=Window(step=0, opens=opens, closes=None),
        since=None,
        label_delay_s=DELAY_S,
        needs=needs,
    )


def a_collector(prometheus: Prometheus, model: str, ledger: str = "l1") -> Collector:
    collector = Collector(prometheus.exporter, model, ledger)
    for revision in (STABLE, CANARY):
        prometheus.exporter.set(collector.of(revision, AUDIT, actual="a", predicted="a"), 0)
        prometheus.exporter.set(collector.of(revision, SCORES, **{"class": "a", "actual": "1", "bucket": "49"}), 0)
        for moment in ("count", "sum", "sumsq"):
            prometheus.exporter.set(collector.of(revision, LOSS, moment=moment), 0)
    return collector


async def test_every_kind_is_counted_over_a_lost_volume(prometheus: Prometheus, model: str):
    exporter = prometheus.exporter
    old = a_collector(prometheus, model)
    exporter.add(old.of(CANARY, LATE, age="10"), 5)
    exporter.scraped()
    opens = time.time()
    exporter.scraped()

    def counted(collector: Collector) -> None:
        exporter.add(collector.of(CANARY, AUDIT, actual="a", predicted="a"), 2)
        exporter.add(collector.of(CANARY, LATE, age="10"), 1)
        exporter.add(collector.of(CANARY, LATE, age="+Inf"), 3)
        exporter.add(collector.of(CANARY, SCORES, **{"class": "a", "actual": "1", "bucket": "49"}), 4)
        exporter.add(collector.of(CANARY, SCORES, **{"class": "a", "actual": "0", "bucket": "0"}), 6)
        for moment, value in (("count", 2), ("sum", 3_000_000), ("sumsq", 5_000_000_000_000)):
            exporter.add(collector.of(CANARY, LOSS, moment=moment), value)

    counted(old)
    exporter.scraped()
    old.gone()
    exporter.scraped()
    counted(a_collector(prometheus, model, ledger="l2"))
    exporter.scraped()
    block = await answer(a_query(model, opens), prometheus.fetch, time.time())

    assert isinstance(block, Block), block
    assert block.canary.audit == {"a": {"a": 4}}
    assert block.canary.late == {"10": 2, "+Inf": 6}
    assert block.canary.scores["a"]["1"] == (0,) * 49 + (8,)
    assert block.canary.scores["a"]["0"] == (12,) + (0,) * 49
    assert block.canary.loss == Loss(count=4, sum=6.0, sumsq=10.0)
    assert block.stable.loss == Loss(count=0, sum=0.0, sumsq=0.0)


async def test_what_a_gate_needs_and_the_collector_does_not_export_is_waited_for(prometheus: Prometheus, model: str):
    Collector(prometheus.exporter, model)
    prometheus.exporter.scraped()
    opens = time.time()
    prometheus.exporter.scraped()
    prometheus.exporter.scraped()

    reading = await answer(a_query(model, opens, Needs(scores=True)), prometheus.fetch, time.time())

    assert isinstance(reading, Unavailable)
    assert reading.reason == "CountersMissing"
    assert "does not export pilotage_matured_scores_total yet" in reading.message


async def test_what_is_too_much_at_once_is_asked_counter_by_counter(prometheus: Prometheus, model: str):
    collector = a_collector(prometheus, model)
    prometheus.exporter.scraped()
    opens = time.time()
    prometheus.exporter.scraped()
    collector.count(CANARY, "a", "b", 2)
    collector.count(STABLE, "a", "a", 3)
    prometheus.exporter.add(collector.of(CANARY, AUDIT, actual="a", predicted="a"), 1)
    prometheus.exporter.scraped()

    async def small(cluster: str, expression: str, at: float | None) -> bytes:
        if " or " in expression:
            raise TooLarge("larger than 8 MiB")
        return await prometheus.fetch(cluster, expression, at)

    block = await answer(a_query(model, opens), small, time.time())

    assert isinstance(block, Block), block
    assert (block.canary.confusion, block.canary.audit) == ({"a": {"b": 2}}, {"a": {"a": 1}})
    assert block.stable.confusion == {"a": {"a": 3}}


# ------------------------------------------------------------------------------------------ two scrapers, one truth


def a_twin(collector: Collector, behind: int) -> None:
    """A second scraper's view of the collector, `behind` so many labels."""
    exporter = collector.exporter
    for series, value in exporter.all():
        if f'model="{collector.model}"' in series and "replica=" not in series:
            less = behind if "predicted" in series and value >= behind else 0
            exporter.set(series.replace('namespace="models"', 'namespace="models",replica="b"'), value - less)


async def test_an_ha_pair_that_agrees_counts_once(prometheus: Prometheus, model: str):
    collector = Collector(prometheus.exporter, model)
    a_twin(collector, behind=0)
    prometheus.exporter.scraped()
    opens = time.time()
    prometheus.exporter.scraped()
    collector.count(CANARY, "a", "b", 6)
    a_twin(collector, behind=0)
    prometheus.exporter.scraped()

    block = await answer(a_query(model, opens, Needs()), prometheus.fetch, time.time())

    assert isinstance(block, Block), block
    assert block.canary.confusion == {"a": {"b": 6}}


async def test_an_ha_pair_that_disagrees_is_no_answer_until_it_agrees_again(prometheus: Prometheus, model: str):
    collector = Collector(prometheus.exporter, model)
    a_twin(collector, behind=0)
    prometheus.exporter.scraped()
    opens = time.time()
    prometheus.exporter.scraped()
    collector.count(CANARY, "a", "b", 6)
    a_twin(collector, behind=2)
    prometheus.exporter.scraped()

    reading = await answer(a_query(model, opens, Needs()), prometheus.fetch, time.time())
    a_twin(collector, behind=0)
    prometheus.exporter.scraped()
    block = await answer(a_query(model, opens, Needs()), prometheus.fetch, time.time())

    assert isinstance(reading, Unavailable), reading
    assert reading.reason == "CountersInconsistent"
    assert "two scrapers of one collector disagree" in reading.message
    assert isinstance(block, Block), block
    assert block.canary.confusion == {"a": {"b": 6}}


def test_more_samples_than_prometheus_loads_is_told_apart_from_a_refusal():
    words = "query processing would load too many samples into memory in query execution"
    body = json.dumps({"status": "error", "errorType": "execution", "error": words}).encode()

    with pytest.raises(TooLarge, match="too many samples"):
        promql.parse(body)
    assert issubclass(TooLarge, Refused)
