"""What one scrape holds: the format others read, the series budget, and a page that costs little."""

import math
import re
import time

import numpy as np
import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector

from pilotage_server.feedback.collector.exposition import SERIES_BUDGET, Exposition
from pilotage_server.feedback.collector.settings import CollectorConfig, Export, Omit
from pilotage_server.feedback.collector.snapshot import Cell, Counts, RevisionCounts, Snapshot
from pilotage_server.feedback.collector.text import Family, Kind, labelled, page
from pilotage_server.feedback.collector.window import WINDOW_LABELS, Window, packed
from pilotage_server.feedback.probabilities import LETTERS
from pilotage_server.feedback.results import Result

AWKWARD = ("plain", 'say "hi"', "back\\slash", "new\nline", "größe", "")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def a_config(*export, omit=()):
    return CollectorConfig(
        model="pets",
        namespace="models",
        cluster="aws",
        label_delay_s=60,
        export=frozenset(export),
        omit=frozenset(omit),
    )


def a_revision(name, classes, seen_ms=0):
    """A revision that is busy in every counter, with a full window of rows that kept their buckets."""
    rng = np.random.default_rng(seen_ms)
    rows = zip(
        rng.integers(classes, size=WINDOW_LABELS).tolist(),
        rng.integers(classes, size=WINDOW_LABELS).tolist(),
        rng.integers(50, size=(WINDOW_LABELS, classes)).tolist(),
        strict=True,
    )
    window = b"".join(
        packed((given, predicted, 700_000, 400_000, bytes(LETTERS[b] for b in buckets).decode()), classes)
        for given, predicted, buckets in rows
    )
    cells = {(actual, predicted): Cell(5, 3, 1) for actual in range(classes) for predicted in range(classes)}
    return RevisionCounts(
        revision=name,
        classes=tuple(f"c{n:02}" for n in range(classes)),
        seen_ms=seen_ms,
        counts=Counts(cells=cells),
        window=Window(classes, window),
    )


def a_snapshot(*revisions):
    return Snapshot(
        ledger="l",
        born_ms=0,
        label_delay_ms=60_000,
        counted_until_ms=10**12,
        revisions=revisions,
        others=dict.fromkeys(Result, 0),
    )


def rendered(snapshot, config, accept=""):
    return Exposition(lambda: config, lambda: snapshot).render(accept)[0].decode()


def shown(text):
    return set(re.findall(r'revision="([^"]+)"', text))


class Twin(Collector):
    """The same families through the client library of Prometheus."""

    def collect(self):
        labels = ("model", "class")
        counter = CounterMetricFamily("model_counter", "Counts \\ of\nthings.", labels=labels)
        gauge = GaugeMetricFamily("model_gauge", "A gauge.", labels=labels)
        summary = SummaryMetricFamily("model_summary", "A summary.", labels=labels)
        histogram = HistogramMetricFamily("model_seconds", "A histogram.", labels=labels)
        for n, name in enumerate(AWKWARD):
            counter.add_metric(("pets", name), n)
            gauge.add_metric(("pets", name), [0.5, math.nan, math.inf, -math.inf, 1e-9, 3][n])
            summary.add_metric(("pets", name), count_value=n, sum_value=n / 8)
            histogram.add_metric(("pets", name), [("60.0", n), ("+Inf", 2 * n)], n / 8)
        return [counter, gauge, summary, histogram]


def ours(is_openmetrics):
    families: dict[Family, list[str]] = {
        Family("model_counter", Kind.COUNTER, "Counts \\ of\nthings."): [],
        Family("model_gauge", Kind.GAUGE, "A gauge."): [],
        Family("model_summary", Kind.SUMMARY, "A summary."): [],
        Family("model_seconds", Kind.HISTOGRAM, "A histogram."): [],
    }
    counter, gauge, summary, histogram = families
    for n, name in enumerate(AWKWARD):
        labels = labelled(model="pets", class_=name)
        families[counter].append(counter.line(labels, n))
        families[gauge].append(gauge.line(labels, [0.5, math.nan, math.inf, -math.inf, 1e-9, 3][n]))
        families[summary] += [summary.line(labels, n, "_count"), summary.line(labels, n / 8, "_sum")]
        families[histogram] += [
            *(histogram.line(f"{labels},{labelled(le=le)}", v, "_bucket") for le, v in (("60.0", n), ("+Inf", 2 * n))),
            histogram.line(labels, 2 * n, "_count"),
            histogram.line(labels, n / 8, "_sum"),
        ]
    return page(families, is_openmetrics=is_openmetrics)


