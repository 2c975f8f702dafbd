"""A verdict as it is written down: estimates, bounds and labels per gate, and what they do not rest on.

What people read in the ModelRevision and nothing decides on but by its words. Knows no wave and no reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pilotage.api.types import Difference, EvidenceCondition, GateResult, WaveEvidence
from pilotage.gate import GateSpec, GateVerdict, Mode, Verdict
from pilotage.plan.counting import note_on

_MOST_REASON, _MOST_MESSAGE = 2048, 1024
"""What the CRD takes: a longer text would make every write of the status fail."""


def judged(
    entry: WaveEvidence, verdict: Verdict, gates: Iterable[GateSpec], edges: Mapping[float, float]
) -> WaveEvidence:
    """The evidence with what the verdict says; `edges`: latency bounds that were rounded down."""
    specs = {gate.name: gate for gate in gates}
    notes = {gate.name: gate.note for gate in entry.gates}  # a look without news has no edges to tell
    results = tuple(
        _result(gate, _note(gate, specs[gate.name], edges) or notes.get(gate.name, ""), specs[gate.name])
        for gate in verdict.gates.values()
    )
    broken = tuple(
        EvidenceCondition(type=str(breach.condition), message=breach.reason[:_MOST_MESSAGE])
        for breach in verdict.breaches
        if not breach.suspected
    )
    return replace(
        entry,
        verdict=str(verdict.state),
        reason=verdict.reason[:_MOST_REASON],
        step_ready=verdict.step_ready,
        gates=results,
        conditions=broken,
    )


def watched(
    entry: WaveEvidence, verdict: Verdict, gates: Iterable[GateSpec], edges: Mapping[float, float]
) -> WaveEvidence:
    """Figures as they are now under the verdict that was decided on."""
    found = judged(entry, verdict, gates, edges)
    now = {gate.name: gate for gate in found.gates}
    kept = tuple(
        replace(now[gate.name], verdict=gate.verdict, reason=gate.reason) if gate.name in now else gate
        for gate in entry.gates
    )
    return replace(entry, gates=kept, conditions=found.conditions)


def _result(gate: GateVerdict, note: str, spec: GateSpec) -> GateResult:
    difference = gate.difference
    return GateResult(
        name=gate.name,
        verdict=str(gate.state),
        reason=gate.reason[:_MOST_MESSAGE],
        estimate=_short(gate.estimate),
        lower=_short(gate.lower),
        upper=_short(gate.upper),
        log_e_pass=_short(gate.log_e_pass),
        log_e_fail=_short(gate.log_e_fail),
        labels_stable=sum(gate.labels["stable"].values()),
        labels_canary=sum(gate.labels["canary"].values()),
        stable=_short(gate.stable),
        difference=None
        if difference is None
        else Difference(**{bound: _short(difference.get(bound)) for bound in ("estimate", "lower", "upper")}),
        advisory=spec.mode is Mode.ADVISORY,
        eta_s=None if gate.eta is None else float(round(gate.eta)),
        note=note,
    )


def _note(gate: GateVerdict, spec: GateSpec, edges: Mapping[float, float]) -> str:
    """What the figures rest on, beyond counting."""
    if gate.binning is not None:
        return f"scores are counted in buckets: the area is known to {gate.binning:.1g}"
    return note_on(spec, edges)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
