"""How many labels (or requests) a gate has of an arm, in its own denominator. Decides nothing."""

from collections.abc import Iterable, Mapping
from typing import Final

from pilotage.gate.arm import ArmCounts, Confusion
from pilotage.gate.engine import Arms
from pilotage.gate.metrics import can_pair
from pilotage.gate.spec import GateSpec, Labels, Metric

_NOTHING: Final = ArmCounts()


def labels_in(gate: GateSpec, sums: Arms, arm: str, clusters: Iterable[str]) -> int:
    """Labels of one arm in some clusters."""
    return sum(labels_of(gate, sums[name], arm) for name in clusters if name in sums)


def labels_of(gate: GateSpec, arms: Mapping[str, ArmCounts], arm: str) -> int:
    """Labels of one arm in one cluster: trials of the metric; of a class's F-score all that are of it or called so."""
    counts = arms.get(arm, _NOTHING)
    match gate.metric:
        case Metric.ERROR_RATE | Metric.LATENCY:
            return counts.proportions[gate.name].trials if gate.name in counts.proportions else 0
        case Metric.LOG_LOSS:
            return counts.means[gate.name].count if gate.name in counts.means else 0
        case Metric.ROC_AUC | Metric.PR_AUC:
            return _scored(gate, counts)
        case Metric.PREDICTION_SHIFT:
            return counts.served_rows
        case Metric.CONFIDENCE_SHIFT:
            return sum(counts.confidence)
    found = _labelled(gate, counts.audit if gate.labels is Labels.AUDIT else counts.confusion)
    return found or _paired(gate, arms)


def _scored(gate: GateSpec, counts: ArmCounts) -> int:
    names = counts.buckets if gate.class_name is None else [gate.class_name]
    found = [counts.buckets[name] for name in names if name in counts.buckets]
    return max((sum(part.negatives) + sum(part.positives) for part in found), default=0)


def _labelled(gate: GateSpec, table: Confusion) -> int:
    name = gate.class_name
    if name is None:
        return sum(sum(row.values()) for row in table.values())
    row = sum(table.get(name, {}).values())
    if gate.metric is Metric.RECALL:
        return row
    column = sum(cells.get(name, 0) for cells in table.values())
    if gate.metric is Metric.PRECISION:
        return column
    if gate.metric is Metric.SPECIFICITY:
        return sum(sum(cells.values()) for cells in table.values()) - row
    return row + column - table.get(name, {}).get(name, 0)


def _paired(gate: GateSpec, arms: Mapping[str, ArmCounts]) -> int:
    """Labels of pairs, which are labels of both arms, where nothing else is labelled."""
    if not can_pair(gate):
        return 0
    pairs = (arms[arm].pairs.get(gate.class_name or "") for arm in ("canary", "stable") if arm in arms)
    return next((part.total for part in pairs if part is not None), 0)
