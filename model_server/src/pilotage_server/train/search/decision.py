"""From wishes to a decision rule: the threshold or cost rule that out-of-fold probabilities justify.

Nothing here sees test rows. A least-cost rule of two classes is a threshold (Elkan 2001); of more, it is the row of
least expected cost. A threshold that was looked for is the middle between two neighbouring scores, so that the last
bit of a probability decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage_server.bundle.decision import Argmax, Decision, LeastCost, Threshold
from pilotage_server.document import nearest
from pilotage_server.train.config import ConfigError, Costs, DecisionRule
from pilotage_server.train.evaluate.counts import ratio

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def cost_matrix(costs: Costs, classes: tuple[str, ...]) -> Floats | None:
    """Costs [K, K] (rows actual); None without costs. Raises `ConfigError` for a class that is none."""
    if not costs:
        return None
    matrix = np.zeros((len(classes), len(classes)))
    named = dict.fromkeys(label for actual, row in costs.items() for label in (actual, *row))
    unknown = [f"costs: {label!r} is no class; {nearest(label, classes)}" for label in named if label not in classes]
    if unknown:
        raise ConfigError("\n".join(unknown))
    for actual, row in costs.items():
        for predicted, cost in row.items():
            matrix[classes.index(actual), classes.index(predicted)] = cost
    if not matrix.any():
        raise ConfigError("costs: every cost is 0; name what a mistake costs")
    return matrix


def needs_scores(rule: DecisionRule) -> bool:
    """Whether the rule is found on out-of-fold probabilities."""
    return rule.rule == "threshold" and rule.value is None


def check_rule(rule: DecisionRule, classes: tuple[str, ...]) -> None:
    """Raise `ConfigError` for a rule that cannot be applied to these classes."""
    if rule.rule != "threshold":
        return
    if len(classes) != 2:
        raise ConfigError(
            f"decision.rule: a threshold decides between two classes, and there are {len(classes)}; use argmax, or "
            "least-cost with costs"
        )
    if rule.label not in classes:
        raise ConfigError(f"decision.class: {rule.label!r} is no class; {nearest(rule.label, classes)}")


def decide(
    rule: DecisionRule,
    classes: tuple[str, ...],
    costs: Floats | None,
    scores: tuple[Indices, Floats] | None = None,
) -> Decision:
    """Make the decision. `scores`: labels [n] and out-of-fold probabilities [n, K], where the rule needs them."""
    check_rule(rule, classes)
    match rule.rule:
        case "least-cost":
            assert costs is not None
            return least_cost(costs)
        case "threshold":
            positive = classes.index(rule.label)
            if rule.value is not None:
                return Threshold(positive=positive, value=rule.value)
            assert scores is not None
            return _find(rule, positive, costs, Curve.of(scores[1][:, positive], scores[0] == positive))
        case _:
            return Argmax()


def least_cost(costs: Floats) -> Decision:
    """Decide for the class of least expected cost."""
    if len(costs) > 2:
        return LeastCost(costs=tuple(tuple(map(float, row)) for row in costs))
    miss, alarm = costs[1, 0] - costs[1, 1], costs[0, 1] - costs[0, 0]
    if miss <= 0 or alarm <= 0:
        raise ConfigError("costs: a mistake must cost more than the right answer, for both classes")
    return Threshold(positive=1, value=float(alarm / (alarm + miss)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Counts at every threshold [t], descending: `hits` and `alarms` (false positives) at or above it."""

    thresholds: Floats
    hits: Floats
    alarms: Floats
    positives: int
    negatives: int

    @classmethod
    def of(cls, scores: Floats, positive: NDArray[np.bool_]) -> Curve:
        """Count at the middle between neighbouring scores."""
        order = np.argsort(-scores, kind="stable")
        ordered, truth = scores[order], positive[order]
        ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        below = np.append(ordered[ends[:-1] + 1], 0.0)
        return cls(
            thresholds=(ordered[ends] + below) / 2,
            hits=np.cumsum(truth)[ends].astype(np.float64),
            alarms=np.cumsum(~truth)[ends].astype(np.float64),
            positives=int(positive.sum()),
            negatives=int((~positive).sum()),
        )

    @property
    def precision(self) -> Floats:
        """Right among those above the threshold."""
        return ratio(self.hits, self.hits + self.alarms)

    @property
    def recall(self) -> Floats:
        """Found among the positive ones."""
        return ratio(self.hits, self.positives)

    def goodness(self, metric: str, costs: Floats | None, positive: int) -> Floats:
        """Value of a metric at each threshold, larger is better."""
        rest = self.negatives - self.alarms
        match metric:
            case "f1":
                return ratio(2 * self.hits, self.hits + self.alarms + self.positives)
            case "accuracy":
                return ratio(self.hits + rest, self.positives + self.negatives)
            case "balancedAccuracy":
                balanced: Floats = (self.recall + ratio(rest, self.negatives)) / 2
                return balanced
        assert costs is not None
        other, missed = 1 - positive, self.positives - self.hits
        spent: Floats = (
            self.hits * costs[positive, positive]
            + missed * costs[positive, other]
            + self.alarms * costs[other, positive]
            + rest * costs[other, other]
        )
        return -spent

    def document(self, positive: int, costs: Floats | None, points: int = 101) -> dict[str, Any]:
        """The curve thinned for a picture, with the cost per row where there are costs."""
        chosen = np.unique(np.linspace(0, len(self.thresholds) - 1, points).astype(int))
        found = {
            "thresholds": self.thresholds[chosen].tolist(),
            "precision": self.precision[chosen].tolist(),
            "recall": self.recall[chosen].tolist(),
        }
        if costs is not None:
            spent = -self.goodness("expectedCost", costs, positive) / (self.positives + self.negatives)
            found["cost"] = spent[chosen].tolist()
        return found


def _find(rule: DecisionRule, positive: int, costs: Floats | None, curve: Curve) -> Threshold:
    if rule.choose is not None:
        best = int(np.argmax(curve.goodness(rule.choose, costs, positive)))
        return Threshold(positive=positive, value=float(curve.thresholds[best]))
    if rule.min_precision is not None:
        enough, wanted = curve.precision >= rule.min_precision, ("precision", rule.min_precision, curve.precision)
        preference = curve.recall
    else:
        assert rule.min_recall is not None
        enough, wanted = curve.recall >= rule.min_recall, ("recall", rule.min_recall, curve.recall)
        preference = curve.precision
    if not enough.any():
        name, value, reached = wanted
        raise ConfigError(
            f"decision.min{name.capitalize()}: {value:g} is out of reach (best out of fold: {np.nanmax(reached):.3f}); "
            "ask for less, or find a better model"
        )
    best = int(np.argmax(np.where(enough, preference, -1.0)))
    return Threshold(positive=positive, value=float(curve.thresholds[best]))
