"""The report's fairness: each declared attribute's groups side by side, what differs, and whether limits hold."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from pilotage_server.train.report.svg import Bar, interval_chart
from pilotage_server.train.report.tables import table
from pilotage_server.train.report.words import focus, interval, number

_MOST_CLASSES = 6


def fairness(document: Mapping[str, Any]) -> str:
    """Every attribute, then every limit."""
    found, one_class = document["fairness"], focus(document)
    if not found["attributes"]:
        return (
            "<p>No attribute was declared, so nothing was checked for fairness. If people are behind the rows, declare "
            "what must not decide about them (<code>data.columns.attributes</code>).</p>"
        )
    parts = [_attribute(name, one, found["leastRows"], one_class) for name, one in found["attributes"].items()]
    return "".join([*parts, *map(_limit, found["limits"])])


def _attribute(name: str, found: Mapping[str, Any], least: int, one_class: str | None) -> str:
    groups = {group: one for group, one in found["groups"].items() if one["accuracy"]["value"] is not None}
    bars = [
        Bar(
            label=f"{group} ({one['rows']} rows)",
            value=one["accuracy"]["value"],
            low=one["accuracy"]["low"],
            high=one["accuracy"]["high"],
            note=interval(one["accuracy"]),
            is_marked=one["rows"] < least,
        )
        for group, one in groups.items()
    ]
    few = any(bar.is_marked for bar in bars)
    small = f"<p class=soft>Orange: fewer than {least} rows, shown but not judged.</p>" if few else ""
    chart = interval_chart(f"Accuracy by {name}", bars, high=1.0)
    return f"<h3>{escape(name)}</h3>{chart}{small}{_by_class(groups, one_class)}{_gaps(found['gaps'])}"


def _by_class(groups: Mapping[str, Any], one_class: str | None) -> str:
    """Recall and how often a class is given, group by group."""
    labels = list(next(iter(groups.values()))["perClass"]) if groups else []
    shown = labels[:_MOST_CLASSES] if one_class is None else [one_class]
    rows = [
        [
            f"{escape(label)}, {escape(group)}",
            *(interval(one["perClass"][label][key], 2) for key in ("selectionRate", "recall", "precision",
                                                                  "falsePositiveRate")),
        ]
        for label in shown
        for group, one in groups.items()
    ]  # fmt: skip
    head = ["class and group", "share that gets it", "recall", "precision", "false alarms"]
    return table("What each group gets", head, rows)


def _gaps(gaps: Mapping[str, Any]) -> str:
    keys = ("recall", "precision", "selectionRate", "falsePositiveRate")
    rows = [
        [escape(label), *(number(one[key]["difference"]) for key in keys), number(one["selectionRate"]["ratio"])]
        for label, one in gaps["perClass"].items()
    ]
    head = ["class", "recall", "precision", "share that gets it", "false alarms", "ratio of shares"]
    return table("Largest difference between groups with enough rows", head, rows)


def _limit(limit: Mapping[str, Any]) -> str:
    kind, text = ("good", "holds") if limit["passed"] else ("bad", limit["problem"])
    of_class = f" of {limit['class']}" if limit["class"] else ""
    return (
        f"<p class={kind}><b>{'✓' if limit['passed'] else '✗'}</b> Limit on {limit['metric']}{escape(of_class)} by "
        f"{escape(limit['attribute'])}: {escape(text)}.</p>"
    )
