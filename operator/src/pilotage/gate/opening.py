"""How an analysis begins: shares, stable's history, and what an earlier try of the same revision left.

Invariants: everything set here is fixed before the first block. Of an earlier attempt only the pass side goes on, and
only that of the same question.
"""

from collections.abc import Mapping, Sequence

from pilotage.gate.blocks import BlockError, decode_counts
from pilotage.gate.engine import History, Opening, Test
from pilotage.gate.memory import GateMemory, Memory
from pilotage.gate.spec import GateSpec


def normalised(shares: Mapping[str, float]) -> dict[str, float]:
    """Shares that add up to 1, in order of name, so that the order they came in changes nothing. Raises ValueError."""
    total = sum(shares.values())
    if not shares or any(not share >= 0 for share in shares.values()) or not 0 < total < float("inf"):
        raise ValueError(f"shares: {dict(shares)!r}: give every cluster its share of the served rows, 0 or more")
    return {name: shares[name] / total for name in sorted(shares)}


def decode_history(
    raw: Mapping[str, Sequence[Mapping[str, object]]],
    *,
    classes: Sequence[str],
    clusters: Sequence[str],
    gates: Sequence[str],
) -> History:
    """Stable's counts per cluster; clusters without any are fine, foreign ones are refused. Raises BlockError."""
    for name in raw:
        if name not in clusters:
            raise BlockError(f"history.{name}: not a cluster of this wave; its clusters are {', '.join(clusters)}")
    return {
        name: [
            decode_counts(f"history.{name}[{i}]", counts, classes=classes, gates=gates)
            for i, counts in enumerate(raw.get(name, ()))
        ]
        for name in clusters
    }


def open_gate(
    gate: GateSpec, tests: Sequence[Test], *, classes: Sequence[str], history: History, earlier: Memory | None
) -> GateMemory:
    """One gate before its first block."""
    asked = question(gate, classes)
    left = earlier.gates.get(gate.name) if earlier is not None else None
    if left is not None and left.question != asked:
        left = None  # another boundary: evidence against one says nothing about the other
    states = {} if left is None else left.tests
    return GateMemory(
        question=asked,
        step_from=(0, 0),
        trail=(),
        weighed=frozenset(),
        latched=frozenset(),
        tests={
            test.kind.value: test.opened(Opening(history=history, earlier=states.get(test.kind.value)))
            for test in tests
        },
    )


def question(gate: GateSpec, classes: Sequence[str]) -> str:
    """What the gate asks, so that evidence is never carried over to another question."""
    asked = f"{gate.title} of {len(classes)} classes, floor={gate.floor} ceiling={gate.ceiling} margin={gate.margin}"
    more = f" beta={gate.beta} costs={gate.costs} bound={gate.bound_s} labels={gate.labels}"
    return asked + more
