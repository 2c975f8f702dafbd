"""The model card: what a reader must know about a model, as Markdown, from the run's own values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pilotage_server.train.config import Config
from pilotage_server.train.data import Table
from pilotage_server.train.export import Export


def render_card(
    config: Config, table: Table, rows: Mapping[str, int], export: Export, metrics: Mapping[str, Any]
) -> str:
    """Write the card.

    `rows` counts the rows of each part, `metrics` is what `evaluate` gave for the test part.
    """
    model = config.model
    params = ", ".join(f"{key}={value}" for key, value in sorted(model.params.items())) or "defaults"
    sections = [
        f"# {config.name} {config.version}",
        config.description,
        "## Model",
        f"{model.estimator} ({params}), scaling: {model.scale}, seed {model.seed}. Served by {export.backend}. "
        f"{_decision(config)}",
        "## Data",
        f"{table.name}: {len(table.features)} features, {len(table.classes)} classes. "
        f"Rows: {', '.join(f'{count} {part}' for part, count in rows.items())}, stratified by class. "
        f"Fingerprint {table.fingerprint()[:16]}.{_alterations(config)}",
        "## Quality on the test rows",
        _table(metrics),
        "Intervals cover 95 %: Wilson for proportions, bootstrap for F1, averages and log loss.",
        "## Parity with scikit-learn",
        "\n".join(f"- {a.backend}: {a.problem or _passed(a.max_difference, a.rows)}" for a in export.attempts)
        or "- not tried: scikit-learn was asked for",
        "## Limits",
        "The figures hold for rows like those above. The model answers every finite row, also one far outside the "
        "ranges it was trained on. No feature was checked for fairness.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _passed(difference: float | None, rows: int) -> str:
    return f"equal on {rows} rows, probabilities within {difference:.1g}"


def _decision(config: Config) -> str:
    if config.threshold is None:
        return "The most probable class wins."
    return f"Class {config.threshold.label} wins from probability {config.threshold.value:g} on."


def _alterations(config: Config) -> str:
    done = [f"{s.keep:.0%} of the training rows of {s.label or 'every class'} kept" for s in config.data.subsample]
    done += [f"{r.share:.0%} of the training rows of {r.label} labelled {r.to}" for r in config.data.relabel]
    return f" On purpose: {'; '.join(done)}." if done else ""


def _table(metrics: Mapping[str, Any]) -> str:
    lines = ["| class | precision | recall | F1 | rows |", "|---|---|---|---|---|"]
    for label, found in metrics["perClass"].items():
        cells = [_interval(found[name]) for name in ("precision", "recall", "f1")]
        lines.append(_line([label, *cells, str(found["support"])]))
    macro = metrics["macro"]
    lines.append(_line(["macro", *(_interval(macro[name]) for name in ("precision", "recall", "f1")), ""]))
    accuracy, loss = _interval(metrics["accuracy"]), _interval(metrics["logLoss"])
    return "\n".join([*lines, "", f"Accuracy {accuracy}, log loss {loss}, {metrics['rows']} rows."])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _interval(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "undefined"
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
