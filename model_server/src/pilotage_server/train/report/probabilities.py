"""The report's curves: ROC, precision and recall, calibration, and what each threshold would give or cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pilotage_server.train.report.svg import Axes, Series, line_chart
from pilotage_server.train.report.words import focus, number

MOST_LINES = 8
_UNIT = (0.0, 1.0, 0.0, 1.0)


def curves(document: Mapping[str, Any]) -> str:
    """Every chart, two beside each other where there is room."""
    charts = [*_ranking(document), _reliability(document), *_threshold(document)]
    left = len(document["curves"]) - len(_shown(document))
    note = f"<p class=soft>Drawn for the {MOST_LINES} classes found least.</p>" if left and left > 1 else ""
    return f'<div class="pair">{"".join(charts)}</div>{note}'


def _shown(document: Mapping[str, Any]) -> list[str]:
    """The classes drawn: one of two (the one decided about, or the rarer), else those found least."""
    per_class = document["metrics"]["perClass"]
    labels = list(document["curves"])
    one = focus(document)
    if one is not None:
        return [one]
    hardest = sorted(labels, key=lambda label: per_class[label]["recall"]["value"] or 0.0)[:MOST_LINES]
    return [label for label in labels if label in hardest]


def _ranking(document: Mapping[str, Any]) -> list[str]:
    per_class = document["metrics"]["perClass"]
    chance = Series(label="by chance", points=[(0, 0), (1, 1)], is_dashed=True)
    shown = _shown(document)

    def lines(curve: str, area: str) -> list[Series]:
        return [
            Series(
                label=f"{label}: area {number(per_class[label][area]['value'])}",
                points=[(x, y) for x, y in document["curves"][label][curve]],
            )
            for label in shown
        ]

    shares = []
    if len(shown) == 1:
        share = per_class[shown[0]]["support"] / document["metrics"]["rows"]
        shares = [Series(label=f"by chance: {number(share)}", points=[(0, share), (1, share)], is_dashed=True)]
    return [
        line_chart(
            "ROC: how many are found for how many false alarms",
            [*lines("roc", "rocAuc"), chance],
            Axes(x="false alarms, share of the others", y="found (recall)", box=_UNIT),
        ),
        line_chart(
            "Precision and recall: how clean the list is, the longer it gets",
            [*lines("pr", "prAuc"), *shares],
            Axes(x="found (recall)", y="right among called (precision)", box=_UNIT),
        ),
    ]


def _reliability(document: Mapping[str, Any]) -> str:
    series = [
        Series(
            label=label,
            points=[(one["score"], one["share"]) for one in document["curves"][label]["reliability"]],
            has_dots=True,
        )
        for label in _shown(document)
    ]
    if len(series) == 1:
        bins = document["curves"][series[0].label]["reliability"]
        series += [Series(label="", points=[(one["score"], one["low"]), (one["score"], one["high"])]) for one in bins]
    ideal = Series(label="as good as its word", points=[(0, 0), (1, 1)], is_dashed=True)
    return line_chart(
        "Calibration: what it says against what happened",
        [*series, ideal],
        Axes(x="probability said", y="share observed", box=_UNIT),
        note="a dot per tenth of the test rows",
    )


def _threshold(document: Mapping[str, Any]) -> list[str]:
    curve = document.get("thresholdCurve")
    if not curve:
        return []
    at = document["decision"].get("value")
    series = [
        Series(label=name, points=list(zip(curve["thresholds"], curve[name], strict=True)))
        for name in ("precision", "recall")
    ]
    mark = [] if at is None else [Series(label=f"in use: {at:.3g}", points=[(at, 0.0), (at, 1.0)], is_dashed=True)]
    title = f"Where the line for {curve['class']} could be drawn"
    axes = Axes(x=f"threshold on the probability of {curve['class']}", y="share", box=_UNIT)
    charts = [line_chart(title, [*series, *mark], axes, note="out of fold")]
    if "cost" in curve:
        spent = list(zip(curve["thresholds"], curve["cost"], strict=True))
        top = max(cost for _, cost in spent)
        line = [] if at is None else [Series(label=f"in use: {at:.3g}", points=[(at, 0.0), (at, top)], is_dashed=True)]
        axes = Axes(x=axes.x, y="cost per row", box=(0.0, 1.0, 0.0, 1.04 * top or 1.0))
        charts.append(
            line_chart(
                "What each threshold would cost",
                [Series(label="cost per row", points=spent), *line],
                axes,
                note="out of fold",
            )
        )
    return charts
