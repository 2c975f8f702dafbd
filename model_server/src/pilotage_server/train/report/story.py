"""The report's frame: what the problem is, what the data are, why this metric and this model; and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from pilotage_server.train.report.svg import Bar, Series, interval_chart, line_chart
from pilotage_server.train.report.words import METRIC_NAMES, METRIC_REASONS, number, params, percent


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
        f"{interval_chart('rows per class', bars, low=0)}{checks}"
    )


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
    chart = interval_chart(f"{METRIC_NAMES[found['metric']]} over the outer folds", bars)
    return f"{chart}<p class=soft>Mean and range over the folds; {better} is better.</p>"


def _table(found: Mapping[str, Any], classes: list[str]) -> str:
    """Log loss, calibration and recall per class side by side, and how sure the choice is."""
    shown = classes[:10]
    head = "".join(f"<th>recall {escape(label[:12])}</th>" for label in shown)
    rows = []
    for row in found["variants"]:
        mark = ' class="chosen"' if row["name"] == found["winner"] else ""
        sure = "" if row.get("p") is None else f"{row['p']:.2g}"
        recalls = "".join(f"<td>{number(row['recall'][label], 2)}</td>" for label in shown)
        rows.append(
            f"<tr{mark}><td>{escape(row['name'])}</td><td>{number(row['metrics']['logLoss'])}</td>"
            f"<td>{number(row['calibrationError'])}</td><td>{number(row['metrics']['accuracy'])}</td><td>{sure}</td>{recalls}</tr>"
        )
    return (
        "<h3>Side by side</h3><table><tr><th>variant</th><th>log loss</th><th>calibration error</th><th>accuracy</th>"
        f"<th>p against the winner</th>{head}</tr>{''.join(rows)}</table>"
        "<p class=soft>p: corrected resampled t-test; a large p means the folds cannot tell the two apart.</p>"
    )


def _searches(document: Mapping[str, Any]) -> str:
    """Learning and validation curves, where they were asked for."""
    parts = []
    learned = document.get("learningCurve")
    if learned and learned["points"]:
        series = [
            Series(
                label="training rows", points=[(p["rows"], p["training"]) for p in learned["points"]], is_dashed=True
            ),
            Series(
                label="validation rows", points=[(p["rows"], p["validation"]) for p in learned["points"]], has_dots=True
            ),
        ]
        name = METRIC_NAMES[learned["metric"]]
        parts.append(
            "<h3>Would more rows help?</h3>"
            + line_chart("learning curve", series, x_label="training rows", y_label=name)
        )
    for curve in document.get("validationCurves", []):
        points = [(p["value"], p["goodness"]) for p in curve["points"]]
        chart = line_chart(
            f"validation curve of {curve['parameter']}",
            [Series(label="best inner score", points=points, has_dots=True)],
            x_label=curve["parameter"],
            y_label="goodness (higher is better)",
        )
        parts.append(f"<h3>{escape(curve['parameter'])}</h3>{chart}")
    return "".join(parts)
