"""Rows beyond memory: a CSV file read in pieces, a linear classifier learned by `partial_fit`.

Each row is put into training, test or hold-back by a hash of its cells and the seed, so that a repeated row is on one
side only and no list of rows is needed. Every pass reads the file again: first classes and ranges, then the scale,
then epochs of learning. In memory at any time: one piece, the test rows, and a sample of training rows for ranges,
bins, quality checks and importance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from pilotage_server.train.config import Candidate, Config, ConfigError, File
from pilotage_server.train.data import Column, Table
from pilotage_server.train.data.files import csv_chunks
from pilotage_server.train.data.parse import as_column, is_missing
from pilotage_server.train.data.split import Part, Split
from pilotage_server.train.data.table import order_classes
from pilotage_server.train.progress import SILENT, Progress

ESTIMATOR: Final = "sgd-logistic-regression"
SAMPLE: Final = 20_000
"""Training rows kept in memory, the first by hash; also the most test rows."""
_LEARN, _TEST, _HOLD = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some rows of the file with their labels as text, their part (learn, test, hold) and their hash."""

    rows: NDArray[np.float64]
    labels: list[str]
    parts: NDArray[np.int64]
    hashes: NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """A fitted pipeline, a table of the rows that were kept with their split, and how many rows were learned from."""

    pipeline: Pipeline
    table: Table
    parts: Split
    learned: int


def fit_stream(config: Config, chunk_rows: int, epochs: int = 3, progress: Progress = SILENT) -> Streamed:
    """Learn from a file larger than memory; raises `ConfigError` for what cannot be learned that way."""
    candidate, source = _check(config)
    stream = _Stream(config, source, chunk_rows)
    names, labels = stream.survey()
    classes, class_type, _ = order_classes(sorted(labels))
    index = {label: i for i, label in enumerate(classes)}
    scaler = StandardScaler()
    for piece in stream.pieces():
        rows = piece.rows[piece.parts == _LEARN]
        if len(rows):
            scaler.partial_fit(rows)
    params = {"alpha": 1e-4, **candidate.params}
    classifier = SGDClassifier(loss="log_loss", random_state=candidate.seed, average=True, **params)
    learned = 0
    for epoch in range(epochs):
        progress.begin(f"reading the file, time {epoch + 3} of {epochs + 3}")
        for piece in stream.pieces():
            chosen = np.flatnonzero(piece.parts == _LEARN)
            chosen = np.random.default_rng([candidate.seed, epoch]).permutation(chosen)
            if len(chosen):
                targets = np.array([index[piece.labels[i]] for i in chosen])
                classifier.partial_fit(scaler.transform(piece.rows[chosen]), targets, classes=np.arange(len(classes)))
                learned += len(chosen) if epoch == 0 else 0
    table, parts = _kept(config, stream, names, classes, class_type)
    return Streamed(
        pipeline=Pipeline([("scale", scaler), ("classify", classifier)]), table=table, parts=parts, learned=learned
    )


def _check(config: Config) -> tuple[Candidate, File]:
    source, candidate = config.data.source, config.candidates[0]
    problems = {
        "data.csv: rows in pieces need a CSV file": not isinstance(source, File) or source.format != "csv",
        f"model.estimator: rows in pieces need {ESTIMATOR}": candidate.estimator != ESTIMATOR,
        "candidates: rows in pieces need one model, no search": config.compares or bool(candidate.space),
        "split.by: rows in pieces are split by their hash; use random": config.split.by != "random",
        "decision: rows in pieces take argmax, or a threshold with a value": config.decision.rule == "threshold"
        and config.decision.value is None,
        "data.subsample, data.relabel: not for rows in pieces": bool(config.data.subsample or config.data.relabel),
        "data.columns: rows in pieces have numeric features only; use ignore": bool(
            config.data.columns.categorical or config.data.columns.attributes
        ),
    }
    found = [problem for problem, is_wrong in problems.items() if is_wrong]
    if found:
        raise ConfigError("\n".join(found))
    assert isinstance(source, File)
    return candidate, source


