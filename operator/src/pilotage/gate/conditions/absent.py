"""A class that one arm's labels have and the other's lack, although both arms answer the same traffic.

Per actual class: the canary's labels against the rate in both arms' labels of the same cluster and block, and stable's
labels. Only absence counts: labels may depend on the prediction, so unequal shares are no breach, but an arm without a
single label of a class that the other arm meets has lost them somewhere, and no metric that needs the class compares.
Level .001 as everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pilotage.gate.arm import ArmCounts
from pilotage.gate.blocks import NOTHING, Block
from pilotage.gate.conditions.alike import NONE, SURE, Draws, log_mean, within
from pilotage.gate.conditions.breach import Breach, Condition, breach, needs_labels
from pilotage.gate.packing import pack, unpack
from pilotage.gate.spec import Average, GateSpec, Metric

_ROW_METRICS: Final = frozenset({Metric.RECALL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """One actual class: the canary's labels against both arms', and stable's in the same blocks."""

    canary: Draws = NONE
    stable: int = 0

    @property
    def missing(self) -> str | None:
        """The arm without a label of this class, if one of the two has some."""
        if self.canary.hits == 0 and self.stable:
            return "canary"
        return "stable" if self.canary.hits and not self.stable else None


Absent = Mapping[str, Met]


def absorbed(memory: Absent, block: Block) -> Absent:
    """The block's labels added, class by class."""
    grown = dict(memory)
    for arms in block.clusters.values():
        canary, stable = (_rows(arms.get(arm, NOTHING)) for arm in ("canary", "stable"))
        ours, theirs = sum(canary.values()), sum(stable.values())
        if not ours or not theirs:
            continue
        for name in {**canary, **stable, **grown}:
            hits, others = canary.get(name, 0), stable.get(name, 0)
            held = grown.get(name, Met())
            news = within(ours, hits, ours + theirs, hits + others)
            grown[name] = Met(canary=held.canary + news, stable=held.stable + others)
    return grown


def breaches(memory: Absent, gates: Sequence[GateSpec]) -> list[Breach]:
    """At most one for each arm, about all classes that it lacks."""
    if log_mean(met.canary.log_e() for met in memory.values()) < SURE:
        return []
    found = []
    for arm, other in (("canary", "stable"), ("stable", "canary")):
        lost = {k: met for k, met in memory.items() if met.missing == arm and met.canary.log_e() >= SURE}
        touched = [gate for gate in gates if needs_labels(gate) and not all(_is_other_row(gate, k) for k in lost)]
        if not touched:
            continue
        most = max(lost, key=lambda k: lost[k].canary.log_e())
        has, more = lost[most].canary.hits or lost[most].stable, f" (and of {len(lost) - 1} others)" * (len(lost) > 1)
        reason = (
            f"no label of class {most!r}{more} came for the {arm}, {has} for the {other}; find out where they are lost"
        )
        found.append(breach(Condition.CLASS_ABSENT, reason, touched))
    return found


def encode(memory: Absent, classes: Sequence[str]) -> Any:
    """JSON: four numbers a class, packed; nothing while nothing was met."""
    held = [memory.get(name, Met()) for name in classes]
    return pack([n for met in held for n in (*met.canary.to_list(), met.stable)]) if memory else ""


def decode(raw: Any, classes: Sequence[str]) -> Absent:
    """What ``encode`` wrote."""
    numbers = unpack(raw) if raw else ()
    found = {
        name: Met(canary=Draws.from_list(numbers[4 * at : 4 * at + 3]), stable=int(numbers[4 * at + 3]))
        for at, name in enumerate(classes)
        if numbers
    }
    return {name: met for name, met in found.items() if met != Met()}


def _rows(counts: ArmCounts) -> dict[str, int]:
    return {actual: sum(row.values()) for actual, row in counts.confusion.items()}


def _is_other_row(gate: GateSpec, name: str) -> bool:
    """Recall of another class looks at that class's labels only."""
    return gate.metric in _ROW_METRICS and gate.average is not Average.MACRO and gate.class_name not in (None, name)
