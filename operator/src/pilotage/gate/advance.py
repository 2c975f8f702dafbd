"""One look: a block is added to what is remembered, tests bet, the weight's changes open fail starts.

Invariants: an empty block changes nothing; splitting a block that does not close changes nothing; times are those of
closed blocks only. Knows no verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from typing import Final

from pilotage.gate.blocks import NOTHING, Block
from pilotage.gate.counts import Counts, count, rows
from pilotage.gate.hypotheses import Hypothesis
from pilotage.gate.process import ProcessState, absorb, turn
from pilotage.gate.spec import GateSpec
from pilotage.gate.state import GateMemory, Memory, Traffic

Tests = Mapping[str, Sequence[Hypothesis]]

_TRAIL_SPACING_S: Final = 300.0
_TRAIL_S: Final = 3600.0


def turned(memory: Memory, step: int, tests: Tests) -> Memory:
    """The weight changed: pending blocks close and every fail side opens another start."""
    if memory.step is None and not any(t.stable_labels or t.canary_labels for t in memory.traffic.values()):
        return replace(memory, step=step)  # the first step is the first start, which is open already
    start = memory.starts + 1
    gates = {
        name: replace(
            gate,
            step_from=arm_labels(gate.total, len(memory.shares)),
            tests={
                test.kind.value: turn(test, gate.tests[test.kind.value], gate.total, gate.seed, start)
                for test in tests[name]
            },
        )
        for name, gate in memory.gates.items()
    }
    return replace(memory, step=step, starts=start, gates=gates)


def absorbed(memory: Memory, block: Block, gates: Sequence[GateSpec], tests: Tests) -> Memory:
    """The block's counts added everywhere, and every bet made that can be made now."""
    after = {
        gate.name: _absorbed_gate(memory.gates[gate.name], block.at, _vector(gate, memory, block), tests[gate.name])
        for gate in gates
    }
    moved = any(_closed(memory.gates[name], gate) for name, gate in after.items())
    if moved:
        memory = replace(memory, at=block.at, began=block.at if memory.began is None else memory.began)
    return replace(memory, gates=after, traffic=_more_traffic(memory.traffic, block))


def passes_noted(memory: Memory, alpha: float) -> Memory:
    """Every test whose pass side stands at its threshold now is marked: it keeps passing while its e-value is >= 1."""
    needed = log(1 / alpha)

    def noted(state: ProcessState) -> ProcessState:
        return state if state.latched or state.log_e_pass < needed else replace(state, latched=True)

    return replace(
        memory,
        gates={
            name: replace(gate, tests={kind: noted(state) for kind, state in gate.tests.items()})
            for name, gate in memory.gates.items()
        },
    )


def arm_labels(total: Counts, clusters: int) -> tuple[int, int]:
    """Trials of canary and stable over all clusters of a gate's vector."""
    canary, stable = labels_by_cluster(total, clusters)
    return sum(canary), sum(stable)


def labels_by_cluster(total: Counts, clusters: int) -> tuple[list[int], list[int]]:
    """Trials of canary and of stable, cluster by cluster, of a gate's vector."""
    half = len(total.n) // clusters // 2
    canary = [sum(total.n[2 * half * k : 2 * half * k + half]) for k in range(clusters)]
    stable = [sum(total.n[2 * half * k + half : 2 * half * (k + 1)]) for k in range(clusters)]
    return canary, stable


def _absorbed_gate(gate: GateMemory, at: float, added: Counts, tests: Sequence[Hypothesis]) -> GateMemory:
    if not any(added.n):
        return gate
    states = {
        test.kind.value: absorb(test, gate.tests[test.kind.value], added, gate.total, gate.seed) for test in tests
    }
    after = replace(gate, total=gate.total + added, tests=states)
    return replace(after, trail=_longer(gate.trail, at, states)) if _closed(gate, after) else after


def _closed(before: GateMemory, after: GateMemory) -> bool:
    return any(after.tests[kind].blocks != state.blocks for kind, state in before.tests.items())


def _longer(
    trail: tuple[tuple[float, float], ...], at: float, states: Mapping[str, ProcessState]
) -> tuple[tuple[float, float], ...]:
    if trail and at < trail[-1][0] + _TRAIL_SPACING_S:
        return trail
    value = min(state.log_e_pass for state in states.values())
    return (*(point for point in trail if point[0] >= at - _TRAIL_S), (at, round(value, 3)))


def _vector(gate: GateSpec, memory: Memory, block: Block) -> Counts:
    about = rows(gate, memory.classes)
    nothing = Counts.zero(len(about))
    s: list[int] = []
    n: list[int] = []
    for name in memory.shares:
        arms = block.clusters.get(name, {})
        for arm in ("canary", "stable"):
            counts = count(gate, about, arms[arm].confusion) if arm in arms else nothing
            s += counts.s
            n += counts.n
    return Counts(s=tuple(s), n=tuple(n))


def _more_traffic(traffic: Mapping[str, Traffic], block: Block) -> dict[str, Traffic]:
    grown = {}
    for name, seen in traffic.items():
        arms = block.clusters.get(name, {})
        stable, canary = arms.get("stable", NOTHING), arms.get("canary", NOTHING)
        grown[name] = Traffic(
            stable_labels=seen.stable_labels + stable.labels,
            canary_labels=seen.canary_labels + canary.labels,
            stable_served=seen.stable_served + stable.served_rows,
            canary_served=seen.canary_served + canary.served_rows,
        )
    return grown