class _Stream:
    """The file, read anew by each pass."""

    def __init__(self, config: Config, source: File, chunk_rows: int) -> None:
        self._source = source
        self._rows = chunk_rows
        self._seed = config.split.seed.to_bytes(8, "little")
        self._hold = config.split.holdback
        self._test = config.split.test
        columns = config.data.columns
        self._hidden = {source.target, *columns.ignore, *columns.after, columns.group, columns.time}

    def survey(self) -> tuple[tuple[str, ...], set[str]]:
        """Names of the features, and every label that occurs."""
        labels: set[str] = set()
        names: tuple[str, ...] = ()
        for cells in csv_chunks(self._source, self._rows):
            if self._source.target not in cells:
                raise ConfigError(f"data.csv.target: {self._source.target!r} is no column; columns: {', '.join(cells)}")
            names = tuple(name for name in cells if name not in self._hidden)
            labels |= set(cells[self._source.target])
        if any(map(is_missing, labels)):
            raise ConfigError(f"{self._source.path}: some rows have no {self._source.target}; remove them")
        return names, labels

    def pieces(self) -> Iterator[Piece]:
        """Every row, in the file's order, a piece at a time."""
        for cells in csv_chunks(self._source, self._rows):
            labels = cells[self._source.target]
            names = [name for name in cells if name not in self._hidden]
            if not labels:
                continue
            rows = np.column_stack([self._numbers(name, cells[name]) for name in names])
            hashes = np.array([self._hash(line) for line in zip(*(cells[name] for name in names), strict=True)])
            place = hashes / 2.0**64
            parts = np.where(place < self._hold, _HOLD, np.where(place < self._hold + self._test, _TEST, _LEARN))
            yield Piece(rows=rows, labels=labels, parts=parts, hashes=hashes)

    def _numbers(self, name: str, texts: list[str]) -> NDArray[np.float64]:
        column, values = as_column(self._source, name, texts, is_category=False)
        if column.is_categorical or np.isnan(values).any():
            raise ConfigError(
                f"{self._source.path}: {name} holds texts or gaps; rows in pieces need numbers: fill them, or name it "
                "under data.columns.ignore"
            )
        return values

    def _hash(self, cells: tuple[str, ...]) -> np.uint64:
        digest = hashlib.blake2b("\x1f".join(cells).encode(), digest_size=8, key=self._seed).digest()
        return np.uint64(int.from_bytes(digest, "little"))


def _kept(
    config: Config, stream: _Stream, names: tuple[str, ...], classes: tuple[str, ...], class_type: Any
) -> tuple[Table, Split]:
    """The test and held-back rows and a sample of training rows, as a table with its split.

    Of each part the rows with the smallest hashes are kept: a sample that depends on no order of rows.
    """
    index = {label: i for i, label in enumerate(classes)}
    kept: dict[int, tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.uint64]]] = {}
    for piece in stream.pieces():
        labels = np.array([index[label] for label in piece.labels])
        for which in (_LEARN, _TEST, _HOLD):
            mine = piece.parts == which
            new = (piece.rows[mine], labels[mine], piece.hashes[mine])
            joined = new if which not in kept else _stack(kept[which], new)
            # Ranks within the part: hashes decided the part, so their rest is as good as new.
            smallest = np.sort(np.argsort(joined[2] * np.uint64(0x9E3779B97F4A7C15), kind="stable")[:SAMPLE])
            kept[which] = (joined[0][smallest], joined[1][smallest], joined[2][smallest])
    rows, labels, _ = _stack(_stack(kept[_LEARN], kept[_TEST]), kept[_HOLD])
    assert isinstance(config.data.source, File)
    table = Table(
        name=config.data.source.path.name,
        columns=tuple(Column(name=name) for name in names),
        classes=classes,
        class_type=class_type,
        rows=rows,
        labels=labels,
    )
    ends = np.cumsum([0, *(len(kept[which][1]) for which in (_LEARN, _TEST, _HOLD))])
    parts = [_part(table, np.arange(ends[i], ends[i + 1])) for i in range(3)]
    if len(np.unique(parts[0].labels)) < len(classes) or not len(parts[1]):
        raise ConfigError("split: a class has no training row, or nothing is left to test; use another share")
    return table, Split(train=parts[0], test=parts[1], holdback=parts[2])


def _part(table: Table, indices: NDArray[np.int64]) -> Part:
    return Part(rows=table.rows[indices], labels=table.labels[indices], indices=indices)


def _stack(first: Any, second: Any) -> Any:
    return tuple(np.concatenate([a, b]) for a, b in zip(first, second, strict=True))
