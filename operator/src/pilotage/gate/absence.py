"""What a gate lacks before its first block can close: named, so that a person knows which label is waited for."""

from collections.abc import Iterator, Sequence

from pilotage.gate.arm import ArmCounts
from pilotage.gate.engine import Kind, Test
from pilotage.gate.exact import ExactTest
from pilotage.gate.memory import Memory
from pilotage.gate.pairs import PairedTest
from pilotage.gate.spec import GateSpec, Labels
from pilotage.gate.tallies import Row, Rows


def absent_from(gate: GateSpec, tests: Sequence[Test], memory: Memory) -> list[str]:
    """Strata without a single trial, in words: ``canary 'b' in gcp``."""
    arms = ("canary", "stable") if any(test.kind is Kind.MARGIN for test in tests) else ("canary",)
    clusters = [name for name, share in memory.shares.items() if share > 0]
    rows = next((found for test in tests if (found := _rows_of(test)) is not None), None)
    absent: list[str] = []
    for arm in arms:
        for name in clusters:
            counts = memory.sums.get(name, {}).get(arm, ArmCounts())
            absent += [f"{arm}{what} in {name}" for what in _empty(gate, rows, counts, memory.classes)]
    return sorted(absent)


def _rows_of(test: Test) -> Rows | None:
    exact = test.apart if isinstance(test, PairedTest) else test
    if isinstance(exact, ExactTest) and isinstance(exact.family.tally, Rows):
        return exact.family.tally
    return None


def _empty(gate: GateSpec, rows: Rows | None, counts: ArmCounts, classes: Sequence[str]) -> Iterator[str]:
    if rows is not None:
        cells = rows.arm(counts)
        for index, about in enumerate(rows.about):
            if not cells[2 * index] + cells[2 * index + 1]:
                yield f" {about!r}" if len(rows.about) > 1 and rows.row is not Row.ALL else ""
        return
    table = counts.audit if gate.labels is Labels.AUDIT else counts.confusion
    if not table:
        return
    for name in classes if gate.class_name is None else [gate.class_name]:
        if not table.get(name):
            yield f" {name!r}"
