"""The fail side's account: what every fail process adds to the wave's sum, and what a failure is remembered by.

Σ w E over all processes (test × {mix, cluster} × start) has expectation at most beta's share of this wave while every
gate is kept, so the wave fails when it reaches 1/beta: at least as soon as Bonferroni, and no independence is needed.
Source: design.md §7, statistics.md §1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any, Final

from pilotage.gate.conditions import Breach
from pilotage.gate.denominators import labels_in
from pilotage.gate.engine import Kind, Scope, Test
from pilotage.gate.hypotheses import Tests
from pilotage.gate.memory import Memory
from pilotage.gate.report import reason_of_failure
from pilotage.gate.spec import AnalysisSpec, GateSpec

_FAIL_NEEDS: Final = 10
_OVERFLOW: Final = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one fail process adds to the wave's sum."""

    gate: GateSpec
    test: Test
    scope: Scope
    weight: float


def fail_weight_of(
    memory: Memory,
    gates: Sequence[GateSpec],
    tests: Tests,
    settings: AnalysisSpec,
    breaches: Sequence[Breach],
) -> float:
    """The wave's Σ w E over the gates that decide."""
    deciding = [gate for gate in gates if gate.blocking]
    return sum(charge.weight for charge in _charges(memory, deciding, tests, settings, breaches))


def failing(
    memory: Memory,
    gates: Sequence[GateSpec],
    tests: Tests,
    settings: AnalysisSpec,
    breaches: Sequence[Breach],
) -> Mapping[str, Any] | None:
    """What to remember if these gates have failed at this look: when, which of them, and why, in today's numbers.

    Guilty are the gate of the heaviest process and every gate that would have failed alone. None: they have not failed.
    """
    found = _charges(memory, gates, tests, settings, breaches)
    if not found or sum(charge.weight for charge in found) < 1 / settings.beta:
        return None
    heaviest = max(found, key=lambda charge: charge.weight)
    reasons = {}
    for gate in gates:
        own = [charge for charge in found if charge.gate is gate]
        if gate is heaviest.gate or sum(charge.weight for charge in own) >= 1 / settings.beta:
            worst = max(own, key=lambda charge: charge.weight)
            reasons[gate.name] = reason_of_failure(gate, memory, kind=worst.test.kind, scope=worst.scope)
    told = {"gate": heaviest.gate.name, "reasons": reasons}
    return told if memory.at is None else told | {"at": memory.at}


def _charges(
    memory: Memory,
    gates: Sequence[GateSpec],
    tests: Tests,
    settings: AnalysisSpec,
    breaches: Sequence[Breach],
) -> list[Charge]:
    """Every fail process with its share of the budget times its e-value; too few labels count as none."""
    needed = min(_FAIL_NEEDS, settings.min_samples)
    found = []
    for gate in gates:
        states = memory.gates[gate.name].tests
        for test in tests[gate.name]:
            if any(_voids(breach, gate, test) for breach in breaches):
                continue
            for index, scope in enumerate(test.scopes):
                if _labels(gate, test, scope, memory) < needed:
                    continue
                log_e = min(test.log_e_fail(states[test.kind.value], index), _OVERFLOW)
                weight = scope.fail_share / memory.waves * exp(log_e)
                found.append(Charge(gate=gate, test=test, scope=scope, weight=weight))
    return found


def _voids(breach: Breach, gate: GateSpec, test: Test) -> bool:
    if gate.name not in breach.fails:
        return False
    return not breach.floors_only or test.kind is not Kind.MARGIN


def _labels(gate: GateSpec, test: Test, scope: Scope, memory: Memory) -> int:
    """Labels of the arm that has fewest in this scope, of the arms that the test looks at."""
    arms = ("canary",) if test.kind in (Kind.FLOOR, Kind.CEILING) else ("canary", "stable")
    clusters = [name for name, _ in scope.weights]
    return min(labels_in(gate, memory.sums, arm, clusters) for arm in arms)
