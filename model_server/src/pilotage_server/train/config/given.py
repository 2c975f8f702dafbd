"""What a run is given: rows, what their columns mean, which findings are accepted, who learns from which rows.

Construction checks nothing: `read_data` has. Knows neither YAML nor scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A CSV file with a header line, or a Parquet file. `target` names the column of the classes.

    `separator` and `encoding` are found in the file when empty; `missing`: cells that say nothing, beside the usual.
    """

    path: Path
    target: str
    format: str = "csv"
    separator: str = ""
    encoding: str = ""
    decimal: str = "."
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """A declared attribute for fairness: a column as it stands, or cut at `quantiles` (0: not cut).

    `is_feature`: the model may see the column.
    """

    name: str
    column: str
    quantiles: int = 0
    is_feature: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the columns of a file mean, beyond features and target."""

    ignore: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    group: str | None = None
    time: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Limits of the checks before training: shares in [0, 1], and findings (`check` or `check:column`) one accepts."""

    allow: frozenset[str] = frozenset()
    leakage_auc: float = 0.99
    duplicates: float = 0.05
    conflicts: float = 0.02
    missing: float = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Subsample:
    """Keep only a share of the training rows of a class (of every class when none is named)."""

    label: str | None
    keep: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabel:
    """Give a share of the training rows of one class the label of another."""

    label: str
    to: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What to learn from, a data set of scikit-learn by name or a file, and what is done to the training rows.

    `about`: the datasheet's answers by topic, as people wrote them (Gebru et al. 2021).
    """

    source: str | File
    columns: Columns = Columns()
    quality: Quality = Quality()
    about: Mapping[str, str] = field(default_factory=dict)
    subsample: tuple[Subsample, ...] = ()
    relabel: tuple[Relabel, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitShares:
    """Shares of all rows, in (0, 1): `holdback` is drawn first, then `test`, the rest trains and validates.

    `by`: random (stratified by class), group (no group in two parts) or time (the latest rows).
    """

    seed: int
    test: float
    holdback: float
    by: str = "random"
