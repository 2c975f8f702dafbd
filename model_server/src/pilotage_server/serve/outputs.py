"""The outputs a request asks for, by name, as JSON or as bytes behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pilotage_server.document import nearest
from pilotage_server.serve.errors import Reason, Rejected
from pilotage_server.serve.tensors import parameters_of


class Kind(StrEnum):
    """What a model can answer."""

    PREDICT = "predict"
    PREDICT_PROBA = "predict_proba"
    DECISION = "decision"


OUTPUT_NAMES: Final[Mapping[str, Kind]] = {**{kind.value: kind for kind in Kind}, "output-0": Kind.PREDICT}
"""`output-0` is what other servers of scikit-learn models call their one output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output asked for, by the name it was asked by, as JSON or as bytes behind it."""

    name: str
    kind: Kind
    binary: bool


_DEFAULTS: Final = {
    binary: tuple(Output(name=kind.value, kind=kind, binary=binary) for kind in (Kind.PREDICT, Kind.PREDICT_PROBA))
    for binary in (False, True)
}
_ALONE: Final = {
    (name, binary): (Output(name=name, kind=kind, binary=binary),)
    for name, kind in OUTPUT_NAMES.items()
    for binary in (False, True)
}
"""One output under its name alone, what most clients ask for."""


def read_outputs(wanted: Any, *, binary: bool) -> tuple[Output, ...]:
    """The outputs asked for, or the usual ones; `binary` where an output does not say. Raises `Rejected`."""
    if wanted is None or wanted == []:
        return _DEFAULTS[binary]
    if not isinstance(wanted, list):
        raise Rejected(Reason.OUTPUT, "outputs: is not a list")
    if len(wanted) == 1 and isinstance(wanted[0], dict) and len(wanted[0]) == 1:
        alone = _ALONE.get((str(wanted[0].get("name")), binary))
        if alone is not None:
            return alone
    found: dict[str, Output] = {}
    for i, output in enumerate(wanted):
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str) or name not in OUTPUT_NAMES:
            hint = nearest(str(name)[:64], tuple(Kind))
            raise Rejected(Reason.OUTPUT, f"outputs[{i}]: {str(name)[:64]!r} is no output of this model; {hint}")
        label = f"outputs[{i}].parameters"
        parameters = parameters_of(output, label)
        if parameters.get("classification"):
            raise Rejected(Reason.OUTPUT, f"{label}.classification: ask for predict_proba instead")
        found[name] = Output(
            name=name, kind=OUTPUT_NAMES[name], binary=read_flag(parameters, "binary_data", label, default=binary)
        )
    return tuple(found.values())


def read_flag(parameters: Mapping[str, Any], key: str, label: str, *, default: bool) -> bool:
    """Read true or false; raises `Rejected`."""
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise Rejected(Reason.BODY, f"{label}.{key}: {str(value)[:32]} is neither true nor false")
    return value
