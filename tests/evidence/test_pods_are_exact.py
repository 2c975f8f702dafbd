"""What pods counted, read from a real Prometheus: exact through births, restarts, deaths and failed scrapes."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import replace
from typing import Any

import pytest

from pilotage.evidence import Block, BlockQuery, Counts, Needs, Window, answer
from pilotage.evidence.asking import Asking
from pilotage.evidence.errors import NoSeries, PastChanged, TooLarge
from pilotage.evidence.reading import Foreign
from pilotage.evidence.served import read_foreign, read_served
from support.exported import CANARY, STABLE, Collector, Pod, Truth, no_truth_yet
from support.prometheus import Prometheus

ROWS, REQUESTS, SECONDS = "model_gate_rows_total", "model_requests_total", "model_request_duration_seconds_bucket"


def a_query(model: str, **needs: Any) -> BlockQuery:
    return BlockQuery(
        cluster="aws",
        namespace="models",
        model=model,
        wave="first",
        stable=STABLE,
        canary=CANARY,
        window=Window(step=0, opens=0.0, closes=None),
        since=None,
        label_delay_s=1.0,
        needs=Needs(**needs),
    )


def asking(prometheus: Prometheus, model: str, **needs: Any) -> Asking:
    return Asking(query=a_query(model, **needs), fetch=prometheus.fetch)


def a_pod(prometheus: Prometheus, model: str, revision: str, truth: Truth, name: str = "") -> Pod:
    return Pod(prometheus.exporter, model, revision, name or f"{revision}-0", truth)


def rows(*counts: Counts) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.served.items():
            total[name] = total.get(name, 0) + count
    return total


async def test_consecutive_spans_count_every_row_once_whatever_happens_to_the_pods(prometheus: Prometheus, model: str):
    truth, draw, exporter = no_truth_yet(), random.Random(11), prometheus.exporter
    pods = {name: a_pod(prometheus, model, CANARY, truth, name) for name in ("old", "restarted", "dying")}
    edges = [time.time()]

    def traffic() -> None:
        for pod in pods.values():
            for predicted in "ab":
                pod.count(ROWS, draw.randint(0, 9), predicted=predicted)

    for event in ("births", "failed scrape", "restart", "death", "birth"):
        traffic()
        exporter.scraped()
        match event:
            case "failed scrape":
                exporter.scrape_fails()
            case "restart":
                pods["restarted"].restarts()
                exporter.scraped()
            case "death":
                pods.pop("dying").dies()
            case "birth":
                pods["new"] = a_pod(prometheus, model, CANARY, truth, "new")
        traffic()
        exporter.scraped()
        edges.append(time.time())

    spans = list(itertools.pairwise(edges))
    served = [await read_served(asking(prometheus, model, served=True), *span) for span in spans]
    parts = [each.within(span, CANARY, Counts()) for each, span in zip(served, spans, strict=True)]
    whole = await read_served(asking(prometheus, model, served=True), edges[0], edges[-1])
    expected = {label: count for (_, _, (label,)), count in truth.items()}

    assert rows(*parts) == expected
    assert rows(whole.within((edges[0], edges[-1]), CANARY, Counts())) == expected


async def test_calm_pods_are_summed_by_prometheus_and_restless_ones_are_read_sample_by_sample(
    prometheus: Prometheus, model: str
):
    truth, asked = no_truth_yet(), []
    pods = [a_pod(prometheus, model, CANARY, truth, name) for name in ("one", "two", "gone")]

    async def noted(cluster: str, expression: str, at: float | None) -> bytes:
        asked.append(expression)
        return await prometheus.fetch(cluster, expression, at)

    async def read(start: float) -> int:
        asked.clear()
        end = time.time()
        served = await read_served(Asking(query=a_query(model, served=True), fetch=noted), start, end)
        return rows(served.within((start, end), CANARY, Counts()))["a"]

    start = time.time()
    for pod in pods:
        pod.count(ROWS, 5, predicted="a")
    prometheus.exporter.scraped()
    pods.pop().dies()
    prometheus.exporter.scraped()
    calm, sums = await read(start), list(asked)
    pods[0].restarts()
    prometheus.exporter.scraped()
    pods[0].count(ROWS, 2, predicted="a")
    prometheus.exporter.scraped()
    restless, samples = await read(start), list(asked)

    assert (calm, restless) == (15, 17)
    assert not any(expression.startswith("{") for expression in sums), "no raw samples"
    assert any(expression.startswith("{") for expression in samples)


async def test_errors_latencies_inputs_and_confidence_arrive_in_their_places(prometheus: Prometheus, model: str):
    truth = no_truth_yet()
    start = time.time()
    pods = [
        a_pod(prometheus, model, revision, truth, f"{revision}-{n}") for revision in (CANARY, STABLE) for n in (0, 1)
    ]
    for pod in pods:
        for code, count in (("200", 7), ("400", 2), ("503", 1)):
            pod.count(REQUESTS, count, code=code)
        for le, count in (("0.05", 3), ("0.1", 6), ("0.25", 8), ("+Inf", 10)):
            pod.count(SECONDS, count, le=le)
        for bin_, count in enumerate((4, 0, 1)):
            pod.count("model_feature_bins_total", count, feature="age", edges="e1", bin=str(bin_))
        pod.count("model_confidence_bins_total", 5, bucket="19")
    prometheus.exporter.scraped()
    end = time.time()

    needs = {"errors": True, "within": (0.1, 0.2), "inputs": True, "confidence": True}
    served = await read_served(asking(prometheus, model, **needs), start, end)
    counts = served.within((start, end), CANARY, Counts())

    assert counts.requests == (18, 20), "a client's mistake is no error of the model"
    assert counts.within == {0.1: (12, 20), 0.2: (12, 20)}
    assert served.rounded == {0.2: 0.1}, "a bound that is no edge rounds down"
    assert counts.inputs == {"age (bins e1)": (8, 0, 2)}, "bins that are cut elsewhere have another name"
    assert counts.confidence == (0,) * 19 + (10,)
    assert counts.served == {}, "nobody asked for it"


@pytest.mark.parametrize("restless", [False, True], ids=["calm", "restless"])
async def test_requests_of_every_protocol_count_and_each_of_them_resets_by_itself(
    prometheus: Prometheus, model: str, restless: bool
):
    """A pod that is older than the label stands beside one that has it."""
    truth, start = no_truth_yet(), time.time()
    new, old = (a_pod(prometheus, model, CANARY, truth, name) for name in ("new", "old"))
    a_pod(prometheus, model, STABLE, truth).count(REQUESTS, code="200", protocol="v2")
    for protocol, good in (("v2", 40), ("v1", 0), ("grpc", 300)):
        new.count(REQUESTS, good, code="200", protocol=protocol)
        new.count(REQUESTS, 1, code="503", protocol=protocol)
    old.count(REQUESTS, 7, code="200")
    prometheus.exporter.scraped()
    if restless:
        new.restarts()
        prometheus.exporter.scraped()
        for protocol, good in (("v2", 5), ("v1", 2), ("grpc", 200)):
            new.count(REQUESTS, good, code="200", protocol=protocol)
        prometheus.exporter.scraped()
    end = time.time()

    served = await read_served(asking(prometheus, model, errors=True), start, end)

    good, bad = 40 + 300 + 7 + (5 + 2 + 200 if restless else 0), 3
    assert served.within((start, end), CANARY, Counts()).requests == (good, good + bad)


async def test_a_bound_below_every_edge_is_refused_with_the_lowest(prometheus: Prometheus, model: str):
    truth = no_truth_yet()
    for revision in (CANARY, STABLE):
        a_pod(prometheus, model, revision, truth).count(SECONDS, le="0.05")
    prometheus.exporter.scraped()

    with pytest.raises(NoSeries, match=r"bound of 0\.01 s is below every edge of the histogram \(0\.05 s\)"):
        await read_served(asking(prometheus, model, within=(0.01,)), time.time() - 1, time.time())


async def test_pods_that_nobody_scrapes_are_missing_and_not_without_errors(prometheus: Prometheus, model: str):
    a_pod(prometheus, model, STABLE, no_truth_yet()).count(REQUESTS, code="200")
    prometheus.exporter.scraped()

    with pytest.raises(NoSeries, match="no pod of digits-canary exports model_requests_total"):
        await read_served(asking(prometheus, model, errors=True), time.time() - 1, time.time())


async def test_a_pod_with_two_scrapers_counts_once_and_one_that_lies_is_no_answer(prometheus: Prometheus, model: str):
    truth, exporter = no_truth_yet(), prometheus.exporter
    pod = a_pod(prometheus, model, CANARY, truth)
    twin = pod.series(ROWS, predicted="a").replace("pod=", 'replica="b",pod=')
    start = time.time()
    for _ in range(3):
        pod.count(ROWS, 5, predicted="a")
        exporter.add(twin, 5)
        exporter.scraped()
    end = time.time()

    served = await read_served(asking(prometheus, model, served=True), start, end)
    assert rows(served.within((start, end), CANARY, Counts())) == {"a": 15}

    exporter.set(twin, 3)
    for _ in range(7):  # longer than two scrapes of one process may lie apart
        exporter.scraped()
    with pytest.raises(PastChanged, match="two scrapers of one process disagree: 15 lies outside 3 to 3"):
        await read_served(asking(prometheus, model, served=True), start, time.time())


async def test_pages_of_any_length_tell_the_same(prometheus: Prometheus, model: str):
    truth, asked = no_truth_yet(), []
    start = time.time()
    pod = a_pod(prometheus, model, CANARY, truth)
    for _ in range(4):
        pod.count(ROWS, 3, predicted="a")
        prometheus.exporter.scraped()
    end = time.time()

    async def small(cluster: str, expression: str, at: float | None) -> bytes:
        span = float(expression.rpartition("[")[2].partition("ms]")[0]) if "[" in expression else 0.0
        asked.append(span)
        if span > 100_000 and not expression.startswith("last_over_time"):
            raise TooLarge("larger than 8 MiB")
        return await prometheus.fetch(cluster, expression, at)

    paged = Asking(query=a_query(model, served=True), fetch=small)
    served = await read_served(paged, start, end)

    assert rows(served.within((start, end), CANARY, Counts())) == {"a": 12}
    assert max(asked) > 100_000
    assert len(asked) > 4


async def test_an_answer_that_no_page_makes_small_enough_is_told(prometheus: Prometheus, model: str):
    async def never(cluster: str, expression: str, at: float | None) -> bytes:
        raise TooLarge("larger than 8 MiB; too many series match")

    paged = Asking(query=a_query(model, served=True), fetch=never)
    with pytest.raises(TooLarge, match="too many series match"):
        await read_served(paged, time.time() - 1, time.time())


async def test_served_rows_are_as_old_as_the_labels_beside_them(prometheus: Prometheus, model: str):
    exporter, truth = prometheus.exporter, no_truth_yet()
    collector = Collector(exporter, model, delay_s=2.0)
    pods = [a_pod(prometheus, model, revision, truth) for revision in (CANARY, STABLE)]
    for pod in pods:
        pod.count(ROWS, 0, predicted="a")
    exporter.scraped()
    opens = time.time()
    exporter.scraped()
    for pod in pods:
        pod.count(ROWS, 4, predicted="a")
    exporter.scraped()
    made = time.time()
    query = a_query(model, served=True)
    query = replace(query, window=Window(step=0, opens=opens, closes=None), label_delay_s=2.0)

    early = await answer(query, prometheus.fetch, time.time())
    while time.time() < made + 2.0:
        exporter.scraped()
    collector.count(CANARY, "a", "a", 4)
    exporter.scraped()
    late = await answer(query, prometheus.fetch, time.time())

    assert isinstance(early, Block), early
    assert isinstance(late, Block), late
    assert rows(early.canary) == {}, "their labels have not matured"
    assert rows(late.canary) == rows(late.stable) == {"a": 4}


async def test_what_no_gate_needs_is_not_asked(prometheus: Prometheus, model: str):
    Collector(prometheus.exporter, model)
    prometheus.exporter.scraped()
    opens = time.time()
    prometheus.exporter.scraped()
    asked: list[str] = []

    async def noted(cluster: str, expression: str, at: float | None) -> bytes:
        asked.append(expression)
        return await prometheus.fetch(cluster, expression, at)

    query = a_query(model)
    query = replace(query, window=Window(step=0, opens=opens, closes=None), label_delay_s=5.0)
    reading = await answer(query, noted, time.time())

    assert isinstance(reading, Block), reading
    assert len(asked) <= 6
    for metric in ("audit", "scores", "loss", "model_"):
        assert not any(metric in expression for expression in asked), metric


# --------------------------------------------------------------------------------------------- somebody else's counters


def foreign(by_label: bool = False, **selectors: str) -> Foreign:
    return Foreign(gate="outside", selectors=tuple(selectors.items()), by_label=by_label)


async def test_somebody_elses_counters_are_read_by_revision(prometheus: Prometheus, model: str):
    exporter = prometheus.exporter
    start = time.time()
    for revision, good, all_ in ((CANARY, 9, 10), (STABLE, 90, 95)):
        for instance in "xy":
            labels = f'job="gateway",instance="{instance}",of="{model}",version="{revision}"'
            exporter.set(f"gateway_good_total{{{labels}}}", good)
            exporter.set(f"gateway_all_total{{{labels}}}", all_)
    exporter.scraped()
    end = time.time()
    asked = foreign(
        successes=f'gateway_good_total{{of="{model}",version="$revision"}}',
        trials=f'gateway_all_total{{of="{model}",version="$revision"}}',
    )

    found = await read_foreign(asking(prometheus, model, foreign=(asked,)), lambda _: (start, end))

    assert found[CANARY] == {"outside": {"successes": 18, "trials": 20}}
    assert found[STABLE] == {"outside": {"successes": 180, "trials": 190}}


async def test_a_selector_that_matches_nothing_is_named_with_the_field(prometheus: Prometheus, model: str):
    asked = foreign(successes='nothing_total{version="$revision"}', trials='nothing_total{version="$revision"}')

    with pytest.raises(NoSeries, match=r'gate outside: no series matches nothing_total\{version="digits-canary"\}'):
        await read_foreign(asking(prometheus, model, foreign=(asked,)), lambda _: (time.time() - 1, time.time()))
