"""From what is remembered to a verdict: fail before pass before not enough before undecided.

Pass needs every test of every gate (intersection–union: alpha each). Fail needs the weighted sum over all fail
processes to reach 1/beta. Guards only ever withhold a verdict, so they cannot void a guarantee.
Source: design.md §7, statistics.md §5.1, §5.2, §5.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any, Final

from pilotage.gate.advance import Tests, labels_by_cluster
from pilotage.gate.hypotheses import Hypothesis, Kind, Scope
from pilotage.gate.process import ProcessState
from pilotage.gate.report import Bounds, canary_value, reason_of_failure, stable_value
from pilotage.gate.spec import AnalysisSpec, GateSpec
from pilotage.gate.state import GateMemory, Memory
from pilotage.gate.verdict import GateVerdict, Outcome, Verdict

_FAIL_NEEDS: Final = 10
_STEP_NEEDS: Final = 50
_OVERFLOW: Final = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one fail process adds to the wave's sum."""

    gate: str
    test: Hypothesis
    scope: Scope
    weight: float


def charges(memory: Memory, tests: Tests, settings: AnalysisSpec) -> list[Charge]:
    """Every fail process with its share of the budget times its e-value; too few labels count as none."""
    needed = min(_FAIL_NEEDS, settings.min_samples)
    found = []
    for name, gate in memory.gates.items():
        for test in tests[name]:
            state = gate.tests[test.kind.value]
            for index, scope in enumerate(test.scopes):
                if _labels(gate, scope) < needed:
                    continue
                weight = scope.fail_share / memory.waves * exp(min(state.log_e_fail(index), _OVERFLOW))
                found.append(Charge(gate=name, test=test, scope=scope, weight=weight))
    return found


def latched_failure(
    memory: Memory, gates: Sequence[GateSpec], tests: Tests, settings: AnalysisSpec
) -> Mapping[str, Any] | None:
    """What to remember for ever if the wave has failed at this look: when, which gates, and why, in today's numbers.

    Guilty are the gate of the heaviest process and every gate that would have failed the wave alone.
    """
    found = charges(memory, tests, settings)
    if sum(charge.weight for charge in found) < 1 / settings.beta:
        return None
    by_gate = {gate.name: [charge for charge in found if charge.gate == gate.name] for gate in gates}
    heaviest = max(found, key=lambda charge: charge.weight)
    reasons = {}
    for gate in gates:
        own = by_gate[gate.name]
        if gate.name == heaviest.gate or sum(charge.weight for charge in own) >= 1 / settings.beta:
            worst = max(own, key=lambda charge: charge.weight)
            reasons[gate.name] = reason_of_failure(
                gate, memory, memory.gates[gate.name], kind=worst.test.kind, scope=worst.scope.name
            )
    return {"at": memory.at, "gate": heaviest.gate, "reasons": reasons}


def judge(memory: Memory, gates: Sequence[GateSpec], settings: AnalysisSpec, tests: Tests) -> Verdict:
    """The verdict of this wave over all its gates."""
    verdicts = {
        gate.name: _judge_gate(gate, memory, memory.gates[gate.name], tests[gate.name], settings) for gate in gates
    }
    state, reason = _overall(memory, verdicts)
    return Verdict(
        state=state,
        reason=reason,
        gates=verdicts,
        fail_weight=sum(charge.weight for charge in charges(memory, tests, settings)),
        alpha=settings.alpha,
        beta=settings.beta,
        step_ready=all(v.step_labels["canary"] >= settings.min_samples for v in verdicts.values()),
        coverage=_coverage(memory),
    )


def _overall(memory: Memory, verdicts: Mapping[str, GateVerdict]) -> tuple[Outcome, str]:
    if memory.failed is not None:
        gate = memory.failed["gate"]
        return Outcome.FAIL, f"{gate}: {memory.failed['reasons'][gate]}"
    if not memory.stable:
        return Outcome.INCONCLUSIVE, "there is no stable revision: gates report and do not decide"
    for state in (Outcome.INSUFFICIENT_DATA, Outcome.INCONCLUSIVE):
        waiting = [f"{v.name}: {v.reason}" for v in verdicts.values() if v.state is state]
        if waiting:
            return state, "; ".join(waiting)
    return Outcome.PASS, "every gate passes"


def _judge_gate(
    gate: GateSpec, memory: Memory, held: GateMemory, tests: Sequence[Hypothesis], settings: AnalysisSpec
) -> GateVerdict:
    state, reason = _outcome(gate, memory, held, tests, settings)
    passed = frozenset(test.kind for test in tests if _passes(held.tests[test.kind.value]))
    canary, stable = labels_by_cluster(held.total, len(memory.shares))
    log_e_pass = min((s.log_e_pass for s in held.tests.values()), default=0.0)
    return GateVerdict(
        name=gate.name,
        title=gate.title,
        state=state,
        reason=reason,
        estimate=canary_value(memory, held),
        stable=stable_value(memory, held),
        floor=gate.floor,
        margin=gate.margin,
        log_e_pass=log_e_pass,
        log_e_fail=max((s.log_e_fail(i) for s in held.tests.values() for i in range(len(s.scopes))), default=0.0),
        labels={
            "stable": dict(zip(memory.shares, stable, strict=True)),
            "canary": dict(zip(memory.shares, canary, strict=True)),
        },
        step_labels={"stable": sum(stable) - held.step_from[1], "canary": sum(canary) - held.step_from[0]},
        blocks=sum(scope.blocks for s in held.tests.values() for scope in s.scopes),
        eta=None if state is not Outcome.INCONCLUSIVE else _eta(memory, held, log_e_pass, settings.alpha),
        bounds=Bounds(gate=gate, memory=memory, held=held, settings=settings, passed=passed),
    )


