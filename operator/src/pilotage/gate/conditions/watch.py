"""The conditions of the guarantee, watched together: one memory, every block absorbed, every breach listed.

Which conditions are watched follows from the gates and from what blocks tell: labels and their delays always, coverage
once served rows are told, the split once an expected share is, inputs once histograms are, prevalence where a precision
floor has a history to be held against. Knows no e-value of a gate and no verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pilotage.gate.arm import ArmCounts
from pilotage.gate.blocks import Block
from pilotage.gate.conditions import absent, assignment, coverage, inputs, late, prevalence, selection
from pilotage.gate.conditions.breach import Breach, needs_labels
from pilotage.gate.engine import Arms
from pilotage.gate.spec import GateSpec, Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the conditions are about. ``clusters`` of the wave."""

    gates: tuple[GateSpec, ...]
    classes: tuple[str, ...]
    clusters: tuple[str, ...]

    @property
    def sources(self) -> tuple[Labels, ...]:
        """Which labelled rows some gate counts."""
        found = {gate.labels for gate in self.gates if needs_labels(gate)}
        return tuple(sorted(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Everything remembered; ``coverage`` and ``selection`` by the labelled rows they are about."""

    late: late.Late
    absent: absent.Absent
    coverage: Mapping[Labels, coverage.Coverage]
    selection: Mapping[Labels, selection.Selection]
    assignment: assignment.Assignment
    inputs: inputs.Inputs
    prevalence: prevalence.Past


def opened(watched: Watched, past: Mapping[str, Sequence[ArmCounts]]) -> Conditions:
    """Before the first block; ``past``: stable's counts per cluster."""
    everything = [counts for parts in past.values() for counts in parts]
    return Conditions(
        late={},
        absent={},
        coverage={source: coverage.Coverage() for source in watched.sources},
        selection={source: selection.opened(everything, source) for source in watched.sources},
        assignment={},
        inputs={},
        prevalence=prevalence.opened(past, watched.gates, watched.classes),
    )


def absorbed(memory: Conditions, block: Block, watched: Watched) -> Conditions:
    """The block added everywhere."""
    memory = replace(
        memory, assignment=assignment.absorbed(memory.assignment, block), inputs=inputs.absorbed(memory.inputs, block)
    )
    if not watched.sources:
        return memory
    return replace(
        memory,
        late=late.absorbed(memory.late, block),
        absent=absent.absorbed(memory.absent, block),
        coverage={
            source: coverage.absorbed(held, block, source, classes=watched.classes, places=len(watched.clusters))
            for source, held in memory.coverage.items()
        },
        selection={source: selection.absorbed(held, block, source) for source, held in memory.selection.items()},
    )


def turned(memory: Conditions, watched: Watched) -> Conditions:
    """The weight changed: rows before and after it are never compared with each other."""
    return replace(
        memory,
        coverage={
            source: coverage.turned(held, classes=watched.classes, places=len(watched.clusters))
            for source, held in memory.coverage.items()
        },
    )


def breaches(memory: Conditions, watched: Watched, sums: Arms) -> tuple[Breach, ...]:
    """Every condition that is broken now, most telling first; ``sums``: of all counts since the wave's start."""
    gates = watched.gates
    found = late.breaches(memory.late, sums, gates)
    for source, held in memory.coverage.items():
        found += coverage.breaches(held, gates, source)
    for source, seen in memory.selection.items():
        found += selection.breaches(seen, gates, source)
    found += absent.breaches(memory.absent, gates)
    found += assignment.breaches(memory.assignment, gates)
    found += inputs.breaches(memory.inputs, gates)
    found += prevalence.breaches(memory.prevalence, sums, gates, watched.classes)
    return tuple(found)


def encode(memory: Conditions, watched: Watched) -> dict[str, Any]:
    """JSON; what is empty is left out."""
    told = {
        "late": late.encode(memory.late),
        "absent": absent.encode(memory.absent, watched.classes),
        "coverage": {
            source.value: coverage.encode(held, watched.classes)
            for source, held in memory.coverage.items()
            if held.pending
        },
        "selection": {source.value: selection.encode(held) for source, held in memory.selection.items()},
        "assignment": assignment.encode(memory.assignment, watched.clusters),
        "inputs": inputs.encode(memory.inputs),
        "prevalence": prevalence.encode(memory.prevalence, watched.clusters, watched.classes),
    }
    return {name: raw for name, raw in told.items() if raw}


def decode(raw: Mapping[str, Any], watched: Watched) -> Conditions:
    """Inverse of ``encode``. May raise KeyError, TypeError or ValueError for anything else."""
    chosen = raw.get("selection", {})
    covered = {Labels(name): coverage.decode(held, watched.classes) for name, held in raw.get("coverage", {}).items()}
    return Conditions(
        late=late.decode(raw.get("late", {})),
        absent=absent.decode(raw.get("absent", ""), watched.classes),
        coverage={source: covered.get(source, coverage.Coverage()) for source in watched.sources},
        selection={source: selection.decode(chosen.get(source.value, {})) for source in watched.sources},
        assignment=assignment.decode(raw.get("assignment", ""), watched.clusters),
        inputs=inputs.decode(raw.get("inputs", {})),
        prevalence=prevalence.decode(raw.get("prevalence", ""), watched.clusters, watched.classes),
    )
