"""The manifest of a bundle, out of what a run knows: features, decision, golden rows, baselines, reference bins."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage_server.bundle.decision import Decision
from pilotage_server.bundle.manifest import Feature, FileEntry, Golden, Manifest, sha256
from pilotage_server.quality.reference import reference_bins
from pilotage_server.quality.slices import MAX_SLICES, MAX_VALUES, Slice
from pilotage_server.train.config import Config, ConfigError
from pilotage_server.train.data import Table
from pilotage_server.train.data.split import Part
from pilotage_server.train.deploy.export import Export

GOLDEN_TOLERANCE = 1e-5
_GOLDEN_ROWS = 32
_LIBRARIES = ("scikit-learn", "numpy", "skl2onnx", "onnx", "onnxruntime", "skops")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A chosen, exported model with its decision, and how it was chosen (plain JSON values)."""

    exported: Export
    decision: Decision
    chosen: Mapping[str, Any]


def build_manifest(
    config: Config,
    table: Table,
    train: Part,
    test: Part,
    model: Model,
    *,
    metrics: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> Manifest:
    """Put the manifest together; equal arguments give equal bytes."""
    known = _without_gaps(train.rows)
    low, high = known.min(axis=0), known.max(axis=0)
    exported = model.exported
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
        decision=model.decision,
        abstain_below=config.decision.abstain_below,
        golden=_golden(exported, test),
        files=tuple(FileEntry(name=n, size=len(files[n]), sha256=sha256(files[n])) for n in sorted(files)),
        versions={"python": platform.python_version()} | {library: version(library) for library in _LIBRARIES},
        data=_data(table, train),
        training={"config": config.written, "chosen": dict(model.chosen)},
        baseline=metrics,
        reference=reference_bins(known, tuple(table.features)),
        slices=_slices(table),
    )


def _data(table: Table, train: Part) -> dict[str, Any]:
    """What the rows were: fingerprint, the codes of categories, the columns with gaps, and the latest time."""
    found: dict[str, Any] = {"name": table.name, "rows": len(table.rows), "sha256": table.fingerprint()}
    categories = {column.name: list(column.categories) for column in table.columns if column.is_categorical}
    gaps = [name for i, name in enumerate(table.features) if np.isnan(train.rows[:, i]).any()]
    if categories:
        found["categories"] = categories
    if gaps:
        found["missing"] = gaps
    if table.times is not None:
        found["until"] = float(table.times[train.indices].max())
    return found


def _slices(table: Table) -> tuple[Slice, ...]:
    """Declared attributes, for outcomes per group in production; those with too many groups are left out."""
    found = [Slice(name=name, values=tuple(sorted(set(values)))) for name, values in table.attributes.items()]
    return tuple(one for one in found if len(one.values) <= MAX_VALUES)[:MAX_SLICES]


def _without_gaps(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows with the column's median for what is missing (0 in an empty column)."""
    if not np.isnan(rows).any():
        return rows
    filled = rows.copy()
    for column in filled.T:
        known = column[~np.isnan(column)]
        column[np.isnan(column)] = np.median(known) if len(known) else 0.0
    return filled


def _golden(exported: Export, test: Part) -> Golden:
    """Take complete test rows of every class in turn.

    None so close to a tie that another CPU might decide differently.
    """
    whole = np.flatnonzero(~np.isnan(test.rows).any(axis=1))
    rows, labels = test.rows[whole], test.labels[whole]
    if not len(rows):
        raise ConfigError("data: every test row has a missing value; golden rows need complete ones")
    probabilities = exported.predictor.probabilities(rows)
    ordered = np.sort(probabilities, axis=1)
    clear = np.flatnonzero(ordered[:, -1] - ordered[:, -2] > 100 * GOLDEN_TOLERANCE)
    turn = np.zeros(len(clear), dtype=np.int64)
    for label in np.unique(labels[clear]):
        members = np.flatnonzero(labels[clear] == label)
        turn[members] = np.arange(len(members))
    chosen = clear[np.lexsort((labels[clear], turn))][:_GOLDEN_ROWS]
    if not len(chosen):
        raise ConfigError("model: it answers every test row with a tie; it has learned nothing to serve")
    expected = exported.predictor.probabilities(rows[chosen])
    return Golden(
        rows=tuple(tuple(map(float, row)) for row in rows[chosen]),
        probabilities=tuple(tuple(map(float, row)) for row in expected),
        tolerance=GOLDEN_TOLERANCE,
    )
