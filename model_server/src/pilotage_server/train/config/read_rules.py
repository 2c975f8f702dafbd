"""The sections about what is wanted: `costs`, `decision`, `fairness`, `report`."""

from __future__ import annotations

from pilotage_server.document import Section
from pilotage_server.train.config.read_data import read_label
from pilotage_server.train.config.types import Costs, DecisionRule
from pilotage_server.train.config.wanted import Fairness, FairnessLimit, ReportParts

CHOICES = ("f1", "accuracy", "balancedAccuracy", "expectedCost")
SLICE_METRICS = ("accuracy", "precision", "recall", "selectionRate", "falsePositiveRate")


def read_costs(root: Section) -> Costs:
    """Read {actual: {predicted: cost}}."""
    section = root.section("costs")
    found: dict[str, dict[str, float]] = {}
    for actual, row in section.plain().items():
        if not isinstance(row, dict):
            section.mistake(str(actual), "is not a mapping {predicted: cost}")
            continue
        for predicted, cost in row.items():
            if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost <= 1e12:
                section.mistake(f"{actual}.{predicted}", f"{cost!r} is no cost; write a number from 0 on")
                continue
            found.setdefault(str(actual), {})[str(predicted)] = float(cost)
    return found


def read_decision(section: Section, costs: Costs) -> DecisionRule:
    """Read the rule; a threshold is given in exactly one way."""
    rule = section.choice("rule", ("argmax", "threshold", "least-cost"), "argmax")
    if rule == "least-cost" and not costs:
        section.mistake("rule", "least-cost needs costs: {actual: {predicted: cost}}")
    abstain_below = section.number("abstainBelow", 0.0, low=0.0, high=1.0)
    if rule != "threshold":
        return DecisionRule(rule=rule, abstain_below=abstain_below)
    given = [key for key in ("value", "choose", "minPrecision", "minRecall") if key in section]
    if len(given) != 1:
        section.mistake("value", "give exactly one of value, choose, minPrecision, minRecall")
    if section.value("choose", None) == "expectedCost" and not costs:
        section.mistake("choose", "expectedCost needs costs: {actual: {predicted: cost}}")

    def number(key: str) -> float | None:
        return section.number(key, low=0.0, high=1.0) if key in section else None

    return DecisionRule(
        rule=rule,
        label=read_label(section, "class") or "",
        value=number("value"),
        choose=section.choice("choose", CHOICES) if "choose" in section else None,
        min_precision=number("minPrecision"),
        min_recall=number("minRecall"),
        abstain_below=abstain_below,
    )


def read_fairness(section: Section) -> Fairness:
    """Read the limits on differences between groups."""
    limits = []
    for one in section.sections("limits", (), longest=64):
        metric = one.choice("metric", SLICE_METRICS)
        label = read_label(one, "class", None) or ""
        if (metric == "accuracy") == bool(label):
            one.mistake("class", "accuracy takes none, every other metric needs one")
        limit = FairnessLimit(
            attribute=one.text("attribute", longest=64),
            metric=metric,
            label=label,
            difference=one.number("difference", low=0.0, high=1.0) if "difference" in one else None,
            ratio=one.number("ratio", low=0.0, high=1.0) if "ratio" in one else None,
        )
        if limit.difference is None and limit.ratio is None:
            one.mistake("difference", "is missing; give difference (0.1), ratio (0.8) or both")
        limits.append(limit)
    return Fairness(least_rows=section.integer("leastRows", 30, low=1, high=10**9), limits=tuple(limits))


def read_report(section: Section) -> ReportParts:
    """Read what the report shows."""
    return ReportParts(
        learning_curve=section.flag("learningCurve", False),
        validation_curve=section.flag("validationCurve", False),
        importance=section.flag("importance", True),
        partial_dependence=section.integer("partialDependence", 3, low=0, high=20),
        shap=section.flag("shap", False),
        draws=section.integer("bootstrapDraws", 1_000, low=200, high=100_000),
    )