def _outcome(
    gate: GateSpec, memory: Memory, held: GateMemory, tests: Sequence[Hypothesis], settings: AnalysisSpec
) -> tuple[Outcome, str]:
    if memory.failed is not None and gate.name in memory.failed["reasons"]:
        return Outcome.FAIL, memory.failed["reasons"][gate.name]
    if not memory.stable:
        if gate.margin is not None:
            return Outcome.NOT_APPLICABLE, "there is no stable revision to compare with"
        return Outcome.INCONCLUSIVE, "a first deployment: the floor is reported and does not decide"
    missing = _missing(memory, held, tests, settings)
    if missing is not None:
        return Outcome.INSUFFICIENT_DATA, missing
    waiting = _waiting(memory, held, settings)
    if waiting is not None:
        return Outcome.INCONCLUSIVE, waiting
    return Outcome.PASS, "the evidence rules out that the gate is violated"


def _missing(memory: Memory, held: GateMemory, tests: Sequence[Hypothesis], settings: AnalysisSpec) -> str | None:
    """Why there is too little to speak of an answer, or None."""
    canary, stable = labels_by_cluster(held.total, len(memory.shares))
    arms = {"canary": sum(canary)} | ({"stable": sum(stable)} if any(t.kind is Kind.MARGIN for t in tests) else {})
    for arm, labels in arms.items():
        if labels < settings.min_samples:
            return f"{labels} of {settings.min_samples} matured labels of the {arm}"
    if any(state.blocks == 0 for state in held.tests.values()):
        absent = sorted({_place(memory, held, i) for t in tests for i in t.scopes[0].strata if held.total.n[i] == 0})
        if absent:
            return f"no matured label yet of {', '.join(absent[:3])}" + (" and others" if len(absent) > 3 else "")
        return "no block closed yet: fewer than 5 matured labels somewhere"
    return None


def _waiting(memory: Memory, held: GateMemory, settings: AnalysisSpec) -> str | None:
    """What keeps a gate with enough labels from passing, or None."""
    if not all(_passes(state) for state in held.tests.values()):
        return "enough labels, not decided yet"
    canary, _ = labels_by_cluster(held.total, len(memory.shares))
    if memory.starts > 1:
        if any(state.step_blocks == 0 for state in held.tests.values()):
            return "no block closed since the weight changed"
        since, needed = sum(canary) - held.step_from[0], min(_STEP_NEEDS, settings.min_samples)
        if since < needed:
            return f"{since} of {needed} matured labels of the canary since the weight changed"
    lasted = 0.0 if memory.at is None or memory.began is None else memory.at - memory.began
    if lasted < settings.min_duration_s:
        return f"{lasted:.0f} of {settings.min_duration_s:.0f} s of evidence"
    return None


def _passes(state: ProcessState) -> bool:
    return state.latched and state.log_e_pass >= 0


def _labels(gate: GateMemory, scope: Scope) -> int:
    """Labels of the arm that has fewest in this scope."""
    n = gate.total.n
    arms: dict[bool, int] = {}
    for index, coefficient in zip(scope.strata, scope.coefficients, strict=True):
        arms[coefficient > 0] = arms.get(coefficient > 0, 0) + n[index]
    return min(arms.values())


def _place(memory: Memory, held: GateMemory, index: int) -> str:
    size = len(held.total.n) // len(memory.shares) // 2
    cluster = tuple(memory.shares)[index // (2 * size)]
    arm = "canary" if index % (2 * size) < size else "stable"
    row = f" {memory.classes[index % size]!r}" if size > 1 else ""
    return f"{arm}{row} in {cluster}"


def _eta(memory: Memory, held: GateMemory, log_e_pass: float, alpha: float) -> float | None:
    if memory.at is None or not held.trail:
        return None
    at, value = held.trail[0]
    if memory.at <= at or log_e_pass <= value:
        return None
    missing = log(1 / alpha) - log_e_pass
    return max(0.0, missing) * (memory.at - at) / (log_e_pass - value)


def _coverage(memory: Memory) -> dict[str, dict[str, float | None]]:
    def share(labels: int, served: int) -> float | None:
        return labels / served if served else None

    return {
        "stable": {name: share(t.stable_labels, t.stable_served) for name, t in memory.traffic.items()},
        "canary": {name: share(t.canary_labels, t.canary_served) for name, t in memory.traffic.items()},
    }
