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


def params(found: Mapping[str, Any]) -> str:
    """Write hyperparameters."""
    return ", ".join(f"{key}={_short(value)}" for key, value in sorted(found.items())) or "defaults"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
