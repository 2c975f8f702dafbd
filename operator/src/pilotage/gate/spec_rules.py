"""Which metric takes which fields of a gate: one table, and the checks that read it.

Knows the words of the API, no document and no evidence.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pilotage.gate.spec import GUARDS, LOSSES, Average, Labels, Metric

_ALL: Final = frozenset(Average)
_ONE_VERSUS_REST: Final = frozenset({Average.MACRO, Average.WEIGHTED})
_FROM_CONFUSION: Final = frozenset(
    {
        Metric.ACCURACY,
        Metric.PRECISION,
        Metric.RECALL,
        Metric.SPECIFICITY,
        Metric.F1,
        Metric.F_BETA,
        Metric.BALANCED_ACCURACY,
        Metric.EXPECTED_COST,
    }
)
CONFUSION_ROLES: Final = frozenset({"tp", "fp", "fn", "tn"})
PROPORTION_ROLES: Final = frozenset({"successes", "trials"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one metric takes. ``averages`` empty: the metric is one number and takes no class either."""

    averages: frozenset[Average] = frozenset()
    above_one: bool = False

    @property
    def by_class(self) -> bool:
        """A class or an average must say which number is meant."""
        return bool(self.averages)


RULES: Final[Mapping[Metric, Rule]] = {
    Metric.ACCURACY: Rule(),
    Metric.PRECISION: Rule(averages=_ALL),
    Metric.RECALL: Rule(averages=_ALL),
    Metric.SPECIFICITY: Rule(averages=_ALL),
    Metric.F1: Rule(averages=_ALL),
    Metric.F_BETA: Rule(averages=_ALL),
    Metric.BALANCED_ACCURACY: Rule(),
    Metric.ROC_AUC: Rule(averages=_ONE_VERSUS_REST),
    Metric.PR_AUC: Rule(averages=_ONE_VERSUS_REST),
    Metric.LOG_LOSS: Rule(above_one=True),
    Metric.EXPECTED_COST: Rule(above_one=True),
    Metric.ERROR_RATE: Rule(),
    Metric.LATENCY: Rule(),
    Metric.PREDICTION_SHIFT: Rule(),
    Metric.CONFIDENCE_SHIFT: Rule(),
}


def disagreements(
    entry: Mapping[str, object], metric: Metric, average: Average | None, labels: Labels
) -> Iterator[tuple[str, object, str]]:
    """(field or "", value, remedy) of everything in a gate that its metric cannot have."""
    yield from _about(entry, metric, average)
    yield from _bounds(entry, metric)
    for field, owner in (("beta", Metric.F_BETA), ("costs", Metric.EXPECTED_COST), ("bound", Metric.LATENCY)):
        if entry.get(field) is not None and metric is not owner:
            yield field, entry[field], f"{field} belongs to {owner}; drop it"
    if metric is Metric.F_BETA and entry.get("beta") is None:
        yield "beta", None, "fBeta needs beta, such as 2 (recall counts more) or 0.5 (precision counts more)"
    if metric is Metric.EXPECTED_COST and entry.get("costs") is None:
        yield "costs", None, "expectedCost needs costs, such as {fraud: {ok: 10}, ok: {fraud: 1}}"
    if labels is Labels.AUDIT and metric not in _FROM_CONFUSION:
        yield "labels", "audit", f"{metric} is not counted from audited labels; drop it"


def roles_of(metric: Metric) -> tuple[frozenset[str], ...]:
    """Which counters of a foreign exporter the metric can be counted from."""
    if metric in (Metric.ERROR_RATE, Metric.LATENCY):
        return (PROPORTION_ROLES,)
    if metric in _FROM_CONFUSION:
        return (CONFUSION_ROLES,)
    return ()


def _about(entry: Mapping[str, object], metric: Metric, average: Average | None) -> Iterator[tuple[str, object, str]]:
    rule = RULES[metric]
    class_name, said = entry.get("class"), entry.get("average")
    if not rule.by_class:
        for field in ("class", "average"):
            if entry.get(field) is not None:
                yield field, entry[field], f"{metric} takes no {field}; drop it, or ask for recall or precision"
    elif class_name is not None and said is not None:
        yield "average", said, "class and average exclude each other; drop one of them"
    elif class_name is None and said is None:
        yield "", dict(entry), f'{metric} needs a class (such as class: "8") or average: macro'
    elif average is not None and average not in rule.averages:
        known = ", ".join(sorted(rule.averages))
        yield "average", said, f"{metric} has no {average} average; use one of {known}, or a class"


def _bounds(entry: Mapping[str, object], metric: Metric) -> Iterator[tuple[str, object, str]]:
    if metric in GUARDS:
        for field in ("floor", "ceiling"):
            if entry.get(field) is not None:
                yield field, entry[field], f"{metric} compares the canary with stable; drop it and name a margin"
        if entry.get("margin") is None:
            yield "margin", None, f"{metric} needs a margin: how far the canary may shift from stable, such as 0.05"
        return
    right, wrong = ("ceiling", "floor") if metric in LOSSES else ("floor", "ceiling")
    if entry.get(wrong) is not None:
        why = "more is worse" if metric in LOSSES else "more is better"
        yield wrong, entry[wrong], f"of {metric} {why}; name a {right} instead"
    elif entry.get(right) is None and entry.get("margin") is None:
        yield "", dict(entry), f"a gate needs a {right} (against a fixed value), a margin (against stable), or both"
