"""One training run, from configuration to bundle, in the order a reader would tell it.

load → check → split → select and fit → export through the parity gate → open the test rows, once → evaluate → write.
Owns the folder it writes to: `bundle/` (files), `oci/` (the same as an OCI image layout), `report.html`,
`model_card.md`, `sbom.cdx.json`, `result.json`, and `holdback.json` when rows are held back; after a refusal
`refused.json` alone.
Numeric libraries run on one thread, so that sums have one order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pilotage_server.train.config import Config, ConfigError
from pilotage_server.train.data import Table, load
from pilotage_server.train.data.quality import QualityReport, check, check_allowed, lines
from pilotage_server.train.data.sealed import Sealed
from pilotage_server.train.data.split import Part, Split, split
from pilotage_server.train.deploy.bundle import Model, build_manifest
from pilotage_server.train.deploy.export import Export, export
from pilotage_server.train.deploy.parity import parity_rows
from pilotage_server.train.deploy.sbom import ROOTS, SBOM_FILE, bill_of_materials, extras_of
from pilotage_server.train.deploy.write import (
    CARD_FILE,
    REPORT_FILE,
    write_bundle,
    write_holdback,
    write_refusal,
    write_result,
    write_text,
)
from pilotage_server.train.evaluate.fairness import check_limits
from pilotage_server.train.evaluate.outcome import Outcome, assess, tell_holdback
from pilotage_server.train.models.serving import serving_form
from pilotage_server.train.progress import SILENT, Progress
from pilotage_server.train.refusals import FairnessFailed, QualityFailed
from pilotage_server.train.report.card import render_card
from pilotage_server.train.report.page import render_report
from pilotage_server.train.search.decision import check_rule, cost_matrix
from pilotage_server.train.search.select import Selected, select


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run made: the image reference with its digest, and the document written to result.json."""

    reference: str
    document: Mapping[str, Any]


def train(
    config: Config, out: Path, *, key: Ed25519PrivateKey | None, jobs: int = 1, progress: Progress = SILENT
) -> Result:
    """Train, evaluate, export and write; raises `ConfigError`.

    Unsigned without a key, which no cluster accepts. `jobs`: fits at a time, −1 for all a backend has.
    """
    progress.begin("reading rows")
    table = load(config.data.source, config.data.columns)
    return train_table(config, table, out, key=key, jobs=jobs, progress=progress)


def train_table(
    config: Config,
    table: Table,
    out: Path,
    *,
    key: Ed25519PrivateKey | None,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> Result:
    """Train on a table that is already loaded."""
    _check_wishes(config, table)
    parts = split(table, config.split, config.data)
    progress.begin("checking rows")
    quality = check(table, parts, config.data, config.split.seed)
    if quality.failures:
        write_refusal(out, {"name": config.name, "reason": "data", "quality": quality.document()})
        raise QualityFailed(lines(quality.failures))
    sealed = Sealed(parts.test)
    with threadpool_limits(limits=1):
        selected = select(config, table, parts, jobs=jobs, progress=progress)
        progress.begin("exporting and evaluating")
        return finish(config, table, parts, selected, sealed, quality, out, key)


def _check_wishes(config: Config, table: Table) -> None:
    """Hold what names classes, columns and attributes against the data; raises `ConfigError` with all mistakes."""
    checks: tuple[Callable[[], Any], ...] = (
        lambda: check_rule(config.decision, table.classes),
        lambda: cost_matrix(config.costs, table.classes),
        lambda: check_limits(config, table.attributes, table.classes),
        lambda: check_allowed(config.data.quality, table),
    )
    problems = []
    for one in checks:
        try:
            one()
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))


