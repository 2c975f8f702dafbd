"""What the sums keep of a block, and what is remembered of them when the weight changes: no more than gates read.

Score buckets are by far the longest numbers in a state. A gate on one class needs its buckets only; an average over
many classes in many clusters reads 20 instead of 50. Sums at a change of weight are what smooth metrics of stable and
canary are compared since, and nothing else. Knows no test.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from itertools import pairwise
from typing import Final

from pilotage.gate.arm import ArmCounts, Scores
from pilotage.gate.engine import Arms
from pilotage.gate.spec import GateSpec, Metric

BUCKETS: Final = 50
FEW_BUCKETS: Final = 20
_RANKED: Final = frozenset({Metric.ROC_AUC, Metric.PR_AUC})
_MANY_VECTORS: Final = 40  # classes × clusters beyond which an average reads few buckets


def buckets_of(gate: GateSpec, *, classes: int, clusters: int) -> int:
    """How many buckets per class and label a gate reads."""
    return FEW_BUCKETS if gate.class_name is None and classes * clusters > _MANY_VECTORS else BUCKETS


def ranked_classes(gates: Sequence[GateSpec], classes: Sequence[str], *, clusters: int) -> dict[str, int]:
    """Buckets to keep of each class that some gate ranks."""
    found: dict[str, int] = {}
    for gate in gates:
        if gate.metric in _RANKED:
            kept = buckets_of(gate, classes=len(classes), clusters=clusters)
            for name in classes if gate.class_name is None else (gate.class_name,):
                found[name] = max(kept, found.get(name, 0))
    return found


def kept(counts: ArmCounts, ranked: Mapping[str, int]) -> ArmCounts:
    """The counts with no other buckets than those."""
    if not counts.buckets:
        return counts
    return replace(
        counts,
        buckets={
            name: Scores(
                negatives=coarser(scores.negatives, ranked[name]), positives=coarser(scores.positives, ranked[name])
            )
            for name, scores in counts.buckets.items()
            if name in ranked
        },
    )


def remembered(sums: Arms, metrics: Set[Metric]) -> Arms:
    """Of the sums when the weight changes, what gates on these smooth metrics are counted from."""
    cells = bool(metrics - _RANKED - {Metric.LOG_LOSS})

    def part(counts: ArmCounts) -> ArmCounts:
        return ArmCounts(
            confusion=counts.confusion if cells else {},
            audit=counts.audit if cells else {},
            buckets=counts.buckets if metrics & _RANKED else {},
            means=counts.means if Metric.LOG_LOSS in metrics else {},
        )

    if not metrics:
        return {}
    return {name: {arm: part(counts) for arm, counts in arms.items()} for name, arms in sums.items()}


def coarser(side: tuple[int, ...], buckets: int) -> tuple[int, ...]:
    """Neighbours put together until that many are left; as it is if it has no more."""
    size = len(side)
    if size <= buckets:
        return side
    edges = [b * size // buckets for b in range(buckets + 1)]
    return tuple(sum(side[first:last]) for first, last in pairwise(edges))
