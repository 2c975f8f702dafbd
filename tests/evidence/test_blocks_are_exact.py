"""Blocks read from a real Prometheus: every matured label once, both arms from one scrape, nothing from outside."""

from __future__ import annotations

import random
import time

from pilotage.evidence import Block, BlockQuery, Boundary, Counts, Unavailable, Window, answer
from support.exported import CANARY, DELAY_S, STABLE, Collector
from support.prometheus import SCRAPE_S, Prometheus


def a_query(model: str, *, opens: float, closes: float | None = None, since: Boundary | None = None) -> BlockQuery:
    return BlockQuery(
        cluster="aws",
        namespace="models",
        model=model,
        wave="first",
        stable=STABLE,
        canary=CANARY,
        window=Window(step=0, opens=opens, closes=closes),
        since=since,
        label_delay_s=DELAY_S,
    )


async def read(prometheus: Prometheus, query: BlockQuery) -> Block:
    reading = await answer(query, prometheus.fetch, time.time())
    assert isinstance(reading, Block), reading
    return reading


async def refused(prometheus: Prometheus, query: BlockQuery, now: float | None = None) -> Unavailable:
    reading = await answer(query, prometheus.fetch, now or time.time())
    assert isinstance(reading, Unavailable), reading
    return reading


def cells(*confusions: object) -> dict[tuple[str, str], int]:
    total: dict[tuple[str, str], int] = {}
    for confusion in confusions:
        for actual, row in confusion.items():  # type: ignore[attr-defined]
            for predicted, count in row.items():
                total[actual, predicted] = total.get((actual, predicted), 0) + count
    return total


async def test_consecutive_blocks_count_every_label_once_while_labels_keep_coming(prometheus: Prometheus, model: str):
    collector = Collector(prometheus.exporter, model)
    prometheus.exporter.scraped()
    opened, since, blocks = time.time(), None, []
    prometheus.exporter.scraped()
    draw = random.Random(7)

    for _ in range(12):
        for _ in range(draw.randint(0, 40)):
            collector.count(draw.choice([STABLE, CANARY]), draw.choice("ab"), draw.choice("ab"))
        blocks.append(await read(prometheus, a_query(model, opens=opened, since=since)))
        since = blocks[-1].boundary
    prometheus.exporter.scraped()
    blocks.append(await read(prometheus, a_query(model, opens=opened, since=since)))

    assert cells(*(block.stable.confusion for block in blocks)) == collector.truth[STABLE]
    assert cells(*(block.canary.confusion for block in blocks)) == collector.truth[CANARY]


async def test_the_same_question_gets_the_same_counts_or_more_until_its_boundary_moves(
    prometheus: Prometheus, model: str
):
    collector = Collector(prometheus.exporter, model)
    prometheus.exporter.scraped()
    query = a_query(model, opens=time.time())
    prometheus.exporter.scraped()

    collector.count(CANARY, "a", "a", 3)
    prometheus.exporter.scraped()
    first = await read(prometheus, query)
    collector.count(CANARY, "a", "a", 2)
    prometheus.exporter.scraped()
    second = await read(prometheus, query)

    assert cells(first.canary.confusion) == {("a", "a"): 3}
    assert cells(second.canary.confusion) == {("a", "a"): 5}


async def test_what_matured_before_the_window_opened_or_after_it_closed_is_left_out(prometheus: Prometheus, model: str):
    collector = Collector(prometheus.exporter, model)
    collector.count(CANARY, "a", "b", 100)
    prometheus.exporter.scraped()
    opens = time.time()
    prometheus.exporter.scraped()
    collector.count(CANARY, "a", "a", 3)
    prometheus.exporter.scraped()
    closes = time.time()
    collector.count(CANARY, "b", "b", 100)
    prometheus.exporter.scraped()

    block = await read(prometheus, a_query(model, opens=opens, closes=closes))

    assert cells(block.canary.confusion) == {("a", "a"): 3}
    assert block.complete
    assert block.boundary.at <= closes


async def test_a_window_that_has_not_opened_has_nothing_and_no_past(prometheus: Prometheus, model: str):
    Collector(prometheus.exporter, model)
    prometheus.exporter.scraped()

    block = await read(prometheus, a_query(model, opens=time.time() + 60))

    assert (block.stable, block.canary, block.complete) == (Counts(), Counts(), False)


async def test_a_window_shorter_than_its_exclusion_is_complete_and_empty(prometheus: Prometheus, model: str):
    Collector(prometheus.exporter, model)
    prometheus.exporter.scraped()
    now = time.time()

    block = await read(prometheus, a_query(model, opens=now - 1, closes=now - 2))

    assert (block.stable, block.canary, block.complete) == (Counts(), Counts(), True)