def finish(
    config: Config,
    table: Table,
    parts: Split,
    selected: Selected,
    sealed: Sealed,
    quality: QualityReport,
    out: Path,
    key: Ed25519PrivateKey | None,
) -> Result:
    """From a fitted model to everything on disk; the test rows are opened here, after every choice."""
    pipeline = serving_form(selected.fitted)
    test = sealed.open()
    exported = _export(config, table, parts, test, selected, pipeline)
    outcome = assess(config, table, parts, test, selected, pipeline, exported)
    document = _document(config, table, parts, selected, exported, outcome, quality)
    _refuse_unfair(outcome, document, out)
    pages = {CARD_FILE: render_card(document), REPORT_FILE: render_report(document)}
    sbom = bill_of_materials(config.name, config.version, (*ROOTS, *extras_of(config)))
    files = exported.files | {name: page.encode() for name, page in pages.items()} | {SBOM_FILE: sbom}
    model = Model(exported=exported, decision=selected.decision, chosen=selected.document["chosen"])
    manifest = build_manifest(config, table, parts.train, test, model, metrics=outcome.metrics, files=files)
    written = write_bundle(out, manifest, files, image=config.image, key=key)
    for name, page in pages.items():
        write_text(out, name, page)
    write_text(out, SBOM_FILE, sbom.decode())
    if len(parts.holdback):
        write_holdback(out, table, parts.holdback)
    document = {
        "name": config.name,
        "version": config.version,
        "reference": written.reference,
        "digest": written.digest,
        "manifestDigest": f"sha256:{written.manifest_digest}",
        "signed": key is not None,
        **document,
    }
    write_result(out, document)
    return Result(reference=written.reference, document=document)


def _export(config: Config, table: Table, parts: Split, test: Part, selected: Selected, pipeline: Pipeline) -> Export:
    """Choose the backend on rows that taught nothing."""
    categorical = [i for i, column in enumerate(table.columns) if column.is_categorical]
    held_out = np.vstack([test.rows, parts.holdback.rows])
    rows = parity_rows(parts.train.rows, held_out, config.split.seed, categorical)
    return export(pipeline, rows, decision=selected.decision, wanted=config.backend)


def _refuse_unfair(outcome: Outcome, document: Mapping[str, Any], out: Path) -> None:
    """Raise `FairnessFailed` for broken limits, and leave a report that shows them."""
    broken = [verdict for verdict in outcome.fairness["limits"] if not verdict["passed"]]
    if broken:
        write_refusal(out, {**document, "reason": "fairness"})
        write_text(out, REPORT_FILE, render_report(document))
        raise FairnessFailed(broken)


def _document(
    config: Config,
    table: Table,
    parts: Split,
    selected: Selected,
    exported: Export,
    outcome: Outcome,
    quality: QualityReport,
) -> dict[str, Any]:
    """Everything a reader may ask about the run, as plain JSON values: the report and the card are made of it."""
    return {
        "name": config.name,
        "version": config.version,
        "description": config.description,
        "use": config.use,
        "backend": str(exported.backend),
        "parity": [asdict(attempt) for attempt in exported.attempts],
        "classes": list(table.classes),
        "features": list(table.features),
        "data": _data(config, table, outcome, quality),
        "rows": {"training": len(parts.train), "test": len(parts.test), "held back": len(parts.holdback)},
        "decision": outcome.decision,
        "costs": {actual: dict(row) for actual, row in config.costs.items()},
        "metrics": outcome.metrics,
        "dummy": outcome.dummy,
        "fairness": outcome.fairness,
        "interpretation": outcome.interpretation,
        "curves": outcome.curves,
        "quality": quality.document(),
        **selected.document,
        "holdback": tell_holdback(table, exported, selected.decision, parts.holdback),
        "warnings": [*selected.notes, *_personal(quality), *outcome.warnings],
    }


def _data(config: Config, table: Table, outcome: Outcome, quality: QualityReport) -> dict[str, Any]:
    """What the rows were and what was done to them."""
    return {
        "name": table.name,
        "fingerprint": table.fingerprint(),
        "split": config.split.by,
        "groups": None if table.groups is None else len(np.unique(table.groups)),
        "classRows": np.bincount(table.labels, minlength=len(table.classes)).tolist(),
        "alterations": outcome.alterations,
        "about": dict(config.data.about),
        "personal": [f.column for f in quality.findings if f.check == "personal"],
    }


def _personal(quality: QualityReport) -> list[str]:
    return [f"{f.column!r} {f.detail}; {f.remedy}" for f in quality.findings if f.check == "personal"]
