"""Figures as people read them: a value with its interval, names of metrics, and what each of them asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METRIC_NAMES: Mapping[str, str] = {
    "logLoss": "log loss",
    "brier": "Brier score",
    "accuracy": "accuracy",
    "balancedAccuracy": "balanced accuracy",
    "macroF1": "macro F1",
    "rocAuc": "ROC AUC",
    "prAuc": "PR AUC",
    "expectedCost": "expected cost",
    "calibrationError": "calibration error",
    "d2": "D²",
    "matthews": "Matthews' correlation",
    "kappa": "Cohen's kappa",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}

METRIC_MEANINGS: Mapping[str, str] = {
    "logLoss": "how surprised one is by the truth, given its probabilities; 0 is certainty and right (nats)",
    "brier": "squared distance of its probabilities to the truth; 0 is best",
    "calibrationError": "how far its probabilities are from how often it is right; 0 is best",
    "expectedCost": "what its mistakes cost per row, at the prices given",
    "d2": "the share of the class shares' own log loss that it takes away; 1 is best, 0 is no better than them",
    "matthews": "correlation of what it says with what is true, fair to rare classes; 1 is best, 0 is chance",
    "kappa": "agreement beyond what chance would give; 1 is best",
}

METRIC_REASONS: Mapping[str, str] = {
    "logLoss": "it judges the probabilities themselves: a model that is sure and wrong pays most. Thresholds, costs "
    "and the production gate all build on probabilities that can be trusted",
    "brier": "it judges the probabilities by squared distance to the truth, and forgives one wild answer more than log "
    "loss does",
    "accuracy": "every mistake costs the same here and classes are about equally frequent",
    "balancedAccuracy": "each class counts the same, however rare it is",
    "macroF1": "each class counts the same, and both misses and false alarms hurt",
    "rocAuc": "what matters is the order of cases, whatever the threshold will be",
    "prAuc": "the class of interest is rare and its list is what people will read",
    "expectedCost": "mistakes have prices, and the model that saves most wins",
}


def interval(found: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Write `0.951 [0.932, 0.966]`, or undefined."""
    if not found or found["value"] is None:
        return "undefined"
    return f"{found['value']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def number(value: float | None, digits: int = 3) -> str:
    """Write a number, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(value: float) -> str:
    """Write a share."""
    return f"{100 * value:.1f} %"


def range_of(found: Mapping[str, Any]) -> str:
    """Write a share as `95 (88 to 98)` of a hundred, or say that nothing is known."""
    if found["value"] is None:
        return "an unknown number"
    return f"{100 * found['value']:.0f} ({100 * found['low']:.0f} to {100 * found['high']:.0f})"


def focus(document: Mapping[str, Any]) -> str | None:
    """Of two classes the one that is shown where one is enough: the one decided about, or the rarer; else None."""
    per_class = document["metrics"]["perClass"]
    if len(per_class) != 2:
        return None
    return str(document["decision"].get("class") or min(per_class, key=lambda label: per_class[label]["support"]))


def params(found: Mapping[str, Any]) -> str:
    """Write hyperparameters."""
    return ", ".join(f"{key}={_short(value)}" for key, value in sorted(found.items())) or "defaults"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
