"""Checks of single columns: missing, constant, like an identifier, outlying, personal, and too good to be true."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pilotage_server.train.config import Data, File
from pilotage_server.train.data.finding import Finding
from pilotage_server.train.data.leakage import column_power
from pilotage_server.train.data.parse import is_date
from pilotage_server.train.data.personal import looks_personal
from pilotage_server.train.data.table import Column, Table

_LEAST_ROWS = 30
_MOST_ROWS = 20_000
_OUTLYING = 0.01


def column_findings(table: Table, data: Data, seed: int) -> Iterator[Finding]:
    """Check every feature column."""
    target = data.source.target if isinstance(data.source, File) else ""
    shown = _sample(len(table.rows), seed)
    for i, column in enumerate(table.columns):
        values = table.rows[:, i]
        yield from _missing(column, values, data.quality.missing)
        yield from _from_after(column, target)
        yield from _personal(column, data)
        known = values[~np.isnan(values)]
        if len(known) and (known == known[0]).all():
            detail = "has one value only" if len(known) == len(values) else "has one value, or none"
            yield _finding("constant", column, len(known), detail, "leave it out: it cannot tell anything", fails=False)
            if len(known) == len(values):
                continue
        yield from _like_an_identifier(column, known)
        yield from _outliers(column, known)
        power = column_power(values[shown], table.labels[shown], len(table.classes), seed)
        if power.low > data.quality.leakage_auc and len(values) >= _LEAST_ROWS:
            detail = f"tells the classes almost alone (mean AUC {power.auc:.4f}, limit {data.quality.leakage_auc:g})"
            yield _finding("leakage", column, len(values), detail,
                           "ask whether it is known before the label; if so, data.quality.allow: "
                           f"[leakage:{column.name}], else data.columns.ignore")  # fmt: skip


def _sample(rows: int, seed: int) -> NDArray[np.int64]:
    """Rows that the power of a column is judged on: what gives a label away does so in thousands of rows."""
    if rows <= _MOST_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).permutation(rows)[:_MOST_ROWS])


def _personal(column: Column, data: Data) -> Iterator[Finding]:
    """Data about people among the features, declared or recognised."""
    looks = looks_personal(column.name, column.categories[:20])
    if column.name in data.columns.personal or looks:
        kept = data.about.get("retention", "")
        remedy = "leave it out with data.columns.ignore unless it is justified"
        yield _finding("personal", column, 0, f"is a feature and holds {looks or 'personal data, as declared'}",
                       remedy + ("" if kept else "; say under data.about.retention how long rows are kept"),
                       fails=False)  # fmt: skip


def _missing(column: Column, values: NDArray[np.float64], limit: float) -> Iterator[Finding]:
    gone = int(np.isnan(values).sum())
    if gone:
        share = gone / len(values)
        yield _finding("missing", column, gone, f"{share:.1%} of its values are missing",
                       "values are imputed inside the pipeline; ignore a column that is mostly empty",
                       fails=share > limit)  # fmt: skip


def _from_after(column: Column, target: str) -> Iterator[Finding]:
    """Columns that can only be known with the label: named after it, or dates."""
    stem = target.lower()
    if len(stem) >= 3 and stem in column.name.lower():
        yield _finding("target-time", column, 0, f"is named after the target {target!r}",
                       "if it is only known once the label is, name it under data.columns.after")  # fmt: skip
    shown = column.categories[:20]
    if shown and all(map(is_date, shown)):
        yield _finding("target-time", column, 0, "holds dates, which no future row repeats",
                       "name it under data.columns.time, after or ignore")  # fmt: skip


def _like_an_identifier(column: Column, known: NDArray[np.float64]) -> Iterator[Finding]:
    """Values that name rows instead of describing them: nearly all different, and texts or a dense count."""
    different = len(np.unique(known))
    if len(known) < _LEAST_ROWS or different < 0.95 * len(known):
        return
    whole = bool((known == np.round(known)).all())
    dense = whole and float(known.max() - known.min()) < 4 * len(known)
    rising = bool((np.diff(known) > 0).all() or (np.diff(known) < 0).all())
    if column.is_categorical or (whole and (dense or rising)):
        yield _finding("id-like", column, different, f"{different} different values in {len(known)} rows",
                       "it names rows; data.columns.ignore")  # fmt: skip


def _outliers(column: Column, known: NDArray[np.float64]) -> Iterator[Finding]:
    """Values more than 10 interquartile ranges outside the middle half (Tukey's fences are 1.5 and 3)."""
    if column.is_categorical or len(known) < _LEAST_ROWS:
        return
    low, high = np.quantile(known, [0.25, 0.75])
    far = int(((known < low - 10 * (high - low)) | (known > high + 10 * (high - low))).sum())
    if high > low and far and far <= _OUTLYING * len(known):
        yield _finding("outliers", column, far, f"{far} values lie 10 interquartile ranges out",
                       "check their unit and origin", fails=False)  # fmt: skip


def _finding(check: str, column: Column, rows: int, detail: str, remedy: str, *, fails: bool = True) -> Finding:
    return Finding(check=check, fails=fails, column=column.name, rows=rows, detail=detail, remedy=remedy)
