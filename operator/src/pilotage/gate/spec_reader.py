"""Decodes ``spec.gates`` and ``spec.analysis`` and refuses what would be meaningless.

All mistakes of a document are reported at once, each with path, value and remedy. Which metric takes which field
stands in ``spec_rules``. Knows nothing of evidence, clusters or time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final, TypeVar

from pilotage.gate.spec import AnalysisSpec, Average, GateSpec, GateSpecError, Labels, Metric, Mode
from pilotage.gate.spec_fields import Reader
from pilotage.gate.spec_rules import RULES, disagreements, roles_of

_Choice = TypeVar("_Choice", bound=StrEnum)

_GATE_KEYS: Final = (
    *("name", "metric", "class", "average", "floor", "ceiling", "margin"),
    *("beta", "costs", "bound", "mode", "labels", "counts"),
)
_ANALYSIS_KEYS: Final = ("interval", "alpha", "beta", "minSamples", "minDuration")


def decode(document: object) -> tuple[tuple[GateSpec, ...], AnalysisSpec]:
    """Decode ``{"gates": […], "analysis": {…}}``; raises GateSpecError with every mistake in it."""
    reader = Reader()
    if not isinstance(document, Mapping):
        reader.refuse("spec", document, f"{document!r} is not a mapping; write {{gates: […], analysis: {{…}}}}")
        raise GateSpecError(reader.problems)
    reader.refuse_unknown("spec", document, ("gates", "analysis"))
    raw = document.get("gates")
    gates: list[GateSpec] = []
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        remedy = "name at least one gate, such as {name: quality, metric: accuracy, margin: 0.02}"
        reader.refuse("spec.gates", raw, remedy)
    else:
        gates = [_gate(reader, f"spec.gates[{index}]", entry) for index, entry in enumerate(raw)]
        _refuse_twins(reader, gates)
    analysis = _analysis(reader, document.get("analysis"))
    if reader.problems:
        raise GateSpecError(reader.problems)
    return tuple(gates), analysis


def _gate(reader: Reader, path: str, entry: object) -> GateSpec:
    if not isinstance(entry, Mapping):
        reader.refuse(path, entry, f"{entry!r} is not a gate; write {{name: …, metric: …, floor: … or margin: …}}")
        return GateSpec(name=path, metric=Metric.ACCURACY)
    reader.refuse_unknown(path, entry, _GATE_KEYS)
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        reader.refuse(f"{path}.name", name, "give the gate a name, such as recall-of-8")
    class_name = entry.get("class")
    if class_name is not None and not isinstance(class_name, str):
        reader.refuse(f"{path}.class", class_name, f'{class_name!r} is not a string; write "{class_name}" in quotes')
        class_name = str(class_name)
    metric = reader.member(f"{path}.metric", entry.get("metric"), Metric)
    average = _member(reader, path, entry, "average", Average)
    labels = _member(reader, path, entry, "labels", Labels, Labels.ALL)
    understood = average is not None or entry.get("average") is None
    if metric is not None and understood:
        for field, value, remedy in disagreements(entry, metric, average, labels or Labels.ALL):
            reader.refuse(f"{path}.{field}" if field else path, value, remedy)
    mode = _member(reader, path, entry, "mode", Mode, Mode.BLOCKING)
    gate = GateSpec(
        name=str(name),
        metric=metric or Metric.ACCURACY,
        class_name=class_name,
        average=average,
        mode=mode or Mode.BLOCKING,
        labels=labels or Labels.ALL,
    )
    return _with_values(reader, path, entry, gate)


def _with_values(reader: Reader, path: str, entry: Mapping[str, object], gate: GateSpec) -> GateSpec:
    """The gate with the fields that hold numbers."""
    below, unit = (None, "a number") if RULES[gate.metric].above_one else (1.0, "a proportion")
    bound, costs, counts = entry.get("bound"), entry.get("costs"), entry.get("counts")
    if bound in (0, "0s"):
        reader.refuse(f"{path}.bound", bound, "no request takes no time; write a duration such as 250ms")
    return replace(
        gate,
        floor=reader.number(f"{path}.floor", entry.get("floor"), above=0.0, below=1.0),
        ceiling=reader.number(f"{path}.ceiling", entry.get("ceiling"), above=0.0, below=below, unit=unit),
        margin=reader.number(f"{path}.margin", entry.get("margin"), at_least=0.0, below=below, unit=unit),
        beta=reader.number(f"{path}.beta", entry.get("beta"), above=0.0, at_most=100.0, unit="a number"),
        bound_s=None if bound is None else reader.duration(f"{path}.bound", bound),
        costs=None if costs is None else reader.cost_matrix(f"{path}.costs", costs),
        counts=None if counts is None else _counts(reader, f"{path}.counts", counts, gate.metric),
    )


def _counts(reader: Reader, path: str, value: object, metric: Metric) -> dict[str, str]:
    known = roles_of(metric)
    if not known:
        reader.refuse(path, value, f"{metric} cannot be counted by a foreign exporter; drop it")
        return {}
    return reader.selectors(path, value, known)


def _member(
    reader: Reader,
    path: str,
    entry: Mapping[str, object],
    field: str,
    kind: type[_Choice],
    default: _Choice | None = None,
) -> _Choice | None:
    value = entry.get(field)
    return default if value is None else reader.member(f"{path}.{field}", value, kind)


def _refuse_twins(reader: Reader, gates: Sequence[GateSpec]) -> None:
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        if gate.name in seen:
            remedy = f"{gate.name!r} is taken; give each gate its own name"
            reader.refuse(f"spec.gates[{index}].name", gate.name, remedy)
        seen.add(gate.name)


def _analysis(reader: Reader, raw: object) -> AnalysisSpec:
    entry = {} if raw is None else raw
    if not isinstance(entry, Mapping):
        reader.refuse("spec.analysis", entry, f"{entry!r} is not a mapping; write {{alpha: 0.05}}")
        entry = {}
    reader.refuse_unknown("spec.analysis", entry, _ANALYSIS_KEYS)
    errors = {
        key: reader.number(f"spec.analysis.{key}", entry.get(key, 0.05), above=0.0, at_most=0.5) or 0.05
        for key in ("alpha", "beta")
    }
    return AnalysisSpec(
        alpha=errors["alpha"],
        beta=errors["beta"],
        min_samples=reader.count("spec.analysis.minSamples", entry.get("minSamples", 100), 100),
        min_duration_s=reader.duration("spec.analysis.minDuration", entry.get("minDuration", "0s")),
        interval_s=reader.duration("spec.analysis.interval", entry.get("interval", "30s")),
    )
