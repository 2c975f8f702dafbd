"""How an analysis begins: what stable's history teaches, which effects each test bets on, what an earlier try left.

Invariants: everything set here is fixed before the first block. History sets base rates and scales only, so a wrong
one costs power, never validity. Of an earlier attempt only the pass side's log e-values go on.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from pilotage.gate.arm import ArmCounts
from pilotage.gate.blocks import NOTHING, BlockError, decode_counts
from pilotage.gate.counts import Counts, count, rows
from pilotage.gate.grids import floor_scale, margin_scale
from pilotage.gate.hypotheses import Hypothesis, Kind
from pilotage.gate.process import ProcessState, opened
from pilotage.gate.spec import GateSpec
from pilotage.gate.state import GateMemory, Memory

_HISTORY_CAP: Final = 500  # trials per stratum: more would keep an old base rate alive for too long

Past = Mapping[str, Sequence[ArmCounts]]


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
) -> Past:
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
    gate: GateSpec,
    tests: Sequence[Hypothesis],
    *,
    classes: Sequence[str],
    shares: Mapping[str, float],
    past: Past,
    earlier: Memory | None,
) -> GateMemory:
    """One gate before its first block."""
    about = rows(gate, classes)
    history = [_sum([count(gate, about, counts.confusion) for counts in past[name] or (NOTHING,)]) for name in shares]
    asked = question(gate, len(about))
    left = earlier.gates.get(gate.name) if earlier is not None else None
    if left is not None and left.question != asked:
        left = None  # another boundary: evidence against one says nothing about the other
    stable_value = _mixed(history, tuple(shares.values()))
    return GateMemory(
        question=asked,
        total=Counts.zero(2 * len(about) * len(shares)),
        seed=_joined([_capped(counts) for counts in history]),
        step_from=(0, 0),
        trail=(),
        tests={test.kind.value: _open_test(gate, test, stable_value, left) for test in tests},
    )


def question(gate: GateSpec, size: int) -> str:
    """What the gate asks, so that evidence is never carried over to another question."""
    return f"{gate.title} rows={size} floor={gate.floor} margin={gate.margin}"


def _open_test(gate: GateSpec, test: Hypothesis, stable_value: float | None, left: GateMemory | None) -> ProcessState:
    if left is not None and test.kind.value in left.tests:
        before = left.tests[test.kind.value]
        return opened(test, before.scale, passing=before.passing)
    match test.kind:
        case Kind.FLOOR:
            return opened(test, floor_scale(gate.floor or 0.0, stable_value))
        case Kind.MARGIN:
            return opened(test, margin_scale(gate.margin or 0.0))


def _mixed(history: Sequence[Counts], weights: Sequence[float]) -> float | None:
    """Stable's metric over the mix, None while some row of some cluster has no trial."""
    value = 0.0
    for counts, weight in zip(history, weights, strict=True):
        if weight == 0:
            continue
        if min(counts.n) == 0:
            return None
        value += weight * sum(s / n for s, n in zip(counts.s, counts.n, strict=True)) / len(counts.n)
    return value


def _capped(counts: Counts) -> Counts:
    scaled = [
        (s, n) if n <= _HISTORY_CAP else (round(s * _HISTORY_CAP / n), _HISTORY_CAP)
        for s, n in zip(counts.s, counts.n, strict=True)
    ]
    return Counts(s=tuple(s for s, _ in scaled), n=tuple(n for _, n in scaled))


def _sum(parts: Sequence[Counts]) -> Counts:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _joined(parts: Sequence[Counts]) -> Counts:
    return Counts(s=tuple(s for part in parts for s in part.s), n=tuple(n for part in parts for n in part.n))
