"""What only the start of a wave can see of a gate: classes that the model does not have, bounds out of reach."""

from collections.abc import Iterator, Sequence

from pilotage.gate.metrics import out_of_reach
from pilotage.gate.spec import GateSpec, GateSpecError, Problem


def check_classes(gates: Sequence[GateSpec], classes: Sequence[str]) -> None:
    """Raises ValueError for classes that cannot be, GateSpecError for gates that do not fit them."""
    if len(classes) < 2 or len(set(classes)) != len(classes) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"classes: {list(classes)!r}: name every class once, as a string, at least two")
    problems = [
        problem for index, gate in enumerate(gates) for problem in _problems(f"spec.gates[{index}]", gate, classes)
    ]
    if problems:
        raise GateSpecError(problems)


def _problems(path: str, gate: GateSpec, classes: Sequence[str]) -> Iterator[Problem]:
    known = ", ".join(classes)
    if gate.class_name is not None and gate.class_name not in classes:
        remedy = f"{gate.class_name!r} is not a class of this model; its classes are {known}"
        yield Problem(path=f"{path}.class", value=gate.class_name, remedy=remedy)
    costs = gate.costs or {}
    named = {name: f"{path}.costs.{name}" for name in costs}
    named |= {
        name: f"{path}.costs.{actual}.{name}" for actual, row in costs.items() for name in row if name not in named
    }
    foreign = [(name, where) for name, where in named.items() if name not in classes]
    for name, where in foreign:
        yield Problem(path=where, value=name, remedy=f"{name!r} is not a class of this model; its classes are {known}")
    if not foreign:
        for field, value, remedy in out_of_reach(gate, classes):
            yield Problem(path=f"{path}.{field}", value=value, remedy=remedy)
