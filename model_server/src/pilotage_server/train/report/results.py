"""The report's results on test rows: every figure with its interval, class by class, and which mistakes are made."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from pilotage_server.train.report.fair import fairness
from pilotage_server.train.report.looks import interpretation
from pilotage_server.train.report.probabilities import curves
from pilotage_server.train.report.svg import Bar, interval_chart
from pilotage_server.train.report.tables import matrix, table
from pilotage_server.train.report.words import METRIC_MEANINGS, METRIC_NAMES, interval

_MOST_MATRIX = 30
_LOSSES = ("logLoss", "brier", "calibrationError", "expectedCost")
_AGREEMENT = ("d2", "matthews", "kappa")


def sections(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Headings with their HTML."""
    return [
        ("Results on rows never seen", _metrics(document)),
        ("Which mistakes it makes", _mistakes(document)),
        ("Probabilities and thresholds", curves(document)),
        ("What it looks at", interpretation(document)),
        ("Fairness", fairness(document)),
    ]


def _metrics(document: Mapping[str, Any]) -> str:
    metrics = document["metrics"]
    bars = [_bar(METRIC_NAMES[key], metrics[key]) for key in ("accuracy", "balancedAccuracy")]
    bars += [_bar(f"{average} {name}", metrics[average][name]) for average in ("macro", "weighted")
             for name in ("precision", "recall", "f1")]  # fmt: skip
    bars += [
        _bar(f"{METRIC_NAMES[key]}, {_AVERAGES.get(average, average)}", one)
        for key in ("rocAuc", "prAuc")
        for average, one in metrics[key].items()
    ]
    known = [bar for bar in bars if bar is not None]
    others = [key for key in (*_LOSSES, *_AGREEMENT) if key in metrics]
    rows = [[METRIC_NAMES[key], interval(metrics[key]), METRIC_MEANINGS[key]] for key in others]
    names = ("precision", "recall", "f1", "rocAuc", "prAuc")
    per_class = [
        [escape(label), *(interval(one[name]) for name in names), str(one["support"])]
        for label, one in metrics["perClass"].items()
    ]
    return (
        f"{interval_chart('Shares and areas, 95 % intervals', known, high=1.0)}"
        f"{table('Losses and agreement', ['figure', 'value, 95 % interval', 'what it asks'], rows)}"
        f"<h3>Class by class</h3>"
        f"{table('Each class against the rest', ['class', *map(METRIC_NAMES.__getitem__, names), 'rows'], per_class)}"
        "<p class=soft>Precision: of those called so, how many are. Recall: of those that are, how many are found. F1: "
        "both in one. Areas: how well the class is ranked above the rest.</p>"
    )


_AVERAGES = {"oneVsOne": "one against one"}


def _bar(label: str, found: Mapping[str, Any]) -> Bar | None:
    if found["value"] is None:
        return None
    return Bar(label=label, value=found["value"], low=found["low"], high=found["high"], note=interval(found))


def _mistakes(document: Mapping[str, Any]) -> str:
    counts, classes = document["metrics"]["confusion"], document["classes"]
    pairs = sorted(
        ((counts[i][j], a, b) for i, a in enumerate(classes) for j, b in enumerate(classes) if i != j and counts[i][j]),
        reverse=True,
    )[:5]
    listed = "".join(f"<li>{n} × <b>{escape(a)}</b> called <b>{escape(b)}</b></li>" for n, a, b in pairs)
    chart = matrix(counts, classes) if len(classes) <= _MOST_MATRIX else ""
    return f"{chart}<h3>The most frequent</h3><ul>{listed or '<li>none</li>'}</ul>"
