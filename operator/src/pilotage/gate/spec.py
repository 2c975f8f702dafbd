"""Gates as users write them: decodes ``spec.gates`` and ``spec.analysis`` and refuses what would be meaningless.

All mistakes of a document are reported at once, each with path, value and remedy. Knows the words of the API
subtree and nothing of evidence, clusters or time.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar


class Metric(StrEnum):
    """What a gate asks about; all of them proportions of correct predictions."""

    ACCURACY = "accuracy"
    PRECISION = "precision"
    RECALL = "recall"


class Average(StrEnum):
    """How a multiclass metric becomes one number."""

    MACRO = "macro"
    MICRO = "micro"
    WEIGHTED = "weighted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake: where it stands, what stands there, what to write instead."""

    path: str
    value: object
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.remedy}"


class GateSpecError(ValueError):
    """The gates cannot be used as written; ``problems`` holds every mistake, in the document's order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """One question to the evidence. ``floor`` in (0, 1); ``margin`` in [0, 1), absolute, below stable."""

    name: str
    metric: Metric
    class_name: str | None
    average: Average | None
    floor: float | None
    margin: float | None

    @property
    def title(self) -> str:
        """How people read it: ``recall[8]``, ``precision[macro]``, ``accuracy``."""
        about = self.class_name if self.class_name is not None else self.average
        return f"{self.metric}[{about}]" if about is not None else str(self.metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSpec:
    """What holds for all gates. ``alpha``, ``beta`` in (0, 0.5]; seconds for times."""

    alpha: float
    beta: float
    min_samples: int
    min_duration_s: float
    interval_s: float


_Choice = TypeVar("_Choice", bound=StrEnum)

_GATE_KEYS: Final = ("name", "metric", "class", "average", "floor", "margin")
_ANALYSIS_KEYS: Final = ("interval", "alpha", "beta", "minSamples", "minDuration")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def decode(document: Mapping[str, object]) -> tuple[tuple[GateSpec, ...], AnalysisSpec]:
    """Decode ``{"gates": […], "analysis": {…}}``; raises GateSpecError with every mistake in it."""
    reader = _Reader()
    reader.refuse_unknown("spec", document, ("gates", "analysis"))
    raw = document.get("gates")
    gates: list[GateSpec] = []
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        reader.refuse(
            "spec.gates", raw, "name at least one gate, such as {name: quality, metric: accuracy, margin: 0.02}"
        )
    else:
        gates = [reader.gate(f"spec.gates[{index}]", entry) for index, entry in enumerate(raw)]
        reader.refuse_twins(gates)
    analysis = reader.analysis(document.get("analysis") or {})
    if reader.problems:
        raise GateSpecError(reader.problems)
    return tuple(gates), analysis


class _Reader:
    """Walks the document and collects problems; what it returns counts only if there are none."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def refuse(self, path: str, value: object, remedy: str) -> None:
        self.problems.append(Problem(path=path, value=value, remedy=remedy))

    def refuse_unknown(self, path: str, mapping: Mapping[str, object], known: Sequence[str]) -> None:
        for key in mapping:
            if key not in known:
                self.refuse(f"{path}.{key}", mapping[key], f"unknown field; known here: {', '.join(known)}")

    def refuse_twins(self, gates: Sequence[GateSpec]) -> None:
        seen: set[str] = set()
        for index, gate in enumerate(gates):
            if gate.name in seen:
                self.refuse(
                    f"spec.gates[{index}].name", gate.name, f"{gate.name!r} is taken; give each gate its own name"
                )
            seen.add(gate.name)

    def gate(self, path: str, entry: object) -> GateSpec:
        if not isinstance(entry, Mapping):
            self.refuse(path, entry, f"{entry!r} is not a gate; write {{name: …, metric: …, floor: … or margin: …}}")
            entry = {"name": path, "metric": "accuracy", "floor": 0.5}
        self.refuse_unknown(path, entry, _GATE_KEYS)
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            self.refuse(f"{path}.name", name, "give the gate a name, such as recall-of-8")
        metric = self._member(f"{path}.metric", entry.get("metric"), Metric) or Metric.ACCURACY
        average = None
        if entry.get("average") is not None:
            average = self._member(f"{path}.average", entry["average"], Average)
        class_name = entry.get("class")
        if class_name is not None and not isinstance(class_name, str):
            self.refuse(f"{path}.class", class_name, f'{class_name!r} is not a string; write "{class_name}" in quotes')
            class_name = str(class_name)
        self._agree(path, entry, metric, class_name, average)
        floor = self._number(f"{path}.floor", entry.get("floor"), above=0.0, below=1.0)
        margin = self._number(f"{path}.margin", entry.get("margin"), at_least=0.0, below=1.0)
        if entry.get("floor") is None and entry.get("margin") is None:
            self.refuse(
                path, dict(entry), "a gate needs a floor (against a fixed value), a margin (against stable), or both"
            )
        return GateSpec(
            name=str(name), metric=metric, class_name=class_name, average=average, floor=floor, margin=margin
        )

    def _agree(
        self, path: str, entry: Mapping[str, object], metric: Metric, class_name: str | None, average: Average | None
    ) -> None:
        if entry.get("metric") != metric or (entry.get("average") is not None and average is None):
            return
        if class_name is not None and average is not None:
            self.refuse(f"{path}.average", str(average), "class and average exclude each other; drop one of them")
        elif metric is Metric.ACCURACY and (class_name is not None or average is not None):
            field = "class" if class_name is not None else "average"
            self.refuse(
                f"{path}.{field}", entry[field], f"accuracy takes no {field}; drop it, or ask for recall or precision"
            )
        elif metric is not Metric.ACCURACY and class_name is None and average is None:
            self.refuse(path, dict(entry), f'{metric} needs a class (such as class: "8") or average: macro')
        elif metric is Metric.PRECISION and average is Average.WEIGHTED:
            self.refuse(
                f"{path}.average", "weighted", "weighted precision is not a proportion; use macro, micro or a class"
            )

    def analysis(self, entry: object) -> AnalysisSpec:
        if not isinstance(entry, Mapping):
            self.refuse("spec.analysis", entry, f"{entry!r} is not a mapping; write {{alpha: 0.05}}")
            entry = {}
        self.refuse_unknown("spec.analysis", entry, _ANALYSIS_KEYS)
        samples = entry.get("minSamples", 100)
        if isinstance(samples, bool) or not isinstance(samples, int) or samples < 0:
            self.refuse(
                "spec.analysis.minSamples", samples, f"{samples!r} is not a count; write a whole number, 0 or more"
            )
            samples = 100
        errors = {
            key: self._number(f"spec.analysis.{key}", entry.get(key, 0.05), above=0.0, at_most=0.5) or 0.05
            for key in ("alpha", "beta")
        }
        return AnalysisSpec(
            alpha=errors["alpha"],
            beta=errors["beta"],
            min_samples=samples,
            min_duration_s=self._duration("spec.analysis.minDuration", entry.get("minDuration", "0s")),
            interval_s=self._duration("spec.analysis.interval", entry.get("interval", "30s")),
        )

    def _member(self, path: str, value: object, kind: type[_Choice]) -> _Choice | None:
        try:
            return kind(value)  # type: ignore[arg-type]
        except ValueError:
            self.refuse(path, value, f"{value!r} is not known here; use one of {', '.join(kind)}")
            return None

    def _number(
        self,
        path: str,
        value: object,
        *,
        above: float | None = None,
        at_least: float | None = None,
        below: float | None = None,
        at_most: float | None = None,
    ) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(path, value, f"{value!r} is not a number; write a proportion such as 0.05")
            return None
        wrong = (
            (above is not None and not value > above and f"not above {above:g}")
            or (at_least is not None and not value >= at_least and f"below {at_least:g}")
            or (below is not None and not value < below and f"not below {below:g}")
            or (at_most is not None and not value <= at_most and f"above {at_most:g}")
        )
        if wrong:
            self.refuse(
                path, value, f"{value:g} is {wrong}; write a proportion such as {_EXAMPLE[path.rsplit('.', 1)[-1]]}"
            )
            return None
        return float(value)

    def _duration(self, path: str, value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return float(value)
        if isinstance(value, str) and _DURATION.fullmatch(value):
            return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(value))
        self.refuse(path, value, f"{value!r} is not a duration; write 30s, 10m or 1h30m")
        return 0.0


_EXAMPLE: Final = {"floor": "0.92", "margin": "0.02", "alpha": "0.05", "beta": "0.05"}
