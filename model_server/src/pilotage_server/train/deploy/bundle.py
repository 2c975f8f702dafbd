"""The manifest of a bundle, out of what a run knows: features, decision, golden rows, baselines, reference bins."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
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
_LIBRARIES = ("scikit-learn", "numpy", "onnx", "onnxruntime", "skops")


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
    features, exported = _features(table, train, config.data.columns.unknown), model.exported
    return Manifest(
        name=config.name,
        version=config.version,
        description=config.description,
        classes=table.classes,
        class_type=table.class_type,
        features=features,
        backend=exported.backend,
        model_file=exported.model_file,
        decision=model.decision,
        abstain_below=config.decision.abstain_below,
        golden=_golden(exported, test, np.array([feature.missing for feature in features])),
        files=tuple(FileEntry(name=n, size=len(files[n]), sha256=sha256(files[n])) for n in sorted(files)),
        versions={"python": platform.python_version()} | {library: version(library) for library in _LIBRARIES},
        data=_data(table, train),
        training={
            "config": config.written,
            "chosen": dict(model.chosen),
            **({"revision": config.revision} if config.revision else {}),
        },
        baseline=metrics,
        reference=reference_bins(train.rows, table.features, [column.categories for column in table.columns]),
        slices=_slices(table),
    )


def _data(table: Table, train: Part) -> dict[str, Any]:
    """What the rows were: fingerprint, and the latest time."""
    found: dict[str, Any] = {"name": table.name, "rows": len(table.rows), "sha256": table.fingerprint()}
    if table.times is not None:
        found["until"] = float(table.times[train.indices].max())
    return found


def _slices(table: Table) -> tuple[Slice, ...]:
    """Declared attributes, for outcomes per group in production; those with too many groups are left out."""
    found = [Slice(name=name, values=tuple(sorted(set(values)))) for name, values in table.attributes.items()]
    return tuple(one for one in found if len(one.values) <= MAX_VALUES)[:MAX_SLICES]


def _features(table: Table, train: Part, unknown: Sequence[str]) -> tuple[Feature, ...]:
    """The columns with their ranges; a gap is allowed where training rows had one, and there `unknown` texts, too."""
    gaps = np.isnan(train.rows)
    low = np.where(gaps, np.inf, train.rows).min(axis=0)
    high = np.where(gaps, -np.inf, train.rows).max(axis=0)
    empty = gaps.all(axis=0)
    low[empty], high[empty] = 0.0, 0.0
    return tuple(
        Feature(
            name=column.name,
            low=float(low[i]),
            high=float(high[i]),
            categories=column.categories,
            missing=bool(gaps[:, i].any()),
            takes_unknown=column.is_categorical and column.name in unknown and bool(gaps[:, i].any()),
        )
        for i, column in enumerate(table.columns)
    )


def _golden(exported: Export, test: Part, may_miss: NDArray[np.bool_]) -> Golden:
    """Take test rows of every class in turn, and for every feature that may miss a value one that does.

    None so close to a tie that another CPU might decide differently.
    """
    rows, labels = _askable(test, may_miss)
    if not len(rows):
        raise ConfigError("data: every test row misses a value that no training row misses; golden rows need others")
    probabilities = exported.predictor.probabilities(rows)
    ordered = np.sort(probabilities, axis=1)
    clear = np.flatnonzero(ordered[:, -1] - ordered[:, -2] > 100 * GOLDEN_TOLERANCE)
    turn = np.zeros(len(clear), dtype=np.int64)
    for label in np.unique(labels[clear]):
        members = np.flatnonzero(labels[clear] == label)
        turn[members] = np.arange(len(members))
    order = clear[np.lexsort((labels[clear], turn))]
    if not len(order):
        raise ConfigError("model: it answers every test row with a tie; it has learned nothing to serve")
    chosen = list(order[:_GOLDEN_ROWS])
    for column in np.flatnonzero(may_miss):
        if not np.isnan(rows[chosen, column]).any():
            chosen += order[np.isnan(rows[order, column])][:1].tolist()
    expected = exported.predictor.probabilities(rows[chosen])
    return Golden(
        rows=tuple(tuple(None if cell != cell else cell for cell in row) for row in rows[chosen].tolist()),
        probabilities=tuple(tuple(map(float, row)) for row in expected),
        tolerance=GOLDEN_TOLERANCE,
    )


def _askable(test: Part, may_miss: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Test rows a server would take, with their labels; a column that may have gaps but has none here gets one."""
    taken = ~np.isnan(test.rows[:, ~may_miss]).any(axis=1)
    rows, labels = test.rows[taken], test.labels[taken]
    blank = may_miss & ~np.isnan(rows).any(axis=0)
    if not blank.any() or not len(rows):
        return rows, labels
    extra = np.repeat(rows[:1], int(blank.sum()), axis=0)
    extra[np.arange(len(extra)), np.flatnonzero(blank)] = np.nan
    return np.vstack([rows, extra]), np.concatenate([labels, np.repeat(labels[:1], len(extra))])
