"""Rows and labels as arrays, and what columns and classes are called.

A category is its code: its place in the column's sorted `categories`; a missing value is NaN. Labels are indices
into `classes`, sorted as scikit-learn sorts them (numbers by value, texts by code point); that order is the order
of probability columns from here to the server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pilotage_server.bundle.manifest import ClassType
from pilotage_server.train.config import ConfigError

MOST_CLASSES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One feature. `categories` is empty for a number."""

    name: str
    categories: tuple[str, ...] = ()

    @property
    def is_categorical(self) -> bool:
        """Whether values are codes."""
        return bool(self.categories)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All rows [n, F] (float64; NaN is missing) with class indices [n], and columns beside the features.

    `groups` [n] are codes, `times` [n] seconds or any other rising number, `attributes` texts per row.
    """

    name: str
    columns: tuple[Column, ...]
    classes: tuple[str, ...]
    class_type: ClassType
    rows: NDArray[np.float64]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    times: NDArray[np.float64] | None = None
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the feature columns."""
        return tuple(column.name for column in self.columns)

    def fingerprint(self) -> str:
        """SHA-256 over names, rows (little-endian float64) and labels: equal data, equal fingerprint."""
        digest = hashlib.sha256(repr((self.features, self.classes)).encode())
        if any(column.is_categorical for column in self.columns):
            digest.update(repr([column.categories for column in self.columns]).encode())
        digest.update(np.ascontiguousarray(self.rows, dtype="<f8").tobytes())
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").tobytes())
        return digest.hexdigest()


def order_classes(labels: Sequence[str]) -> tuple[tuple[str, ...], ClassType, NDArray[np.int64]]:
    """Sort the classes and give each row its class's index; raises `ConfigError` for fewer than 2 or too many."""
    different = set(labels)
    if len(different) < 2:
        raise ConfigError(f"data: every row is {next(iter(different), '')!r}; a classifier needs at least 2 classes")
    if len(different) > MOST_CLASSES:
        raise ConfigError(f"data: {len(different)} classes, more than {MOST_CLASSES}; merge some of them")
    integers = all(label.removeprefix("-").isdecimal() and str(int(label)) == label for label in different)
    ordered = sorted(different, key=int) if integers else sorted(different)
    index = {label: i for i, label in enumerate(ordered)}
    class_type = ClassType.INTEGER if integers else ClassType.STRING
    return tuple(ordered), class_type, np.array([index[label] for label in labels], dtype=np.int64)
