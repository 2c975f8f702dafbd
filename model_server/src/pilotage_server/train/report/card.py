"""The model card: what a reader must know about a model, as Markdown, from the run's own values.

The sections are those of Mitchell et al. 2019, Model Cards for Model Reporting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pilotage_server.train.report.words import METRIC_NAMES, METRIC_REASONS, interval, number, params

_MOST_CLASSES = 20
_TOLD_ELSEWHERE = ("consent", "retention", "limits", "contact")


def render_card(document: Mapping[str, Any]) -> str:
    """Write the card from a run's document."""
    about = document["data"].get("about", {})
    sections = [
        f"# {document['name']} {document['version']}",
        document["description"],
        "## Intended use",
        _use(document),
        "## Model",
        _model(document),
        *_comparison(document),
        "## Data",
        _data(document),
        "## Quality on the test rows",
        *_quality(document),
        "## Parity with scikit-learn",
        "\n".join(f"- {a['backend']}: {a['problem'] or _passed(a)}" for a in document["parity"])
        or "- not tried: scikit-learn was asked for",
        *_important(document),
        "## Fairness",
        _fairness(document["fairness"]),
        "## Ethical considerations",
        _ethics(document),
        "## Limits",
        _limits(document),
        *(["## Contact", about["contact"]] if "contact" in about else []),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _use(document: Mapping[str, Any]) -> str:
    listed = ", ".join(document["classes"][:_MOST_CLASSES]) + (" …" if len(document["classes"]) > _MOST_CLASSES else "")
    text = document["use"] or "Nobody wrote down what it is for (`use` in the configuration)."
    return (
        f"{text}\n\nIt tells rows with {len(document['features'])} features apart as one of {listed}. Not meant: rows "
        "from other sources or other times than those described here, answers to any other question, and decisions "
        "about people that nobody checks and nobody answers for."
    )


def _quality(document: Mapping[str, Any]) -> list[str]:
    dummy = document["dummy"]
    metric = (document.get("comparison") or {}).get("metric")
    chosen = [f"Models were chosen by {METRIC_NAMES[metric]}, because {METRIC_REASONS[metric]}."] if metric else []
    return [
        *chosen,
        _table(document["metrics"]),
        "Intervals cover 95 %: Wilson for proportions, bootstrap for the rest"
        + (", whole groups drawn." if document["data"]["groups"] else "."),
        f"Class shares alone (the dummy) would reach accuracy {number(dummy['accuracy']['value'])} and log loss "
        f"{number(dummy['logLoss']['value'])} on these rows.",
    ]


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
    origin = {topic: text for topic, text in data.get("about", {}).items() if topic not in _TOLD_ELSEWHERE}
    text += "".join(f"\n- {topic}: {answer}" for topic, answer in origin.items())
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
    rest = ("accuracy", "balancedAccuracy", "logLoss", "d2", "brier", "calibrationError", "matthews", "kappa",
            "expectedCost")  # fmt: skip
    told = [f"{METRIC_NAMES[name]} {interval(metrics[name])}" for name in rest if name in metrics]
    return "\n".join([*lines, "", f"Over all {metrics['rows']} rows: {'; '.join(told)}."])


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


def _ethics(document: Mapping[str, Any]) -> str:
    """Persons behind the rows: what is known of them, what was agreed, how long it is kept."""
    data = document["data"]
    about, personal = data.get("about", {}), data.get("personal", ())
    names = ", ".join(personal)
    lines = [
        f"Personal data among the features: {names}." if names else "No column was declared or found to be personal.",
        f"Consent: {about['consent']}" if "consent" in about else "Consent of the people behind the rows: not stated.",
        f"Retention of the rows: {about['retention']}"
        if "retention" in about
        else "Retention of the rows: not stated.",
        "A payload log of the server, where it is on, holds what is asked from then on; it needs a term of its own.",
    ]
    if not document["fairness"]["attributes"]:
        lines.append("Whether it treats groups of people alike was not checked: no attribute was declared.")
    return "\n".join(f"- {line}" for line in lines)


def _limits(document: Mapping[str, Any]) -> str:
    stated = document["data"].get("about", {}).get("limits")
    notes = [*([stated] if stated else []), *document["warnings"]]
    text = (
        "The figures hold for rows like those above. The model answers every row it can read, also one far outside the "
        "ranges it was trained on."
    )
    return "\n".join([text, *(["", *(f"- {note}" for note in notes)] if notes else [])])


def _passed(attempt: Mapping[str, Any]) -> str:
    return f"equal on {attempt['rows']} rows, probabilities within {attempt['max_difference']:.1g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"  # a bar would end the cell
