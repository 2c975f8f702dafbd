"""The model card: what a reader must know about a model, as Markdown, from the run's own values.

The sections are those of Mitchell et al. 2019, Model Cards for Model Reporting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pilotage_server.train.report.words import METRIC_NAMES, interval, number, params


def render_card(document: Mapping[str, Any]) -> str:
    """Write the card from a run's document."""
    sections = [
        f"# {document['name']} {document['version']}",
        document["description"],
        *(["## Intended use", document["use"]] if document["use"] else []),
        "## Model",
        _model(document),
        *_comparison(document),
        "## Data",
        _data(document),
        "## Quality on the test rows",
        _table(document["metrics"]),
        "Intervals cover 95 %: Wilson for proportions, bootstrap for the rest"
        + (", whole groups drawn." if document["data"]["groups"] else "."),
        f"Class shares alone (the dummy) would reach accuracy {number(document['dummy']['accuracy']['value'])} and log "
        f"loss {number(document['dummy']['logLoss']['value'])} on these rows.",
        "## Parity with scikit-learn",
        "\n".join(f"- {a['backend']}: {a['problem'] or _passed(a)}" for a in document["parity"])
        or "- not tried: scikit-learn was asked for",
        *_important(document),
        "## Fairness",
        _fairness(document["fairness"]),
        "## Limits",
        _limits(document),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _model(document: Mapping[str, Any]) -> str:
    chosen = document["chosen"]
    parts = [
        f"{chosen['estimator']} ({params(chosen['params'])}), scaling: {chosen['scale']}, seed {chosen['seed']}. "
        f"Served by {document['backend']}. {document['decision']['text']}"
    ]
    if chosen["imbalance"] != "none":
        parts.append(f"Unequal classes: {chosen['imbalance']}.")
    if chosen["calibration"] != "none":
        parts.append(f"Probabilities calibrated out of fold ({chosen['calibration']}).")
    return " ".join(parts)


def _comparison(document: Mapping[str, Any]) -> list[str]:
    """Every variant of a comparison, by nested cross-validation on the training rows."""
    found = document.get("comparison")
    if not found:
        return []
    metric = found["metric"]
    lines = [
        _line(["variant", METRIC_NAMES[metric], "log loss", "calibration error", "accuracy", "against the winner"])
    ]
    lines.append("|---|---|---|---|---|---|")
    for row in found["variants"]:
        against = "chosen" if row["name"] == found["winner"] else _against(row)
        cells = [row["name"], number(row["mean"]), number(row["metrics"]["logLoss"]), number(row["calibrationError"])]
        lines.append(_line([*cells, number(row["metrics"]["accuracy"]), against]))
    text = f"Chosen by {METRIC_NAMES[metric]} over {found['outerFolds']} outer folds of the training rows."
    return ["## Comparison", text, "\n".join(lines)]


def _against(row: Mapping[str, Any]) -> str:
    return "" if row.get("p") is None else f"worse by {row['advantage']:.3f}, p = {row['p']:.2g}"


def _data(document: Mapping[str, Any]) -> str:
    data, rows = document["data"], document["rows"]
    how = {"random": "stratified by class", "group": "no group in two parts", "time": "the latest rows test"}
    text = (
        f"{data['name']}: {len(document['features'])} features, {len(document['classes'])} classes. "
        f"Rows: {', '.join(f'{count} {part}' for part, count in rows.items())}, {how[data['split']]}. "
        f"Fingerprint {data['fingerprint'][:16]}."
    )
    if data["alterations"]:
        text += f" On purpose: {'; '.join(data['alterations'])}."
    for finding in [*document["quality"]["findings"], *document["quality"]["allowed"]]:
        column = f" {finding['column']}" if finding["column"] else ""
        text += f"\n- {finding['check']}{column}: {finding['detail']}"
    return text


def _table(metrics: Mapping[str, Any]) -> str:
    lines = ["| class | precision | recall | F1 | ROC AUC | rows |", "|---|---|---|---|---|---|"]
    names = ("precision", "recall", "f1", "rocAuc")
    for label, found in metrics["perClass"].items():
        lines.append(_line([label, *(interval(found[name]) for name in names), str(found["support"])]))
    for average in ("macro", "weighted"):
        cells = [interval(metrics[average][name]) for name in names[:3]]
        lines.append(_line([average, *cells, interval(metrics["rocAuc"][average]), ""]))
    line = (
        f"Accuracy {interval(metrics['accuracy'])}, log loss {interval(metrics['logLoss'])}, "
        f"Brier score {interval(metrics['brier'])}, {metrics['rows']} rows."
    )
    if "expectedCost" in metrics:
        line += f" Expected cost per row {interval(metrics['expectedCost'])}."
    return "\n".join([*lines, "", line])


def _important(document: Mapping[str, Any]) -> list[str]:
    top = [one for one in document["interpretation"]["importance"] if one["mean"] > 0][:5]
    if not top:
        return []
    listed = ", ".join(f"{one['feature']} (+{one['mean']:.3f})" for one in top)
    return ["## What it looks at", f"Rise of log loss when a column is shuffled: {listed}."]


def _fairness(found: Mapping[str, Any]) -> str:
    if not found["attributes"]:
        return "No attribute was declared, so no feature was checked for fairness."
    lines = []
    for name, attribute in found["attributes"].items():
        gap = attribute["gaps"]["accuracy"]["difference"]
        groups = ", ".join(f"{g} {interval(v['accuracy'])}" for g, v in attribute["groups"].items())
        lines.append(f"- {name}: accuracy {groups}; largest difference {number(gap)}")
    for limit in found["limits"]:
        of_class = f" of {limit['class']}" if limit["class"] else ""
        state = "holds" if limit["passed"] else limit["problem"]
        lines.append(f"- limit on {limit['metric']}{of_class} by {limit['attribute']}: {state}")
    return "\n".join(lines)


def _limits(document: Mapping[str, Any]) -> str:
    lines = [
        "The figures hold for rows like those above. The model answers every finite row, also one far outside the "
        "ranges it was trained on.",
        *(f"- {note}" for note in document["warnings"]),
    ]
    return "\n".join(lines)


def _passed(attempt: Mapping[str, Any]) -> str:
    return f"equal on {attempt['rows']} rows, probabilities within {attempt['max_difference']:.1g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
