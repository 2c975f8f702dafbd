"""What was counted, in words: value, bounds, labels, stable's value, for events and for whoever asks why.

One clause per gate; nothing here decides.
"""

from __future__ import annotations

from collections.abc import Iterable

from pilotage.api.types import GateResult, RolloutRecord, WaveEvidence
from pilotage.gate import Outcome
from pilotage.plan.looks import evidence_of
from pilotage.plan.scene import Draft


def in_words(gates: Iterable[GateResult]) -> str:
    """`recall-of-8 0.931 [0.902, 0.953], stable 0.934, 1204 labels (stable 9310); …`."""
    return "; ".join(_clause(gate) for gate in gates)


def why_ended(draft: Draft, rollout: RolloutRecord) -> str:
    """What the gates had counted when it ended: of the wave that failed, else of the last one; empty without any."""
    entries = [entry for wave in rollout.waves if (entry := evidence_of(draft, rollout, wave.name)) is not None]
    if not entries:
        return ""
    failed = next((entry for entry in entries if entry.verdict == Outcome.FAIL), entries[-1])
    counted = [gate for gate in failed.gates if gate.labels_canary or gate.labels_stable]
    if not counted:
        return f"wave {failed.wave}: no label was counted"
    return f"wave {failed.wave}: {in_words(_worst_first(counted))}"


def passed(entry: WaveEvidence) -> str:
    """Why a wave passed."""
    deciding = [gate for gate in entry.gates if gate.verdict == Outcome.PASS and not gate.advisory]
    told = [gate for gate in entry.gates if gate not in deciding]
    said = f"every gate passed: {in_words(deciding)}"
    return f"{said}. Not needed for it: {in_words(told)}" if told else said


def _worst_first(gates: list[GateResult]) -> list[GateResult]:
    order = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.INSUFFICIENT_DATA, Outcome.PASS, Outcome.NOT_APPLICABLE)
    return sorted(gates, key=lambda gate: order.index(Outcome(gate.verdict)))


def _clause(gate: GateResult) -> str:
    labels = f"{gate.labels_canary} labels (stable {gate.labels_stable})" if gate.labels_stable else None
    labels = labels or f"{gate.labels_canary} labels"
    verdict = "" if gate.verdict == Outcome.PASS else f" {gate.verdict}"
    if gate.estimate is None:
        return f"{gate.name}{verdict}, {labels}"
    bounds = f" [{gate.lower:.3f}, {gate.upper:.3f}]" if gate.lower is not None and gate.upper is not None else ""
    against = f", stable {gate.stable:.3f}" if gate.stable is not None else ""
    return f"{gate.name}{verdict} {gate.estimate:.3f}{bounds}{against}, {labels}"
