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
from pilotage.gate.blocks import NOTHING, Block
from pilotage.gate.conditions.alike import SURE, log_mean
from pilotage.gate.conditions.breach import Breach, Condition, breach, needs_labels
from pilotage.gate.packing import pack, unpack
from pilotage.gate.spec import Average, GateSpec, Metric

_METRICS: Final = frozenset({Metric.PRECISION, Metric.F1, Metric.F_BETA})
_MOST_CLASSES: Final = 12
_TILTS: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
_DEVIATIONS: Final = 3.3  # history's shares are off by more once in a thousand


@dataclass(frozen=True, slots=True, kw_only=True)
class Prevalence:
    """``past``: stable's labels per cluster and class.

    ``met``: the canary's labels per class; ``columns``: ``{predicted: {actual: labels}}`` of the classes asked about;
    ``taken``: the canary's labels per cluster.
    """

    past: Mapping[str, Mapping[str, int]]
    met: Mapping[str, int]
    columns: Mapping[str, Mapping[str, int]]
    taken: Mapping[str, int]

    @property
    def expected(self) -> Mapping[str, float]:
        """The canary's labels per class at the past's shares."""
        found: dict[str, float] = {}
        for name, labels in sorted(self.taken.items()):
            before = sum(self.past[name].values())
            for actual, n in self.past[name].items():
                found[actual] = found.get(actual, 0.0) + labels * n / before
        return found


NONE: Final = Prevalence(past={}, met={}, columns={}, taken={})


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


def opened(past: Mapping[str, Sequence[ArmCounts]], gates: Sequence[GateSpec], classes: Sequence[str]) -> Prevalence:
    """Before the first block; clusters without history are not compared."""
    about = asked(gates, classes)
    shares = {}
    for name, parts in past.items():
        rows: dict[str, int] = {}
        for counts in parts:
            for actual, row in counts.confusion.items():
                rows[actual] = rows.get(actual, 0) + sum(row.values())
        if rows and about:
            shares[name] = rows
    columns: dict[str, dict[str, int]] = {k: {} for gate in about for k in _classes(gate, classes)}
    return Prevalence(past=shares, met={}, columns=columns if shares else {}, taken={})


def absorbed(memory: Prevalence, block: Block) -> Prevalence:
    """The canary's labels added, of clusters that have a history."""
    for name, arms in block.clusters.items():
        confusion = arms.get("canary", NOTHING).confusion
        if name in memory.past and confusion:
            memory = _more(memory, name, confusion)
    return memory


def breaches(memory: Prevalence, gates: Sequence[GateSpec], classes: Sequence[str]) -> list[Breach]:
    """One per floor that only the shift decides."""
    total = sum(memory.met.values())
    if not total or (name := _moved(memory, total)) is None:
        return []
    found = []
    for gate in asked(gates, classes):
        now, then = (_value(gate, memory, classes, as_past=past) for past in (False, True))
        if now is None or then is None or gate.floor is None or (now >= gate.floor) == (then >= gate.floor):
            continue
        reason = (
            f"class {name!r} makes {memory.met.get(name, 0) / total:.1%} of the canary's {total} labels and "
            f"{memory.expected.get(name, 0.0) / total:.1%} in stable's history: {gate.title} {now:.3f} would be "
            f"{then:.3f} at those shares, on the other side of the floor {gate.floor:g}; "
            "set a margin, which no shift moves"
        )
        found.append(replace(breach(Condition.PREVALENCE_SHIFTED, reason, [gate]), floors_only=True))
    return found


def encode(memory: Prevalence, classes: Sequence[str]) -> dict[str, Any]:
    """JSON."""
    return {
        "past": {name: pack(_row(rows, classes)) for name, rows in memory.past.items()},
        "met": pack(_row(memory.met, classes)),
        "columns": {k: pack(_row(column, classes)) for k, column in memory.columns.items()},
        "taken": dict(memory.taken),
    }


def decode(raw: Mapping[str, Any], classes: Sequence[str]) -> Prevalence:
    """What ``encode`` wrote."""
    return Prevalence(
        past={name: _named(unpack(packed), classes) for name, packed in raw["past"].items()},
        met=_named(unpack(raw["met"]), classes),
        columns={k: _named(unpack(packed), classes) for k, packed in raw["columns"].items()},
        taken=dict(raw["taken"]),
    )


def _row(rows: Mapping[str, int], classes: Sequence[str]) -> list[int]:
    return [rows.get(k, 0) for k in classes]


def _named(row: Sequence[float], classes: Sequence[str]) -> dict[str, int]:
    return {k: int(n) for k, n in zip(classes, row, strict=True) if n}


def _classes(gate: GateSpec, classes: Sequence[str]) -> Sequence[str]:
    return (gate.class_name,) if gate.class_name is not None else classes


def _more(memory: Prevalence, name: str, confusion: Mapping[str, Mapping[str, int]]) -> Prevalence:
    met, taken = dict(memory.met), dict(memory.taken)
    columns = {k: dict(column) for k, column in memory.columns.items()}
    taken[name] = taken.get(name, 0) + sum(sum(row.values()) for row in confusion.values())
    for actual, row in confusion.items():
        met[actual] = met.get(actual, 0) + sum(row.values())
        for predicted, n in row.items():
            if predicted in columns:
                columns[predicted][actual] = columns[predicted].get(actual, 0) + n
    return Prevalence(past=memory.past, met=met, columns=columns, taken=taken)


def _moved(memory: Prevalence, total: int) -> str | None:
    """The class whose share has moved most surely, if any has."""
    # Variance of the expected share: a mean over clusters of what finite histories say.
    known = sum((n / total) ** 2 / sum(memory.past[name].values()) for name, n in memory.taken.items())
    scores, expected = {}, memory.expected
    for name in sorted({*memory.met, *expected}):
        share, hits = expected.get(name, 0.0) / total, memory.met.get(name, 0)
        slack = _DEVIATIONS * sqrt(max(share * (1 - share), known) * known)
        more = [tilt * hits - total * log1p(min(share + slack, 1.0) * expm1(tilt)) for tilt in _TILTS]
        fewer = [-tilt * hits - total * log1p(max(share - slack, 0.0) * expm1(-tilt)) for tilt in _TILTS]
        scores[name] = log_mean([*more, *fewer])
    return max(scores, key=lambda name: scores[name]) if log_mean(scores.values()) >= SURE else None


def _value(gate: GateSpec, memory: Prevalence, classes: Sequence[str], *, as_past: bool) -> float | None:
    """The canary's metric, with its labels as they came or weighted to the shares of history."""
    values = []
    for k in _classes(gate, classes):
        value = _of_class(gate, memory, k, as_past=as_past)
        if value is None:
            return None
        values.append(value)
    return sum(values) / len(values)


def _of_class(gate: GateSpec, memory: Prevalence, k: str, *, as_past: bool) -> float | None:
    column, rows = memory.columns.get(k, {}), memory.met
    weights = {j: memory.expected.get(j, 0.0) / n if as_past else 1.0 for j, n in rows.items()}
    predicted = sum(weights[j] * n for j, n in column.items())
    if not predicted or not rows.get(k):
        return None
    precision, recall = weights[k] * column.get(k, 0) / predicted, column.get(k, 0) / rows[k]
    if gate.metric is Metric.PRECISION:
        return precision
    square = (gate.beta or 1.0) ** 2
    under = square * precision + recall
    return (1 + square) * precision * recall / under if under else None
