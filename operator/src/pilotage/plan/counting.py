"""Between gates and evidence: what the gates need counted, and counts as the gate takes them.

Only what some gate asks for is asked of a Prometheus; only what a gate of this analysis takes is handed on. Decides
nothing and knows no wave, window or time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pilotage.evidence.reading import Baseline, Block, Confusion, Counts, Foreign, Needs
from pilotage.gate import Analysis, GateSpec, Labels, Metric

_OF_REQUESTS = frozenset({Metric.ERROR_RATE, Metric.LATENCY})
_RANKED = frozenset({Metric.ROC_AUC, Metric.PR_AUC})
_ROLES = frozenset({"tp", "fp", "fn", "tn"})


def needs_of(analysis: Analysis) -> Needs:
    """What is asked of a cluster's Prometheus in every block."""
    ours = [gate for gate in analysis.gates if gate.counts is None]
    metrics = {gate.metric for gate in ours}
    bounds = {gate.bound_s for gate in ours if gate.metric is Metric.LATENCY and gate.bound_s is not None}
    return Needs(
        audit=any(gate.labels is Labels.AUDIT for gate in ours),
        scores=bool(metrics & _RANKED),
        loss=Metric.LOG_LOSS in metrics,
        served=True,
        errors=Metric.ERROR_RATE in metrics,
        within=tuple(sorted(bounds)),
        inputs=True,
        confidence=Metric.CONFIDENCE_SHIFT in metrics,
        foreign=tuple(
            Foreign(
                gate=gate.name, selectors=tuple(sorted(gate.counts.items())), by_label=gate.metric not in _OF_REQUESTS
            )
            for gate in analysis.gates
            if gate.counts is not None
        ),
    )


def needs_of_history(analysis: Analysis) -> Needs:
    """What is asked of stable's past: no rows and bins, which are compared inside a block alone."""
    needs = needs_of(analysis)
    return Needs(
        audit=needs.audit,
        scores=needs.scores,
        loss=needs.loss,
        errors=needs.errors,
        within=needs.within,
        foreign=needs.foreign,
    )


def exports_of(analysis: Analysis) -> tuple[str, ...]:
    """What the collector is told to count besides, as it names it; sorted."""
    needs = needs_of(analysis)
    wanted = {"audit": needs.audit, "loss": needs.loss, "scores": needs.scores}
    return tuple(name for name, needed in wanted.items() if needed)


def disagreements(analysis: Analysis) -> tuple[str, ...]:
    """What is wrong with gates that share one exporter's confusion counts: these can only be one table."""
    sharing = [gate for gate in analysis.gates if _is_table(gate)]
    problems = []
    for gate in sharing[1:]:
        if gate.counts != sharing[0].counts:
            path = f"spec.gates[{analysis.gates.index(gate)}].counts"
            remedy = f"tp, fp, fn and tn are one table for all gates; write those of {sharing[0].name}"
            problems.append(f"{path}: {remedy}")
    named = {gate.class_name for gate in sharing if gate.class_name is not None}
    if len(named) > 1:
        said = " and ".join(sorted(named))
        problems.append(f"spec.gates: tp, fp, fn and tn count one class; the gates with counts name {said}")
    return tuple(problems)


def history_of(analysis: Analysis, baseline: Baseline) -> list[dict[str, Any]]:
    """Stable's counts before a wave: labels as one whole, requests in parts, between which their dispersion shows."""
    whole = arm(analysis, baseline.history, baseline.classes)
    parts = [part for each in baseline.parts if (part := arm(analysis, each).get("proportions"))]
    if not parts:
        return [whole]
    foreign = {name: counts for name, counts in whole.pop("proportions", {}).items() if name not in parts[0]}
    return [whole | ({"proportions": foreign} if foreign else {}), *({"proportions": part} for part in parts)]


def arms(analysis: Analysis, block: Block) -> dict[str, dict[str, Any]]:
    """One cluster's part of a gate's block."""
    stable = {"stable": arm(analysis, block.stable, block.classes)} if block.query.stable is not None else {}
    return stable | {"canary": arm(analysis, block.canary, block.classes)}


def arm(analysis: Analysis, counts: Counts, classes: tuple[str, ...] = ()) -> dict[str, Any]:
    """One arm's counts by the gate's names; what was not counted is left out."""
    loss = counts.loss
    found: dict[str, Any] = {
        "confusion": _table(analysis, counts, classes),
        "audit": counts.audit,
        "late": counts.late,
        "served": counts.served,
        "inputs": counts.inputs,
        "confidence": counts.confidence,
        "buckets": counts.scores,
        "proportions": dict(_proportions(analysis, counts)),
        "means": {
            gate.name: {"count": loss.count, "sum": loss.sum, "sumsq": loss.sumsq}
            for gate in analysis.gates
            if loss is not None and gate.metric is Metric.LOG_LOSS
        },
    }
    return {name: counted for name, counted in found.items() if counted or name == "confusion"}


def note_on(gate: GateSpec, edges: Mapping[float, float]) -> str:
    """How a gate's counts were made, where that differs from what was asked for."""
    edge = edges.get(gate.bound_s) if gate.metric is Metric.LATENCY and gate.bound_s is not None else None
    if edge is None:
        return ""
    return f"counts requests under {edge:g} s: {gate.bound_s:g} s is no edge of the histogram, and rounds down to it"


def _table(analysis: Analysis, counts: Counts, classes: tuple[str, ...]) -> Confusion:
    """Our confusion cells, or an exporter's four in their place: its class against any other."""
    sharing = [gate for gate in analysis.gates if _is_table(gate) and gate.name in counts.foreign]
    if not sharing:
        return counts.confusion
    cells = counts.foreign[sharing[0].name]
    it = next((gate.class_name for gate in sharing if gate.class_name is not None), classes[0] if classes else "")
    rest = next((name for name in classes if name != it), "")
    return {it: {it: cells["tp"], rest: cells["fn"]}, rest: {it: cells["fp"], rest: cells["tn"]}}


def _is_table(gate: GateSpec) -> bool:
    return gate.counts is not None and gate.counts.keys() == _ROLES


def _proportions(analysis: Analysis, counts: Counts) -> Iterator[tuple[str, dict[str, int]]]:
    for gate in analysis.gates:
        found: tuple[int, int] | None = None
        if gate.metric not in _OF_REQUESTS:
            continue
        if gate.counts is not None:
            counted = counts.foreign.get(gate.name)
            found = (counted["successes"], counted["trials"]) if counted else None
        elif gate.metric is Metric.ERROR_RATE:
            found = counts.requests
        elif gate.bound_s is not None:
            found = counts.within.get(gate.bound_s)
        if found is not None:
            yield gate.name, {"successes": found[0], "trials": found[1]}
