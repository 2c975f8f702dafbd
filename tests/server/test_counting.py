"""Counters kept as plain numbers say what Prometheus' own client would say of the same events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pilotage_server.bundle import AnySigner, load, open_source
from pilotage_server.serve.counting import Distribution, Tally
from pilotage_server.serve.errors import Reason
from pilotage_server.serve.metrics import CODES, ServerMetrics, Spoken
from pilotage_server.serve.model import Predictions, ServedModel

FIXED = {"model": "pets", "revision": 'a "quoted" one'}
BOUNDS = (0.001, 0.5, 1, 10.0)


class Shown(Collector):
    def __init__(self, *counted: Tally | Distribution) -> None:
        self._counted = counted

    def collect(self) -> list[Metric]:
        return [one.family() for one in self._counted]


def text(*collectors: Collector) -> str:
    registry = CollectorRegistry(auto_describe=False)
    for one in collectors:
        registry.register(one)
    lines = generate_latest(registry).decode().splitlines()
    return "\n".join(sorted(line for line in lines if "_created" not in line))


@given(st.lists(st.sampled_from(BOUNDS) | st.floats(0, 100), max_size=40))
def test_a_distribution_is_a_histogram(values: list[float]) -> None:
    ours = Distribution("took_seconds", "How long.", FIXED, BOUNDS)
    theirs = Histogram("took_seconds", "How long.", tuple(FIXED), buckets=BOUNDS, registry=None)
    twin = theirs.labels(*FIXED.values())

    for value in values:
        ours.add(value)
        twin.observe(value)

    assert text(Shown(ours)) == text(theirs)


@given(st.lists(st.sampled_from(["cat", "dog"]), max_size=40))
def test_a_tally_is_a_counter(found: list[str]) -> None:
    ours = Tally("seen", "What was seen.", FIXED, ("animal",), [("cat",), ("dog",)])
    theirs = Counter("seen", "What was seen.", (*FIXED, "animal"), registry=None)
    for animal in ("cat", "dog"):
        theirs.labels(*FIXED.values(), animal)

    for animal in found:
        ours.counts[(animal,)] += 1
        theirs.labels(*FIXED.values(), animal).inc()

    assert text(Shown(ours)) == text(theirs)


def test_every_protocol_code_and_reason_is_there_at_zero(iris: Path) -> None:
    bundle = load(open_source(iris / "bundle"), trust=AnySigner())
    metrics = ServerMetrics(ServedModel(name="iris", revision="iris-1", bundle=bundle), lambda: 0)

    before = generate_latest(metrics.registry).decode().splitlines()
    metrics.observe_request(Spoken.GRPC, 408, 0.2)
    metrics.observe_rejected(Reason.DEADLINE)
    answers = Predictions(predicted=np.array([2, 0, 2]), probabilities=np.full((3, 3), 1 / 3))
    metrics.observe_predictions(np.zeros((3, 4)), answers, 1e-4)
    after = generate_latest(metrics.registry).decode()

    zeros = [line for line in before if line.startswith(("model_requests_total{", "model_rejected_total{"))]
    assert len(zeros) == len(CODES) * len(Spoken) + len(Reason)
    assert all(line.endswith(" 0.0") for line in zeros)
    assert 'model_requests_total{code="408",model="iris",protocol="grpc",revision="iris-1"} 1.0' in after
    assert 'model_rejected_total{model="iris",reason="deadline",revision="iris-1"} 1.0' in after
    assert 'model_rows_total{model="iris",revision="iris-1"} 3.0' in after
    assert 'model_predictions_total{model="iris",predicted="virginica",revision="iris-1"} 2.0' in after


def test_gaps_are_counted_for_the_features_that_may_have_them(iris: Path) -> None:
    bundle = load(open_source(iris / "bundle"), trust=AnySigner())
    first, second, *others = bundle.manifest.features
    features = (replace(first, missing=True), replace(second, missing=True), *others)
    bundle = replace(bundle, manifest=replace(bundle.manifest, features=features))
    metrics = ServerMetrics(ServedModel(name="iris", revision="iris-1", bundle=bundle), lambda: 0)
    rows = np.zeros((3, 4))
    rows[:2, 0] = np.nan

    metrics.observe_predictions(rows, Predictions(predicted=np.zeros(3, int), probabilities=np.full((3, 3), 1 / 3)), 0)

    lines = generate_latest(metrics.registry).decode().splitlines()
    found = [line.rpartition(" ")[2] for line in lines if line.startswith("model_feature_missing_total{")]
    assert found == ["2.0", "0.0"]
