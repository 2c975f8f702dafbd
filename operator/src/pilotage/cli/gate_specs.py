"""What the gate commands read from files: gates out of a manifest, confusion counts of a test set, as plain values.

A file may be a ModelDeployment (its steps, deadlines and delays become defaults) or `{gates: […], analysis: {…}}`.
Every mistake names the file, the field and the remedy.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pilotage.api.times import parse_duration
from pilotage.cli.errors import Usage
from pilotage.gate import Analysis, GateSpecError

EXAMPLE = "{name: quality, metric: accuracy, margin: 0.02}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFile:
    """`spec` as `Analysis.from_spec` takes it; the rest is what a ModelDeployment says about its rollout, if it is one.

    `weights` are the canary's shares at each step, in (0, 1).
    """

    path: str
    spec: Mapping[str, Any]
    analysis: Analysis
    weights: tuple[float, ...] = ()
    duration_s: float | None = None
    label_delay_s: float | None = None
    audit_share: float | None = None
    classes: tuple[str, ...] = field(default=())


def read_gates(path: str) -> GateFile:
    """Gates of a YAML or JSON file, `-` for stdin; Usage with every mistake in it."""
    document = _document(path)
    spec = document.get("spec", document)
    if not isinstance(spec, Mapping) or not spec.get("gates"):
        raise Usage(f"{path}: no gates; write gates: [{EXAMPLE}], alone or in a ModelDeployment's spec")
    chosen = {"gates": spec["gates"], "analysis": dict(spec.get("analysis") or {})}
    try:
        analysis = Analysis.from_spec(chosen)
    except GateSpecError as error:
        raise Usage("\n".join(f"{path}: {problem}" for problem in error.problems)) from error
    if spec is document:
        return GateFile(path=path, spec=chosen, analysis=analysis)
    rollout, feedback = spec.get("rollout") or {}, spec.get("feedback") or {}
    steps = [step.get("weight", 0) for step in rollout.get("steps") or ()]
    return GateFile(
        path=path,
        spec=chosen,
        analysis=analysis,
        weights=tuple(weight / 100 for weight in steps if 0 < weight < 100),
        duration_s=_duration(path, "spec.rollout.maxDuration", rollout.get("maxDuration", "24h")),
        label_delay_s=_duration(path, "spec.feedback.labelDelay", feedback.get("labelDelay", "10m")),
        audit_share=feedback.get("auditRate"),
    )


def read_confusion(path: str) -> dict[str, dict[str, float]]:
    """Counts `{actual: {predicted: n}}` of a JSON file: that itself, or a test result with `classes` and `confusion`
    (as `pilotage-model train` writes to result.json), or one whose `metrics` has them.
    """
    document = _document(path)
    inner = document.get("metrics", document)
    table = inner.get("confusion", document.get("confusion", document)) if isinstance(inner, Mapping) else document
    if isinstance(table, Sequence):
        named = document.get("classes") or (inner.get("classes") or list(inner.get("perClass", {})))
        if len(named) != len(table):
            raise Usage(f"{path}: confusion: {len(table)} rows for {len(named)} classes; name every class in classes")
        table = {a: dict(zip(named, row, strict=True)) for a, row in zip(named, table, strict=True)}
    return {str(actual): _row(path, str(actual), row) for actual, row in table.items()}


def _row(path: str, actual: str, row: object) -> dict[str, float]:
    if not isinstance(row, Mapping) or not row:
        raise Usage(f"{path}: {actual}: {row!r} is not a row; write {{actual: {{predicted: count}}}}")
    for name, n in row.items():
        if isinstance(n, bool) or not isinstance(n, int | float) or n < 0:
            raise Usage(f"{path}: {actual}.{name}: {n!r} is not a count; write a number, 0 or more")
    if sum(row.values()) == 0:
        raise Usage(f"{path}: {actual}: no rows of this class; a model's quality on it cannot be known from this file")
    return {str(name): float(n) for name, n in row.items()}


def _document(path: str) -> Mapping[str, Any]:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{path}: cannot be read ({error}); give a YAML or JSON file, or - for stdin") from error
    try:
        found = json.loads(text) if path.endswith(".json") else _first_document(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise Usage(f"{path}: not {'JSON' if path.endswith('.json') else 'YAML'}: {error}") from error
    if not isinstance(found, Mapping):
        raise Usage(f"{path}: {type(found).__name__} at the top; a mapping is needed")
    return found


def _first_document(text: str) -> object:
    """Of several documents the one that has gates, so that a file for `kubectl apply` can be given as it is."""
    documents = [each for each in yaml.safe_load_all(text) if each is not None]
    with_gates = [each for each in documents if isinstance(each, Mapping) and _gates_in(each)]
    return next(iter(with_gates or documents), None)


def _gates_in(document: Mapping[str, Any]) -> bool:
    spec = document.get("spec", document)
    return isinstance(spec, Mapping) and bool(spec.get("gates"))


def _duration(path: str, name: str, value: object) -> float:
    try:
        return parse_duration(str(value))
    except ValueError as error:
        raise Usage(f"{path}: {name}: {error}") from error
