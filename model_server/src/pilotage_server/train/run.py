"""One training run, from configuration to bundle, in the order a reader would tell it.

Owns the folder it writes to: `bundle/` (files), `oci/` (the same as an OCI image layout), `result.json`, and
`holdback.json` when rows are held back. Numeric libraries run on one thread, so that sums have one order.
"""

from __future__ import annotations

import platform
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pilotage_server.bundle.decision import Argmax, Decision, Threshold
from pilotage_server.bundle.manifest import Feature, FileEntry, Golden, Manifest, sha256
from pilotage_server.document import nearest
from pilotage_server.quality.reference import reference_bins
from pilotage_server.train.card import render_card
from pilotage_server.train.config import Config, ConfigError
from pilotage_server.train.data import Table, load
from pilotage_server.train.estimators import build_pipeline
from pilotage_server.train.evaluate import confusion, evaluate
from pilotage_server.train.export import Export, export, parity_rows
from pilotage_server.train.split import Part, Split, split
from pilotage_server.train.write import CARD_FILE, write_bundle, write_holdback, write_result

GOLDEN_TOLERANCE = 1e-5
_GOLDEN_ROWS = 32
_LIBRARIES = ("scikit-learn", "numpy", "skl2onnx", "onnx", "onnxruntime", "skops")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run made: the image reference with its digest, and the document written to result.json."""

    reference: str
    document: Mapping[str, Any]


def train(config: Config, out: Path, *, key: Ed25519PrivateKey | None) -> Result:
    """Train, evaluate, export and write; raises `ConfigError`.

    Unsigned without a key, which no cluster accepts.
    """
    table = load(config.data.source)
    parts = split(table, config.split, config.data)
    decision = _decision(config, table)
    with threadpool_limits(limits=1):
        pipeline, notes = fit(config, parts.train)
        held_out = np.vstack([parts.test.rows, parts.holdback.rows])
        rows = parity_rows(parts.train.rows, held_out, config.split.seed)
        exported = export(pipeline, rows, decision=decision, wanted=config.backend)
        metrics = _metrics(config, table, exported, decision, parts.test)
    counts = {"training": len(parts.train.rows), "test": len(parts.test.rows), "held back": len(parts.holdback.rows)}
    card = render_card(config, table, counts, exported, metrics)
    files = exported.files | {CARD_FILE: card.encode()}
    manifest = _manifest(config, table, parts, exported, decision, metrics, files)
    written = write_bundle(out, manifest, files, image=config.image, key=key)
    if len(parts.holdback.rows):
        write_holdback(out, table, parts.holdback)
    document = {
        "name": config.name,
        "version": config.version,
        "reference": written.reference,
        "digest": written.digest,
        "manifestDigest": f"sha256:{written.manifest_digest}",
        "signed": key is not None,
        "backend": str(exported.backend),
        "parity": [asdict(attempt) for attempt in exported.attempts],
        "classes": list(table.classes),
        "rows": counts,
        "metrics": metrics,
        "holdback": _holdback(table, exported, decision, parts.holdback),
        "warnings": notes,
    }
    write_result(out, document)
    return Result(reference=written.reference, document=document)


def fit(config: Config, part: Part) -> tuple[Pipeline, list[str]]:
    """Fit the pipeline; gives it with what scikit-learn warned about.

    Raises `ConfigError` for bad parameters.
    """
    model = config.model
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            pipeline = build_pipeline(model.estimator, model.params, scale=model.scale, seed=model.seed)
            pipeline.fit(part.rows, part.labels)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"model.params: {str(error).splitlines()[0]}") from error
    return pipeline, sorted({str(warning.message).splitlines()[0] for warning in caught})


def _decision(config: Config, table: Table) -> Decision:
    rule = config.threshold
    if rule is None:
        return Argmax()
    if len(table.classes) != 2 or rule.label not in table.classes:
        raise ConfigError(
            f"decision.class: {rule.label!r}; a threshold needs two classes and one of them, "
            f"{nearest(rule.label, table.classes)}"
        )
    return Threshold(positive=table.classes.index(rule.label), value=rule.value)


def _metrics(config: Config, table: Table, exported: Export, decision: Decision, test: Part) -> dict[str, Any]:
    probabilities = exported.predictor.probabilities(test.rows)
    predicted = decision.decide(probabilities)
    return evaluate(test.labels, predicted, probabilities, table.classes, config.split.seed)


def _holdback(table: Table, exported: Export, decision: Decision, part: Part) -> dict[str, Any] | None:
    """Count the served model's answers to the held-back rows: what a load generator should find."""
    if not len(part.rows):
        return None
    predicted = decision.decide(exported.predictor.probabilities(part.rows))
    counts = confusion(part.labels, predicted, len(table.classes))
    return {"rows": len(part.rows), "confusion": counts.tolist()}


def _manifest(
    config: Config,
    table: Table,
    parts: Split,
    exported: Export,
    decision: Decision,
    metrics: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> Manifest:
    low, high = parts.train.rows.min(axis=0), parts.train.rows.max(axis=0)
    return Manifest(
        name=config.name,
        version=config.version,
        description=config.description,
        classes=table.classes,
        class_type=table.class_type,
        features=tuple(
            Feature(name=name, low=float(low[i]), high=float(high[i])) for i, name in enumerate(table.features)
        ),
        backend=exported.backend,
        model_file=exported.model_file,
        decision=decision,
        golden=_golden(exported, parts.test),
        files=tuple(FileEntry(name=n, size=len(files[n]), sha256=sha256(files[n])) for n in sorted(files)),
        versions={"python": platform.python_version()} | {library: version(library) for library in _LIBRARIES},
        data={"name": table.name, "rows": len(table.rows), "sha256": table.fingerprint()},
        training={"config": config.written},
        baseline=metrics,
        reference=reference_bins(parts.train.rows, tuple(table.features)),
    )


def _golden(exported: Export, test: Part) -> Golden:
    """Take test rows of every class in turn.

    None so close to a tie that another CPU might decide differently.
    """
    probabilities = exported.predictor.probabilities(test.rows)
    ordered = np.sort(probabilities, axis=1)
    clear = np.flatnonzero(ordered[:, -1] - ordered[:, -2] > 100 * GOLDEN_TOLERANCE)
    turn = np.zeros(len(clear), dtype=np.int64)
    for label in np.unique(test.labels[clear]):
        members = np.flatnonzero(test.labels[clear] == label)
        turn[members] = np.arange(len(members))
    chosen = clear[np.lexsort((test.labels[clear], turn))][:_GOLDEN_ROWS]
    if not len(chosen):
        raise ConfigError("model: it answers every test row with a tie; it has learned nothing to serve")
    expected = exported.predictor.probabilities(test.rows[chosen])
    return Golden(
        rows=tuple(tuple(map(float, row)) for row in test.rows[chosen]),
        probabilities=tuple(tuple(map(float, row)) for row in expected),
        tolerance=GOLDEN_TOLERANCE,
    )
