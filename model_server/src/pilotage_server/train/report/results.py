"""The report's results: metrics with intervals, mistakes, curves, what the model looks at, fairness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pilotage_server.train.report.svg import Bar, Series, heat_map, interval_chart, line_chart
from pilotage_server.train.report.words import METRIC_NAMES, interval, number

_MOST_LINES = 8


def sections(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Headings with their HTML."""
    return [
        ("Results on rows never seen", _metrics(document)),
        ("Which mistakes it makes", _mistakes(document)),
        ("Probabilities and thresholds", _curves(document)),
        ("What it looks at", _interpretation(document["interpretation"], document["classes"])),
        ("Fairness", _fairness(document["fairness"])),
    ]


def _metrics(document: Mapping[str, Any]) -> str:
    metrics = document["metrics"]
    overall = [
        _bar(name, metrics[key])
        for name, key in (("accuracy", "accuracy"), ("balanced accuracy", "balancedAccuracy"))
        if metrics[key]["value"] is not None
    ]
    overall += [
        _bar(f"{average} {name}", metrics[average][name])
        for average in ("macro", "weighted")
        for name in ("precision", "recall", "f1")
        if metrics[average][name]["value"] is not None
    ]
    ranks = [
        _bar(f"{METRIC_NAMES[key]}, {average}", one)
        for key in ("rocAuc", "prAuc")
        for average, one in metrics[key].items()
        if one["value"] is not None
    ]
    rows = "".join(
        f"<tr><td>{escape(label)}</td>"
        + "".join(f"<td>{interval(one[name])}</td>" for name in ("precision", "recall", "f1", "rocAuc", "prAuc"))
        + f"<td>{one['support']}</td></tr>"
        for label, one in metrics["perClass"].items()
    )
    losses = ", ".join(
        f"{METRIC_NAMES[key]} {interval(metrics[key])}"
        for key in ("logLoss", "brier", "expectedCost")
        if key in metrics
    )
    return (
        f"{interval_chart('overall metrics', [*overall, *ranks], high=1.0)}"
        f"<p>{losses}; calibration error {interval(metrics['calibrationError'])}.</p>"
        "<h3>Class by class</h3><table><tr><th>class</th><th>precision</th><th>recall</th><th>F1</th><th>ROC AUC</th>"
        f"<th>PR AUC</th><th>rows</th></tr>{rows}</table>"
        "<p class=soft>Precision: of those called so, how many are. Recall: of those that are, how many are found.</p>"
    )


def _bar(label: str, found: Mapping[str, Any]) -> Bar:
    return Bar(label=label, value=found["value"], low=found["low"], high=found["high"], note=interval(found))


def _mistakes(document: Mapping[str, Any]) -> str:
    counts, classes = document["metrics"]["confusion"], document["classes"]
    pairs = sorted(
        ((counts[i][j], a, b) for i, a in enumerate(classes) for j, b in enumerate(classes) if i != j and counts[i][j]),
        reverse=True,
    )[:5]
    listed = "".join(f"<li>{n} × <b>{escape(a)}</b> called <b>{escape(b)}</b></li>" for n, a, b in pairs)
    chart = heat_map("confusion matrix", counts, classes) if len(classes) <= 30 else ""
    return f"{chart}<h3>The most frequent</h3><ul>{listed or '<li>none</li>'}</ul>"


def _curves(document: Mapping[str, Any]) -> str:
    classes = list(document["curves"])
    shown = classes[1:] if len(classes) == 2 else classes[:_MOST_LINES]
    unit = (0.0, 1.0, 0.0, 1.0)

    def lines(key: str) -> list[Series]:
        found = []
        for label in shown:
            points = document["curves"][label][key]
            pairs = [(p["score"], p["share"]) if key == "reliability" else (p[0], p[1]) for p in points]
            found.append(Series(label=label, points=pairs, has_dots=key == "reliability"))
        return found

    ideal = Series(label="as good as its word", points=[(0, 0), (1, 1)], is_dashed=True)
    charts = [
        line_chart("ROC", lines("roc"), x_label="false alarms", y_label="found", box=unit),
        line_chart("precision and recall", lines("pr"), x_label="recall", y_label="precision", box=unit),
        line_chart(
            "reliability",
            [*lines("reliability"), ideal],
            x_label="probability said",
            y_label="share observed",
            box=unit,
        ),
    ]
    curve = document.get("thresholdCurve")
    if curve:
        series = [
            Series(label=name, points=list(zip(curve["thresholds"], curve[name], strict=True)))
            for name in ("precision", "recall")
        ]
        at = document["decision"].get("value")
        if at is not None:
            series.append(Series(label=f"threshold {at:.3g}", points=[(at, 0.0), (at, 1.0)], is_dashed=True))
        name = f"threshold of {escape(curve['class'])}, out of fold"
        charts.append(line_chart(name, series, x_label="threshold", y_label="", box=unit))
        if "cost" in curve:
            spent = Series(label="cost per row", points=list(zip(curve["thresholds"], curve["cost"], strict=True)))
            charts.append(line_chart(f"cost, {name}", [spent], x_label="threshold", y_label="cost per row"))
    return f'<div class="pair">{"".join(f"<div>{chart}</div>" for chart in charts if chart)}</div>'