async def test_a_new_ledger_counts_from_zero_and_the_old_one_keeps_what_it_had(prometheus: Prometheus, model: str):
    old = Collector(prometheus.exporter, model)
    prometheus.exporter.scraped()
    opened = time.time()
    prometheus.exporter.scraped()
    old.count(STABLE, "a", "a", 4)
    prometheus.exporter.scraped()
    old.gone()
    prometheus.exporter.scraped()
    new = Collector(prometheus.exporter, model, ledger="l2")
    new.count(STABLE, "a", "a", 7)
    prometheus.exporter.scraped()

    block = await read(prometheus, a_query(model, opens=opened))

    assert cells(block.stable.confusion) == {("a", "a"): 11}


async def test_a_collector_scraped_twice_counts_once(prometheus: Prometheus, model: str):
    collector = Collector(prometheus.exporter, model)
    twin = collector.cell(CANARY, "a", "a").replace('namespace="models"', 'namespace="models",replica="b"')
    prometheus.exporter.set(twin, 0)
    prometheus.exporter.scraped()
    opened = time.time()
    prometheus.exporter.scraped()
    collector.count(CANARY, "a", "a", 6)
    prometheus.exporter.add(twin, 6)
    prometheus.exporter.scraped()

    block = await read(prometheus, a_query(model, opens=opened))

    assert cells(block.canary.confusion) == {("a", "a"): 6}


async def test_a_counter_that_fell_is_no_answer(prometheus: Prometheus, model: str):
    collector = Collector(prometheus.exporter, model)
    collector.count(CANARY, "a", "a", 9)
    prometheus.exporter.scraped()
    opened = time.time()
    prometheus.exporter.scraped()
    prometheus.exporter.set(collector.cell(CANARY, "a", "a"), 2)
    prometheus.exporter.scraped()

    reading = await refused(prometheus, a_query(model, opens=opened))

    assert reading.reason == "CountersInconsistent"
    assert "fell from 9 to 2" in reading.message


async def test_a_past_that_is_not_what_it_was_is_no_answer(prometheus: Prometheus, model: str):
    collector = Collector(prometheus.exporter, model)
    prometheus.exporter.scraped()
    opened = time.time()
    prometheus.exporter.scraped()
    collector.count(CANARY, "a", "a", 3)
    prometheus.exporter.scraped()
    block = await read(prometheus, a_query(model, opens=opened))
    forged = Boundary(at=block.boundary.at, checksum=block.boundary.checksum.replace("=", "=0"))
    prometheus.exporter.scraped()

    assert (await refused(prometheus, a_query(model, opens=opened, since=forged))).reason == "CountersInconsistent"
    assert await read(prometheus, a_query(model, opens=opened, since=block.boundary))


async def test_a_collector_with_another_label_delay_is_waited_for(prometheus: Prometheus, model: str):
    Collector(prometheus.exporter, model, delay_s=600)
    prometheus.exporter.scraped()
    opened = time.time()
    prometheus.exporter.scraped()

    reading = await refused(prometheus, a_query(model, opens=opened))

    assert reading.reason == "LabelDelayMismatch"
    assert "labelDelay 600 s, the spec says 5 s" in reading.message


async def test_no_collector_at_all_is_said_with_what_to_check(prometheus: Prometheus, model: str):
    since = Boundary(at=time.time() - 1, checksum="")

    reading = await refused(prometheus, a_query(model, opens=time.time() - 10, since=since))

    assert reading.reason == "CountersMissing"
    assert "prometheus.io/scrape" in reading.message


async def test_a_clock_that_differs_more_than_the_exclusion_absorbs_is_refused(prometheus: Prometheus, model: str):
    reading = await refused(prometheus, a_query(model, opens=0), now=time.time() + 30)

    assert reading.reason == "ClockSkew"


async def test_an_address_where_nobody_answers_and_one_that_is_not_prometheus(prometheus: Prometheus, model: str):
    nobody = Prometheus("http://127.0.0.1:9", prometheus.exporter)
    wrong_path = Prometheus(f"{prometheus.url}/other", prometheus.exporter)

    assert (await refused(nobody, a_query(model, opens=0))).reason == "PrometheusUnreachable"
    assert (await refused(wrong_path, a_query(model, opens=0))).reason == "PrometheusRefused"


def test_scrapes_are_frequent_enough_for_these_tests():
    assert SCRAPE_S <= 0.5
