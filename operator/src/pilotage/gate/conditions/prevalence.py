"""Precision floors and the share of classes: a floor that holds only because classes came otherwise is not held.

Precision, and with it F1 and F-beta, moves with prevalence although the model does not. So the canary's labels are
held against stable's history, class by class, in every cluster; where the shares moved for sure (level .001, history's
own noise allowed for), the metric is computed once more as it would be at the shares of history. A breach is a floor
that lies between the two: too low a precision that prevalence explains is no Fail, too good a one no Pass. Otherwise
the shift changes no answer and is no breach. The counts are pooled over clusters; more than twelve classes are only
looked at one class at a time. Source: statistics.md §1; Elkan 2001 for the change of prior.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import expm1, log1p, sqrt
from typing import Any, Final

from pilotage.gate.arm import ArmCounts
from pilotage.gate.blocks import NOTHING
from pilotage.gate.conditions.alike import SURE, log_mean
from pilotage.gate.conditions.breach import Breach, Condition, breach, needs_labels
from pilotage.gate.engine import Arms
from pilotage.gate.packing import pack, unpack
from pilotage.gate.spec import Average, GateSpec, Metric

_METRICS: Final = frozenset({Metric.PRECISION, Metric.F1, Metric.F_BETA})
_MOST_CLASSES: Final = 12
_TILTS: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
_DEVIATIONS: Final = 3.3  # history's shares are off by more once in a thousand


Past = Mapping[str, Mapping[str, int]]
"""Stable's labels per cluster and class, before the rollout; empty where no gate asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """The canary's labels in clusters that have a past. ``expected``: per class, at the past's shares; ``met``: per
    class; ``columns``: ``{predicted: {actual: labels}}``; ``variance``: of an expected share, for the past is finite.
    """

    expected: Mapping[str, float]
    met: Mapping[str, int]
    columns: Mapping[str, Mapping[str, int]]
    variance: float

    @property
    def total(self) -> int:
        """Labels of all classes."""
        return sum(self.met.values())


def asked(gates: Sequence[GateSpec], classes: Sequence[str]) -> list[GateSpec]:
    """The gates whose floor depends on prevalence, as far as they can be looked at."""
    return [
        gate
        for gate in gates
        if needs_labels(gate)
        and gate.metric in _METRICS
        and gate.floor is not None
        and (gate.class_name is not None or (gate.average is Average.MACRO and len(classes) <= _MOST_CLASSES))
    ]


def opened(past: Mapping[str, Sequence[ArmCounts]], gates: Sequence[GateSpec], classes: Sequence[str]) -> Past:
    """All that is remembered; clusters without history are not compared."""
    if not asked(gates, classes):
        return {}
    found = {}
    for name, parts in past.items():
        whole = sum(parts, ArmCounts())
        if whole.confusion:
            found[name] = {actual: sum(row.values()) for actual, row in whole.confusion.items()}
    return found


def breaches(past: Past, sums: Arms, gates: Sequence[GateSpec], classes: Sequence[str]) -> list[Breach]:
    """One per floor that only the shift decides."""
    shift = _shift(past, sums)
    if not shift.total or (name := _moved(shift)) is None:
        return []
    found = []
    for gate in asked(gates, classes):
        now, then = (_value(gate, shift, classes, as_past=as_past) for as_past in (False, True))
        if now is None or then is None or gate.floor is None or (now >= gate.floor) == (then >= gate.floor):
            continue
        reason = (
            f"class {name!r} makes {shift.met.get(name, 0) / shift.total:.1%} of the canary's {shift.total} labels and "
            f"{shift.expected.get(name, 0.0) / shift.total:.1%} in stable's history: {gate.title} {now:.3f} would be "
            f"{then:.3f} at those shares, on the other side of the floor {gate.floor:g}; "
            "set a margin, which no shift moves"
        )
        found.append(replace(breach(Condition.PREVALENCE_SHIFTED, reason, [gate]), floors_only=True))
    return found


def encode(past: Past, clusters: Sequence[str], classes: Sequence[str]) -> Any:
    """JSON: a number a cluster and class, packed; nothing where nothing is remembered."""
    return pack([past.get(name, {}).get(k, 0) for name in clusters for k in classes]) if past else ""


def decode(raw: Any, clusters: Sequence[str], classes: Sequence[str]) -> Past:
    """What ``encode`` wrote."""
    numbers, size = unpack(raw) if raw else (), len(classes)
    rows = {name: numbers[size * at : size * (at + 1)] for at, name in enumerate(clusters) if numbers}
    return {name: {k: int(n) for k, n in zip(classes, row, strict=True) if n} for name, row in rows.items() if any(row)}


def _classes(gate: GateSpec, classes: Sequence[str]) -> Sequence[str]:
    return (gate.class_name,) if gate.class_name is not None else classes


def _shift(past: Past, sums: Arms) -> Shift:
    expected: dict[str, float] = {}
    met: dict[str, int] = {}
    columns: dict[str, dict[str, int]] = {}
    taken = {name: n for name in past if (n := sums.get(name, {}).get("canary", NOTHING).labels)}
    total = sum(taken.values())
    for name, labels in taken.items():
        before = sum(past[name].values())
        for actual, n in past[name].items():
            expected[actual] = expected.get(actual, 0.0) + labels * n / before
        for actual, row in sums[name]["canary"].confusion.items():
            met[actual] = met.get(actual, 0) + sum(row.values())
            for predicted, n in row.items():
                column = columns.setdefault(predicted, {})
                column[actual] = column.get(actual, 0) + n
    variance = sum((n / total) ** 2 / sum(past[name].values()) for name, n in taken.items())
    return Shift(expected=expected, met=met, columns=columns, variance=variance)


def _moved(shift: Shift) -> str | None:
    """The class whose share has moved most surely, if any has."""
    scores, total, known = {}, shift.total, shift.variance
    for name in sorted({*shift.met, *shift.expected}):
        share, hits = shift.expected.get(name, 0.0) / total, shift.met.get(name, 0)
        slack = _DEVIATIONS * sqrt(max(share * (1 - share), known) * known)
        more = [tilt * hits - total * log1p(min(share + slack, 1.0) * expm1(tilt)) for tilt in _TILTS]
        fewer = [-tilt * hits - total * log1p(max(share - slack, 0.0) * expm1(-tilt)) for tilt in _TILTS]
        scores[name] = log_mean([*more, *fewer])
    return max(scores, key=lambda name: scores[name]) if log_mean(scores.values()) >= SURE else None


def _value(gate: GateSpec, shift: Shift, classes: Sequence[str], *, as_past: bool) -> float | None:
    """The canary's metric, with its labels as they came or weighted to the shares of history."""
    values = []
    for k in _classes(gate, classes):
        value = _of_class(gate, shift, k, as_past=as_past)
        if value is None:
            return None
        values.append(value)
    return sum(values) / len(values)


def _of_class(gate: GateSpec, shift: Shift, k: str, *, as_past: bool) -> float | None:
    column, rows = shift.columns.get(k, {}), shift.met
    weights = {j: shift.expected.get(j, 0.0) / n if as_past else 1.0 for j, n in rows.items()}
    predicted = sum(weights[j] * n for j, n in column.items())
    if not predicted or not rows.get(k):
        return None
    precision, recall = weights[k] * column.get(k, 0) / predicted, column.get(k, 0) / rows[k]
    if gate.metric is Metric.PRECISION:
        return precision
    square = (gate.beta or 1.0) ** 2
    under = square * precision + recall
    return (1 + square) * precision * recall / under if under else None