def _interpretation(found: Mapping[str, Any], classes: Sequence[str]) -> str:
    top = [one for one in found["importance"] if one["mean"] > 0][:12]
    parts = []
    if top:
        bars = [
            Bar(
                label=one["feature"],
                value=one["mean"],
                low=max(0.0, one["mean"] - 2 * one["deviation"]),
                high=one["mean"] + 2 * one["deviation"],
                note=f"+{one['mean']:.3f}",
            )
            for one in top
        ]
        parts.append(
            f"{interval_chart('permutation importance', bars, low=0.0)}<p class=soft>Rise of log loss when a column is "
            "shuffled: what the model uses, not what causes what. Columns that tell the same share the credit.</p>"
        )
    shapley = found.get("shap", [])[:12]
    if shapley:
        bars = [
            Bar(label=one["feature"], value=one["mean"], low=0.0, high=one["mean"], note=f"{one['mean']:.3f}")
            for one in shapley
        ]
        parts.append(
            f"<h3>Mean share in an answer (SHAP)</h3>{interval_chart('mean absolute SHAP value', bars, low=0.0)}"
            "<p class=soft>By how much of a probability a feature moves the answer, on average.</p>"
        )
    charts = [_dependence(one, classes) for one in found["partialDependence"]]
    if charts:
        parts.append(f'<h3>How its answer moves</h3><div class="pair">{"".join(charts)}</div>')
    if found["coefficients"]:
        rows = "".join(
            f"<tr><td>{escape(one['class'])}</td><td>{escape(one['feature'])}</td><td>{one['coefficient']:+.3f}</td>"
            f"<td>{one['oddsRatio']:.2f}</td></tr>"
            for one in sorted(found["coefficients"], key=lambda one: -abs(one["coefficient"]))[:12]
        )
        parts.append(
            "<h3>Strongest coefficients</h3><table><tr><th>class</th><th>feature</th><th>coefficient</th>"
            f"<th>odds ratio per step</th></tr>{rows}</table>"
        )
    return "".join(parts)


def _dependence(one: Mapping[str, Any], classes: Sequence[str]) -> str:
    width = len(one["probabilities"][0])
    columns = [1] if width == 2 else range(min(width, _MOST_LINES))
    series = [
        Series(label=classes[c], points=[(v, p[c]) for v, p in zip(one["values"], one["probabilities"], strict=True)])
        for c in columns
    ]
    chart = line_chart(
        f"partial dependence on {one['feature']}", series, x_label=one["feature"], y_label="mean probability"
    )
    return f"<div>{chart}</div>"


def _fairness(found: Mapping[str, Any]) -> str:
    if not found["attributes"]:
        return "<p>No attribute was declared, so nothing was checked for fairness.</p>"
    parts = []
    for name, attribute in found["attributes"].items():
        groups = {g: v for g, v in attribute["groups"].items() if v["accuracy"]["value"] is not None}
        bars = [
            Bar(
                label=f"{group} ({one['rows']})",
                value=one["accuracy"]["value"],
                low=one["accuracy"]["low"],
                high=one["accuracy"]["high"],
                note=interval(one["accuracy"]),
                is_marked=one["rows"] < found["leastRows"],
            )
            for group, one in groups.items()
        ]
        parts.append(
            f"<h3>{escape(name)}: accuracy by group</h3>{interval_chart(f'accuracy by {name}', bars, high=1.0)}"
        )
        parts.append(_gaps(attribute["gaps"]))
    for limit in found["limits"]:
        kind, text = ("good", "holds") if limit["passed"] else ("bad", limit["problem"])
        of_class = f" of {limit['class']}" if limit["class"] else ""
        parts.append(
            f"<p class={kind}>Limit on {limit['metric']}{escape(of_class)} by {escape(limit['attribute'])}: "
            f"{escape(text)}.</p>"
        )
    return "".join(parts)


def _gaps(gaps: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(label)}</td>"
        + "".join(f"<td>{number(one[key]['difference'])}</td>" for key in ("recall", "precision", "selectionRate"))
        + f"<td>{number(one['selectionRate']['ratio'])}</td></tr>"
        for label, one in gaps["perClass"].items()
    )
    return (
        "<table><tr><th>class</th><th>recall differs by</th><th>precision differs by</th><th>selection differs by</th>"
        f"<th>selection ratio</th></tr>{rows}</table>"
    )
