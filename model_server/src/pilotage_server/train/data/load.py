"""Load what a configuration names: a data set of scikit-learn, a CSV file or a Parquet file.

A file is read as columns of text, then each column becomes what it holds: numbers, or categories. Group, time,
ignored and target-time columns are taken aside here, so that nothing later can train on them by mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sklearn.datasets
from numpy.typing import NDArray

from pilotage_server.bundle.manifest import MAX_CATEGORIES, MAX_TEXT
from pilotage_server.document import nearest
from pilotage_server.train.config import Attribute, Columns, ConfigError, File
from pilotage_server.train.data.files import read_file
from pilotage_server.train.data.parse import as_column, as_times, check_labels, is_missing
from pilotage_server.train.data.table import Column, Table, order_classes


def load(source: str | File, columns: Columns | None = None) -> Table:
    """Load a table; raises `ConfigError` with file, column or line, and remedy."""
    meaning = columns or Columns()
    return _from_file(source, meaning) if isinstance(source, File) else _from_sklearn(source, meaning)


def _from_sklearn(name: str, meaning: Columns) -> Table:
    loaded: Any = getattr(sklearn.datasets, f"load_{name}")()
    names = [str(target) for target in loaded.target_names]
    classes, class_type, labels = order_classes([names[index] for index in loaded.target])
    features = tuple(str(feature).replace(" ", "_") for feature in loaded.feature_names)
    rows = np.asarray(loaded.data, dtype=np.float64)
    _known(meaning, features, name)
    if meaning.group or meaning.time:
        raise ConfigError(f"data.columns: {name} has no column of groups or times; use a file")
    attributes = {a.name: cut(rows[:, features.index(a.column)], a.quantiles) for a in meaning.attributes}
    hidden = {*meaning.ignore, *meaning.after, *(a.column for a in meaning.attributes if not a.is_feature)}
    kept = [i for i, feature in enumerate(features) if feature not in hidden]
    return Table(
        name=name,
        columns=tuple(Column(name=features[i]) for i in kept),
        classes=classes,
        class_type=class_type,
        rows=rows[:, kept],
        labels=labels,
        attributes=attributes,
    )


def _from_file(source: File, meaning: Columns) -> Table:
    cells = read_file(source)
    if source.target not in cells:
        raise ConfigError(
            f"data.{source.format}.target: {source.target!r} is no column; {nearest(source.target, tuple(cells))}"
        )
    _known(meaning, tuple(cells), source.path.name)
    labels = cells[source.target]
    check_labels(source, labels)
    classes, class_type, indices = order_classes(labels)
    hidden = {source.target, *meaning.ignore, *meaning.after, meaning.group, meaning.time}
    hidden |= {a.column for a in meaning.attributes if not a.is_feature}
    columns, values = _features(source, {name: texts for name, texts in cells.items() if name not in hidden}, meaning)
    return Table(
        name=source.path.name,
        columns=columns,
        classes=classes,
        class_type=class_type,
        rows=values,
        labels=indices,
        groups=_groups(source, meaning.group, cells[meaning.group]) if meaning.group else None,
        times=as_times(cells[meaning.time], source.path, meaning.time) if meaning.time else None,
        attributes={a.name: _attribute(cells[a.column], a, source) for a in meaning.attributes},
    )


def _features(
    source: File, cells: Mapping[str, Sequence[str]], meaning: Columns
) -> tuple[tuple[Column, ...], NDArray[np.float64]]:
    if not cells:
        raise ConfigError(f"{source.path}: no feature is left; ignore fewer columns")
    columns, values = [], []
    for name, texts in cells.items():
        column, numbers = as_column(source, name, texts, is_category=name in meaning.categorical)
        if len(column.categories) > MAX_CATEGORIES:
            raise ConfigError(
                f"{source.path}: column {name!r} has {len(column.categories)} different texts, more than "
                f"{MAX_CATEGORIES}; name it under data.columns.ignore, or group its values"
            )
        if any(len(text) > MAX_TEXT for text in column.categories):
            raise ConfigError(
                f"{source.path}: column {name!r} has texts of more than {MAX_TEXT} characters; name it under "
                "data.columns.ignore"
            )
        if name in meaning.unknown and not (column.is_categorical and np.isnan(numbers).any()):
            lacking = "gaps" if column.is_categorical else "texts"
            raise ConfigError(
                f"data.columns.unknown: {name!r} has no {lacking} in {source.path}; take it out: unknown texts can "
                "count as missing only where training has gaps among texts"
            )
        columns.append(column)
        values.append(numbers)
    return tuple(columns), np.column_stack(values)


def _known(meaning: Columns, names: Sequence[str], source: str) -> None:
    """Raise for the columns of the configuration that the data does not have."""
    asked = {
        "ignore": meaning.ignore,
        "categorical": meaning.categorical,
        "unknown": meaning.unknown,
        "after": meaning.after,
        "personal": meaning.personal,
        "attributes": tuple(attribute.column for attribute in meaning.attributes),
        "group": (meaning.group,) if meaning.group else (),
        "time": (meaning.time,) if meaning.time else (),
    }
    problems = [
        f"data.columns.{key}: {name!r} is no column of {source}; {nearest(name, names)}"
        for key, wanted in asked.items()
        for name in wanted
        if name not in names
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _attribute(texts: Sequence[str], attribute: Attribute, source: File) -> tuple[str, ...]:
    if not attribute.quantiles:
        return tuple("missing" if is_missing(text, source.missing) else text for text in texts)
    column, numbers = as_column(source, attribute.column, texts, is_category=False)
    if column.is_categorical:
        raise ConfigError(f"data.columns.attributes: {attribute.column!r} is no number; leave out quantiles")
    return cut(numbers, attribute.quantiles)


def cut(values: NDArray[np.float64], quantiles: int) -> tuple[str, ...]:
    """Cut numbers at their quantiles into groups named `low…high`."""
    if not quantiles:
        return tuple("missing" if np.isnan(value) else f"{value:g}" for value in values)
    edges = np.unique(np.nanquantile(values, np.linspace(0, 1, quantiles + 1)))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(0, len(edges) - 2))
    names = [f"{edges[i]:.4g} to {edges[min(i + 1, len(edges) - 1)]:.4g}" for i in range(max(1, len(edges) - 1))]
    return tuple("missing" if np.isnan(v) else names[p] for v, p in zip(values, place, strict=True))


def _groups(source: File, name: str, texts: Sequence[str]) -> NDArray[np.int64]:
    empty = [i + 2 for i, text in enumerate(texts) if is_missing(text, source.missing)]
    if empty:
        raise ConfigError(
            f"{source.path}: {len(empty)} rows have no {name} (row {empty[0]}, …); name each row's group, or "
            "give a row that stands alone a group of its own"
        )
    index = {text: i for i, text in enumerate(sorted(set(texts)))}
    return np.array([index[text] for text in texts], dtype=np.int64)
