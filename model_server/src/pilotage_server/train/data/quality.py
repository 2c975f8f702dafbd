"""What would make a figure lie, looked for before any training: findings with rows, rule and remedy.

A failing finding ends the run with an exit code of its own, unless the configuration allows it by name
(`data.quality.allow: [leakage:price]`). Nothing here changes data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage_server.document import nearest
from pilotage_server.train.config import ConfigError, Data, Quality
from pilotage_server.train.data.columns import column_findings
from pilotage_server.train.data.finding import Finding
from pilotage_server.train.data.split import Split
from pilotage_server.train.data.table import Table

LEAST_PER_CLASS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """All findings, worst first; `allowed` are failing ones the configuration accepts."""

    findings: tuple[Finding, ...]
    allowed: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        """Findings that end the run."""
        return tuple(finding for finding in self.findings if finding.fails)

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "passed": not self.failures,
            "findings": [asdict(finding) for finding in self.findings],
            "allowed": [asdict(finding) for finding in self.allowed],
        }


def check(table: Table, split: Split, data: Data, seed: int) -> QualityReport:
    """Run every check."""
    found = [
        *_duplicates(table, split, data),
        *_class_sizes(table),
        *_class_names(table),
        *column_findings(table, data, seed),
        *_group_overlap(table, split),
    ]
    allowed = [f for f in found if f.fails and {f.check, f"{f.check}:{f.column}"} & data.quality.allow]
    kept = [f for f in found if f not in allowed]
    return QualityReport(findings=tuple(sorted(kept, key=lambda f: not f.fails)), allowed=tuple(allowed))


def check_allowed(quality: Quality, table: Table) -> None:
    """Raise `ConfigError` for findings allowed in columns that are no feature."""
    for entry in sorted(quality.allow):
        _, _, column = entry.partition(":")
        if column and column not in table.features:
            raise ConfigError(
                f"data.quality.allow: {entry!r}: {column!r} is no feature; {nearest(column, table.features)}"
            )


def _duplicates(table: Table, split: Split, data: Data) -> Iterator[Finding]:
    rows = np.ascontiguousarray(np.nan_to_num(table.rows, nan=np.inf))
    kinds = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    first = np.zeros(len(kinds), dtype=bool)
    first[np.unique(kinds, return_index=True)[1]] = True
    again = int((~first).sum())
    if again:
        share = again / len(kinds)
        across = int(np.isin(kinds[split.test.indices], kinds[split.train.indices]).sum())
        yield Finding(
            check="duplicates",
            fails=share > data.quality.duplicates,
            column="",
            rows=again,
            detail=f"{again} rows ({share:.1%}) repeat an earlier one; {across} test rows are also in training",
            remedy=f"remove repeats (limit data.quality.duplicates: {data.quality.duplicates:g}), or split by group",
        )
    conflicts = _conflicts(kinds, table.labels)
    if conflicts:
        share = conflicts / len(kinds)
        yield Finding(
            check="label-conflicts",
            fails=share > data.quality.conflicts,
            column="",
            rows=conflicts,
            detail=f"{conflicts} rows ({share:.1%}) share all features with a row of another class",
            remedy="settle their labels, or add the feature that tells them apart",
        )


def _conflicts(kinds: NDArray[np.int64], labels: NDArray[np.int64]) -> int:
    """Rows whose features occur with more than one label."""
    pairs = np.unique(np.column_stack([kinds, labels]), axis=0)
    mixed = np.flatnonzero(np.bincount(pairs[:, 0]) > 1)
    return int(np.isin(kinds, mixed).sum())


def _class_sizes(table: Table) -> Iterator[Finding]:
    counts = np.bincount(table.labels, minlength=len(table.classes))
    for label, count in zip(table.classes, counts, strict=True):
        if count < LEAST_PER_CLASS:
            yield Finding(
                check="class-size",
                fails=False,
                column="",
                rows=int(count),
                detail=f"class {label!r} has {count} rows; no figure about it will be worth much",
                remedy=f"collect at least {LEAST_PER_CLASS}, or merge it with another class",
            )


def _class_names(table: Table) -> Iterator[Finding]:
    """Classes that a slip of the pen made two."""
    alike: dict[str, list[str]] = {}
    for label in table.classes:
        alike.setdefault(" ".join(re.split(r"[\s_-]+", label.casefold())), []).append(label)
    for names in alike.values():
        if len(names) > 1:
            count = int(np.isin(table.labels, [table.classes.index(name) for name in names[1:]]).sum())
            yield Finding(
                check="class-names",
                fails=True,
                column="",
                rows=count,
                detail=f"classes {' and '.join(map(repr, names))} differ only in case, spaces or dashes",
                remedy="write each class one way",
            )


def _group_overlap(table: Table, split: Split) -> Iterator[Finding]:
    if table.groups is None:
        return
    train = table.groups[split.train.indices]
    shared = np.isin(table.groups[split.test.indices], train)
    if shared.any():
        yield Finding(
            check="group-overlap",
            fails=True,
            column="",
            rows=int(shared.sum()),
            detail=f"{int(shared.sum())} test rows belong to groups that are also in training",
            remedy="split.by: group keeps every group on one side",
        )


def lines(findings: Sequence[Finding]) -> list[str]:
    """Findings as sentences for people, worst first."""
    return [
        f"{'fails' if f.fails else 'note'}: {f.check}{f' {f.column!r}' if f.column else ''}: {f.detail}; {f.remedy}"
        for f in findings
    ]
