"""What gates need is asked for, and what was counted reaches the gates under their own names."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.api.types import WaveEvidence
from pilotage.evidence.reading import (
    Baseline,
    BaselineQuery,
    Block,
    BlockQuery,
    Boundary,
    Counts,
    Loss,
    Needs,
    Window,
)
from pilotage.gate import Analysis
from pilotage.plan.counting import arms, disagreements, exports_of, history_of, needs_of, note_on
from pilotage.plan.results import judged

TABLE = {role: f'outside_total{{cell="{role}",version="$revision"}}' for role in ("tp", "fp", "fn", "tn")}


def an_analysis(*gates: dict[str, Any]) -> Analysis:
    return Analysis.from_spec({"gates": [{"name": f"gate-{n}", **gate} for n, gate in enumerate(gates)]})


@pytest.mark.parametrize(
    ("gate", "wanted"),
    [
        ({"metric": "accuracy", "floor": 0.9}, Needs(served=True, inputs=True)),
        (
            {"metric": "recall", "class": "a", "floor": 0.9, "labels": "audit"},
            Needs(served=True, inputs=True, audit=True),
        ),
        ({"metric": "rocAuc", "class": "a", "floor": 0.9}, Needs(served=True, inputs=True, scores=True)),
        ({"metric": "logLoss", "ceiling": 0.9}, Needs(served=True, inputs=True, loss=True)),
        ({"metric": "errorRate", "ceiling": 0.1}, Needs(served=True, inputs=True, errors=True)),
        ({"metric": "latency", "bound": "250ms", "floor": 0.9}, Needs(served=True, inputs=True, within=(0.25,))),
        ({"metric": "confidenceShift", "margin": 0.1}, Needs(served=True, inputs=True, confidence=True)),
    ],
    ids=lambda value: value.get("metric") if isinstance(value, dict) else "",
)
def test_each_metric_asks_for_its_own_counters_and_no_others(gate: dict[str, Any], wanted: Needs) -> None:
    assert needs_of(an_analysis(gate)) == wanted


def test_the_collector_is_told_what_costs_many_series() -> None:
    everything = an_analysis(
        {"metric": "prAuc", "class": "a", "floor": 0.5},
        {"metric": "logLoss", "ceiling": 1},
        {"metric": "accuracy", "floor": 0.5, "labels": "audit"},
    )

    assert exports_of(everything) == ("audit", "loss", "scores")
    assert exports_of(an_analysis({"metric": "accuracy", "floor": 0.5})) == ()


def test_every_kind_of_count_reaches_the_gate_that_takes_it() -> None:
    analysis = an_analysis(
        {"metric": "accuracy", "margin": 0.1},
        {"metric": "errorRate", "ceiling": 0.1},
        {"metric": "latency", "bound": "250ms", "floor": 0.9},
        {"metric": "logLoss", "margin": 0.1},
    )
    counts = Counts(
        confusion={"a": {"a": 3}},
        audit={"a": {"a": 1}},
        late={"10": 2},
        scores={"a": {"0": (0,) * 50, "1": (1,) * 50}},
        loss=Loss(count=3, sum=1.5, sumsq=1.0),
        served={"a": 9},
        requests=(9, 10),
        within={0.25: (8, 10)},
        inputs={"age": (4, 5)},
        confidence=(9,) + (0,) * 19,
    )

    found = arms(analysis, a_block(canary=counts))

    assert found["canary"] == {
        "confusion": {"a": {"a": 3}},
        "audit": {"a": {"a": 1}},
        "late": {"10": 2},
        "served": {"a": 9},
        "inputs": {"age": (4, 5)},
        "confidence": (9,) + (0,) * 19,
        "buckets": {"a": {"0": (0,) * 50, "1": (1,) * 50}},
        "proportions": {"gate-1": {"successes": 9, "trials": 10}, "gate-2": {"successes": 8, "trials": 10}},
        "means": {"gate-3": {"count": 3, "sum": 1.5, "sumsq": 1.0}},
    }
    assert found["stable"] == {"confusion": {}}
    state = analysis.start(["a", "b"], {"aws": 1.0})
    assert analysis.update(state, {"at": 1.0, "clusters": {"aws": found}})


def test_history_is_labels_as_a_whole_and_requests_in_parts() -> None:
    analysis = an_analysis({"metric": "accuracy", "margin": 0.1}, {"metric": "errorRate", "margin": 0.1})
    query = BaselineQuery(cluster="aws", namespace="models", model="digits", stable="v1")
    history = Counts(confusion={"a": {"a": 5}}, requests=(20, 21))
    parts = tuple(Counts(requests=(10, 10 + n)) for n in (0, 1))

    found = history_of(analysis, Baseline(query=query, rows=1, history=history, parts=parts))

    assert found[0] == {"confusion": {"a": {"a": 5}}}
    assert [each["proportions"]["gate-1"]["trials"] for each in found[1:]] == [10, 11]


def test_an_exporters_four_cells_stand_in_for_ours() -> None:
    analysis = an_analysis(
        {"metric": "f1", "class": "b", "floor": 0.5, "counts": TABLE},
        {"metric": "accuracy", "floor": 0.5, "counts": TABLE},
    )
    counts = Counts(
        confusion={"a": {"a": 999}},
        foreign={name: {"tp": 1, "fp": 2, "fn": 3, "tn": 4} for name in ("gate-0", "gate-1")},
    )

    found = arms(analysis, a_block(canary=counts))

    assert found["canary"]["confusion"] == {"b": {"b": 1, "a": 3}, "a": {"b": 2, "a": 4}}
    assert needs_of(analysis).foreign[0].by_label


def test_two_tables_cannot_be_one() -> None:
    other = {**TABLE, "tp": 'another_total{version="$revision"}'}
    analysis = an_analysis(
        {"metric": "recall", "class": "a", "floor": 0.5, "counts": TABLE},
        {"metric": "recall", "class": "b", "floor": 0.5, "counts": other},
    )

    first, second = disagreements(analysis)

    assert first == "spec.gates[1].counts: tp, fp, fn and tn are one table for all gates; write those of gate-0"
    assert "the gates with counts name a and b" in second


def test_a_bound_that_was_rounded_is_told_at_its_gate() -> None:
    (gate,) = an_analysis({"metric": "latency", "bound": "250ms", "floor": 0.9}).gates

    assert note_on(gate, {0.25: 0.2}).startswith("counts requests under 0.2 s: 0.25 s is no edge")
    assert note_on(gate, {}) == ""


def test_a_note_stays_while_looks_have_nothing_new_to_tell() -> None:
    analysis = an_analysis({"metric": "latency", "bound": "250ms", "floor": 0.9})
    state = analysis.start(["a", "b"], {"aws": 1.0})
    entry = WaveEvidence(wave="first", step=0, state=state.to_dict(), clusters=("aws",))

    told = judged(entry, analysis.verdict(state), analysis.gates, {0.25: 0.2})
    again = judged(told, analysis.verdict(state), analysis.gates, {})

    assert "0.25 s is no edge" in again.gates[0].note


def test_an_area_says_what_its_buckets_hide() -> None:
    analysis = an_analysis({"metric": "rocAuc", "class": "a", "floor": 0.6})
    scores = {"a": {"0": [30, *[0] * 49], "1": [30, 30, *[0] * 48]}}
    state = analysis.update(
        analysis.start(["a", "b"], {"aws": 1.0}), {"at": 0.0, "clusters": {"aws": {"canary": {"buckets": scores}}}}
    )
    entry = WaveEvidence(wave="first", step=0, state=state.to_dict(), clusters=("aws",))

    told = judged(entry, analysis.verdict(state), analysis.gates, {})

    assert told.gates[0].note == "scores are counted in buckets: the area is known to 0.2"


def a_block(*, canary: Counts) -> Block:
    query = BlockQuery(
        cluster="aws",
        namespace="models",
        model="digits",
        wave="first",
        stable="v1",
        canary="v2",
        window=Window(step=0, opens=0.0, closes=None),
        since=None,
        label_delay_s=1.0,
    )
    return Block(query=query, boundary=Boundary(at=1.0, checksum=""), canary=canary, classes=("a", "b"))
