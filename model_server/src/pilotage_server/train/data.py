"""Rows and labels: from scikit-learn's data sets or a CSV file, checked, with a fingerprint.

Labels become indices into `classes`; classes are sorted as scikit-learn sorts them (numbers by value, texts
by code point), and that order is the order of probability columns from here to the server.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn.datasets
from numpy.typing import NDArray

from pilotage_server.bundle.manifest import ClassType
from pilotage_server.train.config import ConfigError, Csv


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All rows [n, F] (float64, finite) with class indices [n], and what columns and classes are called."""

    name: str
    features: tuple[str, ...]
    classes: tuple[str, ...]
    class_type: ClassType
    rows: NDArray[np.float64]
    labels: NDArray[np.int64]

    def fingerprint(self) -> str:
        """SHA-256 over names, rows (little-endian float64) and labels: equal data, equal fingerprint."""
        digest = hashlib.sha256(repr((self.features, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.rows, dtype="<f8").tobytes())
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").tobytes())
        return digest.hexdigest()


def load(source: str | Csv) -> Table:
    """Load what a configuration names; raises `ConfigError` with file, line and remedy."""
    return _from_csv(source) if isinstance(source, Csv) else _from_sklearn(source)


def _from_sklearn(name: str) -> Table:
    loaded: Any = getattr(sklearn.datasets, f"load_{name}")()
    names = [str(target) for target in loaded.target_names]
    classes, class_type, labels = _classes([names[index] for index in loaded.target])
    return Table(
        name=name,
        features=tuple(str(feature).replace(" ", "_") for feature in loaded.feature_names),
        classes=classes,
        class_type=class_type,
        rows=np.asarray(loaded.data, dtype=np.float64),
        labels=labels,
    )


def _from_csv(source: Csv) -> Table:
    try:
        with source.path.open(newline="", encoding="utf-8") as file:
            header, *lines = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"data.csv.path: {source.path} cannot be read as CSV ({error})") from error
    if source.target not in header or len(set(header)) < len(header):
        raise ConfigError(
            f"data.csv.target: {source.target!r} is no column, or a column occurs twice; columns: {', '.join(header)}"
        )
    at = header.index(source.target)
    rows = np.empty((len(lines), len(header) - 1))
    for i, line in enumerate(lines):
        try:
            rows[i] = [float(cell) for j, cell in enumerate(line) if j != at]
        except ValueError as error:
            raise ConfigError(f"{source.path}, row {i + 2}: {error}; every feature must be a number") from error
    if not np.isfinite(rows).all():
        raise ConfigError(f"{source.path}: holds NaN or infinite values; remove or fill these rows")
    classes, class_type, labels = _classes([line[at] for line in lines])
    features = tuple(name for name in header if name != source.target)
    return Table(
        name=source.path.name, features=features, classes=classes, class_type=class_type, rows=rows, labels=labels
    )


def _classes(labels: list[str]) -> tuple[tuple[str, ...], ClassType, NDArray[np.int64]]:
    different = set(labels)
    if not 2 <= len(different) <= 1_000:
        raise ConfigError(f"data: {len(different)} classes; a classifier needs 2 to 1000")
    integers = all(label.removeprefix("-").isdecimal() and str(int(label)) == label for label in different)
    ordered = sorted(different, key=int) if integers else sorted(different)
    index = {label: i for i, label in enumerate(ordered)}
    class_type = ClassType.INTEGER if integers else ClassType.STRING
    return tuple(ordered), class_type, np.array([index[label] for label in labels], dtype=np.int64)
