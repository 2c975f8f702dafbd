"""The report's frame: what the problem is, what the data are, why this metric and this model; and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from pilotage_server.train.report.svg import Axes, Bar, Series, interval_chart, line_chart
from pilotage_server.train.report.tables import table
from pilotage_server.train.report.words import METRIC_NAMES, METRIC_REASONS, number, params, percent

_WIDE = 20
"""Values that span such a factor stand on a logarithmic axis."""


def sections(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Headings with their HTML, before the results."""
    return [
        ("The problem", _problem(document)),
        ("The data", _data(document)),
        ("How the model was chosen", _choice(document)),
    ]


def closing(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Headings with their HTML, after the results."""
    notes = "".join(f'<li class="warn">{escape(note)}</li>' for note in document["warnings"])
    failed = "".join(
        f"<li>{escape(a['backend'])}: {escape(a['problem'])}</li>" for a in document["parity"] if a["problem"]
    )
    text = (
        "<ul><li>The figures hold for rows like those above: same sources, same season, same way of labelling.</li>"
        "<li>The model answers every row, also one unlike all it has seen; drift counters in production say when.</li>"
        f"{notes}</ul>"
    )
    if failed:
        text += f"<h3>Backends that gave other answers than scikit-learn, and were not used</h3><ul>{failed}</ul>"
    return [("Limits", text)]


def _problem(document: Mapping[str, Any]) -> str:
    classes = document["classes"]
    listed = ", ".join(f"<b>{escape(label)}</b>" for label in classes[:12]) + (" …" if len(classes) > 12 else "")
    use = f"<p>{escape(document['use'])}</p>" if document["use"] else ""
    costs = "".join(
        f"<li>saying <b>{escape(predicted)}</b> when it is <b>{escape(actual)}</b> costs {cost:g}</li>"
        for actual, row in document["costs"].items()
        for predicted, cost in row.items()
    )
    priced = f"<p>Mistakes have prices:</p><ul>{costs}</ul>" if costs else ""
    return (
        f"<p>Tell apart {len(classes)} classes: {listed}, from {len(document['features'])} features.</p>{use}{priced}"
        f"<p>{escape(document['decision']['text'])}</p>"
    )


def _data(document: Mapping[str, Any]) -> str:
    data, rows = document["data"], document["rows"]
    total = sum(data["classRows"]) or 1
    bars = [
        Bar(label=label, value=count, low=0, high=count, note=f"{count} ({percent(count / total)})")
        for label, count in zip(document["classes"], data["classRows"], strict=True)
    ]
    how = {
        "random": "drawn at random, each class in proportion",
        "group": f"drawn by group ({data['groups']} groups), none of them in two parts",
        "time": "the latest rows are the test",
    }[data["split"]]
    findings = "".join(
        f"<li><b>{escape(f['check'])}</b> {escape(f['column'])}: {escape(f['detail'])}</li>"
        for f in [*document["quality"]["findings"], *document["quality"]["allowed"]][:30]
    )
    checks = f"<h3>What the checks found</h3><ul>{findings}</ul>" if findings else "<p>The checks found nothing.</p>"
    altered = "".join(f"<p class=warn>On purpose: {escape(text)}.</p>" for text in data["alterations"])
    return (
        f"<p>{escape(data['name'])}: {sum(data['classRows'])} rows. {rows['training']} to learn from, {rows['test']} "
        f"to test with, {rows['held back']} held back; {how}.</p>{altered}"
        f"{interval_chart('Rows per class', bars, low=0, is_filled=True)}{_origin(data)}{checks}"
    )


def _origin(data: Mapping[str, Any]) -> str:
    """Where rows come from, as people wrote it down; and which columns are about persons."""
    told = "".join(f"<dt>{topic}</dt><dd>{escape(text)}</dd>" for topic, text in data.get("about", {}).items())
    personal = ", ".join(f"<b>{escape(name)}</b>" for name in data.get("personal", ()))
    listed = f"<p>Personal data among the features: {personal}.</p>" if personal else ""
    return (f"<h3>Where they come from</h3><dl>{told}</dl>" if told else "") + listed


def _choice(document: Mapping[str, Any]) -> str:
    chosen = document["chosen"]
    text = f"<p><b>{escape(chosen['name'])}</b> ({escape(params(chosen['params']))})."
    if chosen["calibration"] != "none":
        text += f" Its probabilities are calibrated out of fold ({chosen['calibration']})."
    text += "</p>"
    found = document.get("comparison")
    if found:
        name = METRIC_NAMES[found["metric"]]
        text = (
            f"<p>The yardstick is <b>{name}</b>: {METRIC_REASONS[found['metric']]}. Every variant was tuned and judged "
            f"by nested cross-validation ({found['outerFolds']} outer folds) on the training rows alone.</p>"
            f"{_contest(found)}{_table(found, document['classes'])}{text}"
        )
    return text + _searches(document)


def _contest(found: Mapping[str, Any]) -> str:
    bars = []
    for row in sorted(found["variants"], key=lambda row: row["mean"] if found["lowerIsBetter"] else -row["mean"]):
        spread = (max(row["perFold"]) - min(row["perFold"])) / 2
        bars.append(
            Bar(
                label=row["name"],
                value=row["mean"],
                low=min(row["perFold"]),
                high=max(row["perFold"]),
                note=f"{row['mean']:.3f} ± {spread:.3f}",
                is_marked=row["name"] == found["winner"],
            )
        )
    better = "lower" if found["lowerIsBetter"] else "higher"
    chart = interval_chart(f"{METRIC_NAMES[found['metric']]} over the outer folds ({better} is better)", bars)
    return f"{chart}<p class=soft>Mean and range over the folds; the chosen one in orange.</p>"


def _table(found: Mapping[str, Any], classes: list[str]) -> str:
    """Log loss, calibration and recall per class side by side, and how sure the choice is."""
    shown = classes[:10]
    head = ["variant", "log loss", "calibration error", "accuracy", "p against the chosen"]
    head += [f"recall {escape(label[:12])}" for label in shown]
    rows = [
        [
            escape(row["name"]),
            number(row["metrics"]["logLoss"]),
            number(row["calibrationError"]),
            number(row["metrics"]["accuracy"]),
            "" if row.get("p") is None else f"{row['p']:.2g}",
            *(number(row["recall"][label], 2) for label in shown),
        ]
        for row in found["variants"]
    ]
    winner = next((i for i, row in enumerate(found["variants"]) if row["name"] == found["winner"]), None)
    return (
        f"{table('Side by side, on rows no fold had learned from', head, rows, marked=winner)}"
        "<p class=soft>p: corrected resampled t-test; a large p means the folds cannot tell the two apart.</p>"
    )


def _searches(document: Mapping[str, Any]) -> str:
    """Learning and validation curves, where they were asked for."""
    charts = []
    learned = document.get("learningCurve")
    if learned and learned["points"]:
        points = learned["points"]
        series = [
            Series(label="training rows", points=[(p["rows"], p["training"]) for p in points], is_dashed=True),
            Series(label="validation rows", points=[(p["rows"], p["validation"]) for p in points], has_dots=True),
        ]
        axes = Axes(x="training rows", y=METRIC_NAMES[learned["metric"]])
        charts.append(line_chart("Would more rows help? (learning curve)", series, axes))
    charts += [_validation(curve) for curve in document.get("validationCurves", ())]
    return f'<div class="pair">{"".join(charts)}</div>' if charts else ""


def _validation(curve: Mapping[str, Any]) -> str:
    """The best inner score by value of one hyperparameter, in the metric's own direction."""
    name = METRIC_NAMES[curve["metric"]]
    sign = -1 if curve["metric"] in ("logLoss", "brier", "expectedCost") else 1
    points = [(p["value"], sign * p["goodness"]) for p in curve["points"]]
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    axes = Axes(x=curve["parameter"], y=name, is_log=low > 0 and high / low >= _WIDE)
    title = f"How {curve['parameter']} matters (validation curve)"
    return line_chart(title, [Series(label=f"best {name} of the inner folds", points=points, has_dots=True)], axes)