def parsed(families):
    """What a reader makes of it; NaN is equal to itself here."""
    return [
        (family.name, family.type, family.documentation, sample.name, sample.labels, str(float(sample.value)))
        for family in families
        for sample in family.samples
    ]


def test_the_page_says_what_prometheus_own_client_would_say():
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Twin())

    assert parsed(parse_text(ours(False))) == parsed(parse_text(generate_latest(registry).decode()))
    assert parsed(parse_openmetrics(ours(True) + "# EOF\n")) == parsed(
        parse_openmetrics(generate_openmetrics(registry).decode())
    )


def test_integers_stay_exact_however_large():
    family = Family("model_sum", Kind.COUNTER, "A sum.")

    assert family.line("", 2**80 + 1).endswith(f" {2**80 + 1}")


@pytest.mark.parametrize(("classes", "fits"), [(2, 80), (10, 16), (30, 3), (100, 3)])
def test_the_series_budget_shows_the_last_announced_revisions_and_never_fewer_than_three(classes, fits):
    one = a_revision("r", classes)
    many = [
        RevisionCounts(revision=f"r{n}", classes=one.classes, seen_ms=n, counts=one.counts, window=one.window)
        for n in range(80)
    ]

    text = rendered(a_snapshot(*many), a_config())

    assert shown(text) == {"other"} | {f"r{n}" for n in range(80 - fits, 80)}


def test_what_three_revisions_alone_exceed_is_said_once_with_the_remedy_and_nothing_is_withheld():
    snapshot, config = a_snapshot(*[a_revision(f"r{n}", 60, seen_ms=n) for n in range(4)]), a_config(Export.AUDIT)
    exposition = Exposition(lambda: config, lambda: snapshot)

    with structlog.testing.capture_logs() as logs:
        text = exposition.render()[0].decode()
        exposition.render()

    assert shown(text) == {"r1", "r2", "r3", "other"}
    told = [(one["event"], one["revision"], one["budget"], one["omit"]) for one in logs]
    assert told == [("collector.too_many_series", revision, SERIES_BUDGET, ["quality"]) for revision in ("r2", "r1")]
    assert all("spec.feedback.omit" in one["remedy"] for one in logs)


@pytest.mark.parametrize(
    ("word", "family"),
    [
        (Omit.QUALITY, "model_quality"),
        (Omit.COHORTS, "model_cohort_outcomes"),
        (Omit.CONFUSION, "model_confusion"),
        (Omit.SCORES, "model_score_outcomes"),
        (Omit.SLICES, "model_slice_outcomes"),
    ],
)
def test_what_nobody_wants_can_be_left_out_and_nothing_else_goes_with_it(word, family):
    snapshot = a_snapshot(a_revision("r", 3))

    def names(config):
        return {one.name for one in parse_text(rendered(snapshot, config))}

    gone = names(a_config(*Export)) - names(a_config(*Export, omit=[word]))

    assert family in gone
    assert gone <= {family, f"{family}_labels"}


@pytest.mark.parametrize(
    ("classes", "absent"),
    [
        (10, set()),
        (11, {"model_score_outcomes"}),
        (31, {"model_score_outcomes", "model_cohort_outcomes", "model_confusion"}),
    ],
)
def test_wide_models_lose_what_only_people_read_and_keep_what_gates_read(classes, absent):
    text = rendered(a_snapshot(a_revision("r", classes)), a_config(*Export))

    sized = {family.name for family in parse_text(text) if family.samples}
    people = {"model_score_outcomes", "model_cohort_outcomes", "model_confusion"}
    assert people - sized == absent
    assert {"pilotage_matured_labels", "pilotage_matured_scores", "pilotage_matured_audit"} <= sized


def test_a_scrape_of_ten_classes_costs_under_ten_milliseconds_and_half_a_megabyte():
    """With every counter on, for a window nobody has looked at before; the best of three, as machines are shared."""
    took = []
    for attempt in range(3):
        snapshot = a_snapshot(a_revision("r", 10, seen_ms=attempt))
        start = time.process_time()
        text = rendered(snapshot, a_config(*Export), OPENMETRICS)
        took.append(time.process_time() - start)

    assert min(took) < 0.010
    assert len(text) < 500_000
    assert sum(not line.startswith("#") for line in text.splitlines()) < 3_000
