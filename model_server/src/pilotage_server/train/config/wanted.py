"""What a run must keep to and show: fairness limits, and the parts of the report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FairnessLimit:
    """Groups of an attribute may differ in a metric by `difference` at most, and by no smaller ratio than `ratio`."""

    attribute: str
    metric: str
    label: str
    difference: float | None
    ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fairness:
    """Limits that fail the run; groups with fewer than `least_rows` test rows are shown, never judged."""

    least_rows: int = 30
    limits: tuple[FairnessLimit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportParts:
    """What the report shows beyond results, and how many bootstrap draws intervals rest on."""

    learning_curve: bool = False
    validation_curve: bool = False
    importance: bool = True
    partial_dependence: int = 3
    shap: bool = False
    draws: int = 1_000
