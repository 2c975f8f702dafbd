"""Which exact family answers for which metric: the table of statistics.md §4, in code.

``None`` says that no exact family does: the metric is a smooth function of counts, and the Gaussian engine weighs it.
A gate's bounds become those of the proportion (or mean) behind its metric here, and nowhere else; bounds that no model
could break or keep are named by ``out_of_reach``. Knows no counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pilotage.gate.families import Contrast, Family
from pilotage.gate.functional import Functional
from pilotage.gate.jaccard import Jaccard, jaccard_of
from pilotage.gate.spec import Average, GateSpec, Labels, Metric
from pilotage.gate.tallies import Both, Groups, Row, Rows

_ONE = ("",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportions:
    """A metric that is ``offset + factor · p``, p the mean of the rows' proportions."""

    rows: Rows
    offset: float = 0.0
    factor: float = 1.0

    def bound_of(self, value: float) -> float:
        """The p behind a value of the metric."""
        return (value - self.offset) / self.factor

    def margin_of(self, margin: float) -> float:
        """The difference of p behind a difference of the metric."""
        return margin / abs(self.factor)


def proportions_of(gate: GateSpec, classes: Sequence[str]) -> Proportions | None:
    """The proportions behind a metric, None if it is no mean of proportions of independent labels."""
    rows = _rows(gate, classes)
    if rows is not None:
        factor = -1.0 if gate.metric is Metric.ERROR_RATE else 1.0
        return Proportions(rows=rows, offset=1.0 if factor < 0 else 0.0, factor=factor)
    if gate.metric is Metric.SPECIFICITY and gate.average is Average.MICRO:
        # One-versus-rest, a wrong label is a false positive once and a true negative K − 2 times.
        others = len(classes) - 1
        return Proportions(rows=_of(gate, Row.ALL), offset=1 - 1 / others, factor=1 / others)
    return None


def limit_family(gate: GateSpec, classes: Sequence[str], *, mixes: bool) -> Family | None:
    """The family for the metric against its floor or ceiling; ``mixes``: over several clusters."""
    limit = gate.limit
    assert limit is not None
    found = proportions_of(gate, classes)
    if found is not None:
        return Contrast(tally=found.rows, bound=found.bound_of(limit), against_stable=False)
    if gate.metric is Metric.EXPECTED_COST:
        return _cost(gate, classes, limit)
    if gate.class_name is None or gate.metric not in (Metric.F1, Metric.F_BETA):
        return None
    if gate.metric is Metric.F1 and not mixes:
        return Contrast(tally=_of(gate, Row.EITHER, gate.class_name), bound=jaccard_of(limit), against_stable=False)
    return _f_beta(gate, gate.class_name, classes, limit)


def margin_family(gate: GateSpec, classes: Sequence[str], *, mixes: bool) -> Family | None:
    """The family for the metric against stable's."""
    margin = gate.margin
    assert margin is not None
    found = proportions_of(gate, classes)
    if found is not None:
        return Contrast(tally=found.rows, bound=-found.margin_of(margin), against_stable=True)
    if gate.metric is Metric.F1 and gate.class_name is not None and not mixes:
        return Jaccard(tally=_of(gate, Row.EITHER, gate.class_name), margin=margin)
    return None


def pairs_family(gate: GateSpec) -> Functional | None:
    """The family for a margin when both arms answered the same requests: whose answer was right alone."""
    margin = gate.margin
    if margin is None or not can_pair(gate):
        return None
    return Functional(tally=Both(about=gate.class_name or ""), values=(1 + margin, margin - 1, margin))


def jaccard_rows(gate: GateSpec) -> Rows | None:
    """The Jaccard index behind the F1 of a class."""
    if gate.metric is not Metric.F1 or gate.class_name is None:
        return None
    return _of(gate, Row.EITHER, gate.class_name)


def can_pair(gate: GateSpec) -> bool:
    """Whether pairs of answers can speak for the metric: it is a share of right answers among labels known alike."""
    right = gate.metric in (Metric.ACCURACY, Metric.RECALL) and gate.average is not Average.MACRO
    return right and gate.labels is Labels.ALL


