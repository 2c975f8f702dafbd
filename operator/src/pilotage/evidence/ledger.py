"""Arithmetic on counters as read at one scrape: differences per ledger, sums per arm, a checksum of the past. Pure.

A ledger is the life of one collector database. Its counters only grow; a new ledger starts at zero. So the increments
of an arm are the sum over ledgers of (value at the end − value at the start), with zero for a ledger not yet born.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pilotage.evidence.errors import FetchFailed
from pilotage.evidence.promql import Series
from pilotage.evidence.reading import Confusion


class Cell(NamedTuple):
    """One counter: which database counted, for which revision, which outcome."""

    ledger: str
    revision: str
    actual: str
    predicted: str


Counters = Mapping[Cell, int]
"""Values at one scrape; cells absent are zero."""


class PastChanged(FetchFailed):
    """What was read before is not there any more, or a counter fell."""


def counters(series: Iterable[Series]) -> Counters:
    """The counters of an instant answer; PastChanged for a value that is not a whole number ≥ 0."""
    found: dict[Cell, int] = {}
    for one in series:
        (_, value) = one.samples[-1]
        if value < 0 or value != int(value):
            raise PastChanged(f"{dict(one.labels)} has the value {value}; a count is a whole number")
        found[Cell(*(one.labels.get(name, "") for name in Cell._fields))] = int(value)
    return found


def increments(start: Counters, end: Counters, revision: str) -> Confusion:
    """Outcomes of `revision` counted between two scrapes; PastChanged when a counter fell or vanished."""
    total: dict[str, dict[str, int]] = {}
    for cell in start.keys() | end.keys():
        if cell.revision != revision:
            continue
        grown = end.get(cell, 0) - start.get(cell, 0)
        if grown < 0:
            raise PastChanged(f"{cell} fell from {start.get(cell, 0)} to {end.get(cell, 0)}")
        if grown:
            row = total.setdefault(cell.actual, {})
            row[cell.predicted] = row.get(cell.predicted, 0) + grown
    return total


def classes(values: Counters, revision: str) -> tuple[str, ...]:
    """Every class the revision's cells name, zero cells included; sorted."""
    return tuple(sorted({cell.actual for cell in values if cell.revision == revision}))


def checksum(values: Counters, revisions: Iterable[str]) -> str:
    """`revision=hash` of each revision's counters, space separated: what a later reading must find again."""
    return " ".join(f"{revision}={_hash(values, revision)}" for revision in revisions)


def verify(before: str, values: Counters) -> None:
    """PastChanged unless every revision in the checksum `before` still has the counters it had."""
    for part in before.split():
        revision, _, expected = part.rpartition("=")
        if _hash(values, revision) != expected:
            raise PastChanged(f"the counters of {revision} at the last block's end are not what they were")


def _hash(values: Counters, revision: str) -> str:
    lines = sorted(f"{cell}={value}" for cell, value in values.items() if cell.revision == revision and value)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
