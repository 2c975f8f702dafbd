"""One look: a block is added to what is remembered, tests bet, the weight's changes open fail starts.

Invariants: an empty block changes nothing; splitting a block that does not close changes nothing; times are those of
closed blocks only. Knows no verdict.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import log
from typing import Any, Final

from pilotage.gate import conditions
from pilotage.gate.arm import ArmCounts
from pilotage.gate.blocks import Block
from pilotage.gate.composite import CompositeTest
from pilotage.gate.conditions import Watched
from pilotage.gate.denominators import labels_in
from pilotage.gate.engine import Arms, Look, Test, plus
from pilotage.gate.hypotheses import Tests
from pilotage.gate.keeping import kept, ranked_classes, remembered
from pilotage.gate.memory import GateMemory, Memory
from pilotage.gate.spec import GateSpec

_TRAIL_SPACING_S: Final = 300.0
_TRAIL_S: Final = 3600.0


def turned(memory: Memory, step: int, gates: Sequence[GateSpec], tests: Tests, watched: Watched) -> Memory:
    """The weight changed: pending blocks close and every fail side opens another start."""
    if memory.step is None and not memory.sums:
        return replace(memory, step=step)  # the first step is the first start, which is open already
    memory = _compared(memory, watched)
    start = memory.starts + 1
    look = Look(added={}, before=memory.sums, turned=memory.turned)
    after = {
        gate.name: replace(
            memory.gates[gate.name],
            step_from=arm_labels(gate, memory),
            tests={
                test.kind.value: test.turn(memory.gates[gate.name].tests[test.kind.value], look, start)
                for test in tests[gate.name]
            },
        )
        for gate in gates
    }
    smooth = {gate.metric for gate in gates if any(isinstance(test, CompositeTest) for test in tests[gate.name])}
    return replace(
        memory,
        step=step,
        starts=start,
        gates=after,
        turned=remembered(memory.sums, smooth),
        conditions=conditions.turned(memory.conditions, watched),
    )


def absorbed(memory: Memory, block: Block, gates: Sequence[GateSpec], tests: Tests, watched: Watched) -> Memory:
    """The block's counts added everywhere, and every bet made that can be made now."""
    ranked = ranked_classes(gates, memory.classes, clusters=len(memory.shares))
    added = _told(block.clusters, lambda counts: kept(counts.for_sums(), ranked))
    look = Look(added=added, before=memory.sums, turned=memory.turned)
    after = {gate.name: _absorbed_gate(memory.gates[gate.name], block.at, look, tests[gate.name]) for gate in gates}
    moved = any(
        _bets(tests[name], gate.tests) != _bets(tests[name], memory.gates[name].tests) for name, gate in after.items()
    )
    memory = _waiting(memory, block, watched)
    if moved:
        memory = replace(memory, at=block.at, began=block.at if memory.began is None else memory.began)
    # Conditions compare the arms block by block: they see what a closed block was made of, however it came in. Labels
    # that come too late are told at once: there may be no others.
    late = any(counts.late for arms in memory.waiting.values() for counts in arms.values())
    if moved or late or not any(tests.values()):
        memory = _compared(memory, watched)
    return replace(memory, gates=after, sums=look.after)


def passes_noted(memory: Memory, tests: Tests, alpha: float) -> Memory:
    """Every test whose pass side stands at its threshold now is marked: it keeps passing while its e-value is >= 1."""
    needed = log(1 / alpha)
    gates = {}
    for name, gate in memory.gates.items():
        reached = {
            test.kind.value
            for test in tests[name]
            if test.kind.value in gate.weighed and test.log_e_pass(gate.tests[test.kind.value]) >= needed
        }
        gates[name] = gate if reached <= gate.latched else replace(gate, latched=gate.latched | reached)
    return replace(memory, gates=gates)


def arm_labels(gate: GateSpec, memory: Memory) -> tuple[int, int]:
    """Labels of canary and stable over all clusters, in the gate's own denominator."""
    canary, stable = (labels_in(gate, memory.sums, arm, memory.shares) for arm in ("canary", "stable"))
    return canary, stable


def _told(arms: Arms, part: Callable[[ArmCounts], ArmCounts]) -> Arms:
    """A part of the counts, without arms and clusters of which it has nothing."""
    parts = {name: {arm: part(counts) for arm, counts in found.items()} for name, found in arms.items()}
    filled = {name: {arm: n for arm, n in found.items() if not n.is_empty} for name, found in parts.items()}
    return {name: found for name, found in filled.items() if found}


def _waiting(memory: Memory, block: Block, watched: Watched) -> Memory:
    if any(memory.expected.get(name, share) != share for name, share in block.expected.items()):
        memory = _compared(memory, watched)
    return replace(
        memory,
        waiting=plus(memory.waiting, _told(block.clusters, ArmCounts.for_conditions)),
        expected={**memory.expected, **block.expected},
    )


def _compared(memory: Memory, watched: Watched) -> Memory:
    if not memory.waiting:
        return memory
    seen = Block(
        at=memory.at or 0.0, step=None, clusters=dict(sorted(memory.waiting.items())), expected=memory.expected
    )
    return replace(memory, waiting={}, expected={}, conditions=conditions.absorbed(memory.conditions, seen, watched))


def _absorbed_gate(gate: GateMemory, at: float, look: Look, tests: Sequence[Test]) -> GateMemory:
    states = {test.kind.value: test.absorb(gate.tests[test.kind.value], look) for test in tests}
    weighed = {test.kind.value for test in tests if test.step_bets(states[test.kind.value])}
    after = replace(gate, tests=states, weighed=gate.weighed | weighed)
    if _bets(tests, states) == _bets(tests, gate.tests):
        return after
    value = min((test.log_e_pass(states[test.kind.value]) for test in tests), default=0.0)
    return replace(after, trail=_longer(gate.trail, at, value))


def _bets(tests: Sequence[Test], states: Mapping[str, Any]) -> int:
    return sum(test.bets(states[test.kind.value]) for test in tests)


def _longer(trail: tuple[tuple[float, float], ...], at: float, value: float) -> tuple[tuple[float, float], ...]:
    if trail and at < trail[-1][0] + _TRAIL_SPACING_S:
        return trail
    return (*(point for point in trail if point[0] >= at - _TRAIL_S), (at, round(value, 3)))