def out_of_reach(gate: GateSpec, classes: Sequence[str]) -> Iterator[tuple[str, float, str]]:
    """(field, value, remedy) of every bound that no model with these classes could break, or none keep."""
    limit, margin = gate.limit, gate.margin
    if gate.metric is Metric.EXPECTED_COST and limit is not None:
        costs = [_cost_of(gate, actual, predicted) for actual in classes for predicted in classes]
        if limit >= max(costs):
            yield "ceiling", limit, f"no cell costs more than {max(costs):g}, so nothing could break it; lower it"
        if limit <= min(costs):
            yield "ceiling", limit, f"every cell costs at least {min(costs):g}, so nothing could keep it; raise it"
    if gate.metric is Metric.SPECIFICITY and gate.average is Average.MICRO:
        others = len(classes) - 1
        if limit is not None and limit <= 1 - 1 / others:
            least = f"{1 - 1 / others:.3f}"
            yield "floor", limit, f"micro specificity of {others + 1} classes is never below {least}; raise it"
        if margin is not None and margin >= 1 / others:
            yield "margin", margin, f"micro specificity of {others + 1} classes varies by {1 / others:.3f}; lower it"


def _rows(gate: GateSpec, classes: Sequence[str]) -> Rows | None:
    match gate.metric:
        case Metric.ERROR_RATE | Metric.LATENCY:
            return _of(gate, Row.REQUESTS)
        case Metric.ACCURACY:
            return _of(gate, Row.ALL)
        case Metric.BALANCED_ACCURACY:
            return _of(gate, Row.ACTUAL, *classes)
    if gate.average is Average.MICRO:
        return None if gate.metric is Metric.SPECIFICITY else _of(gate, Row.ALL)
    about = classes if gate.average is Average.MACRO else [gate.class_name or ""]
    match gate.metric, gate.average:
        case Metric.RECALL, Average.WEIGHTED:
            return _of(gate, Row.ALL)
        case Metric.RECALL, _:
            return _of(gate, Row.ACTUAL, *about)
        case Metric.PRECISION, Average.MACRO | None:
            return _of(gate, Row.PREDICTED, *about)
        case Metric.SPECIFICITY, None:
            return _of(gate, Row.OTHERS, *about)
        case Metric.SPECIFICITY, Average.MACRO if len(classes) == 2:
            return _of(gate, Row.ACTUAL, *about)  # of two classes, one's specificity is the other's recall
    return None


def _of(gate: GateSpec, row: Row, *about: str) -> Rows:
    return Rows(row=row, about=about or _ONE, gate=gate.name, audit=gate.labels is Labels.AUDIT)


def _cost_of(gate: GateSpec, actual: str, predicted: str) -> float:
    return (gate.costs or {}).get(actual, {}).get(predicted, 0.0)


def _cost(gate: GateSpec, classes: Sequence[str], ceiling: float) -> Functional:
    costs = {actual: {predicted: _cost_of(gate, actual, predicted) for predicted in classes} for actual in classes}
    levels = sorted({cost for row in costs.values() for cost in row.values()})
    groups = {
        actual: {predicted: levels.index(cost) for predicted, cost in row.items()} for actual, row in costs.items()
    }
    tally = Groups(groups=groups, width=len(levels), audit=gate.labels is Labels.AUDIT)
    return Functional(tally=tally, values=tuple(ceiling - level for level in levels))


def _f_beta(gate: GateSpec, name: str, classes: Sequence[str], floor: float) -> Functional:
    """``F >= floor`` as a mean: (1 + b²)(1 − floor) per true positive, −floor b² per miss, −floor per false alarm."""
    square = 1.0 if gate.beta is None else gate.beta * gate.beta
    groups = {
        actual: {predicted: 2 * (actual != name) + (predicted != name) for predicted in classes} for actual in classes
    }
    tally = Groups(groups=groups, width=4, audit=gate.labels is Labels.AUDIT)
    return Functional(tally=tally, values=((1 + square) * (1 - floor), -floor * square, -floor, 0.0))
