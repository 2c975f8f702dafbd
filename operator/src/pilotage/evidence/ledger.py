"""Arithmetic on the collector's counters as read at one scrape: differences per ledger, sums per arm, a checksum.

A ledger is the life of one collector database. Its counters only grow; a new ledger starts at zero. So the increments
of an arm are the sum over ledgers of (value at the end − value at the start), with zero for a ledger not yet born.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from pilotage.evidence.errors import PastChanged
from pilotage.evidence.promql import Series
from pilotage.evidence.reading import Confusion, Counts, Loss

SCORE_BUCKETS = 50
_MICRO = 1e-6
"""The collector counts losses in whole micro-nats, so that sums are exact."""


class Counter(StrEnum):
    """What a collector counts, by the name it travels under here."""

    MATURED = "matured"
    AUDIT = "audit"
    LATE = "late"
    SCORES = "scores"
    LOSS = "loss"


class Cell(NamedTuple):
    """One counter: which database counted, for which revision, what, and which outcome (values of its labels)."""

    ledger: str
    revision: str
    counter: str
    outcome: tuple[str, ...]


LABELS: Mapping[Counter, tuple[str, ...]] = {
    Counter.MATURED: ("actual", "predicted"),
    Counter.AUDIT: ("actual", "predicted"),
    Counter.LATE: ("age",),
    Counter.SCORES: ("class", "actual", "bucket"),
    Counter.LOSS: ("moment",),
}
"""The labels that make an outcome."""

Counters = Mapping[Cell, int]
"""Values at one scrape; cells absent are zero."""


def counters(series: Iterable[Series]) -> Counters:
    """The counters of an instant answer; PastChanged for a value that is not a whole number ≥ 0."""
    found: dict[Cell, int] = {}
    for one in series:
        (_, value) = one.samples[-1]
        if value < 0 or value != int(value):
            raise PastChanged(f"{dict(one.labels)} has the value {value}; a count is a whole number")
        found[cell_of(one.labels)] = int(value)
    return found


def cell_of(labels: Mapping[str, str]) -> Cell:
    """The cell that a series' labels name; without a label `counter`, one of matured labels."""
    counter = labels.get("counter", Counter.MATURED.value)
    outcome = tuple(labels.get(name, "") for name in LABELS[Counter(counter)])
    return Cell(labels.get("ledger", ""), labels.get("revision", ""), counter, outcome)


def increments(start: Counters, end: Counters, revision: str) -> Counts:
    """What was counted of `revision` between two scrapes; PastChanged when a counter fell or vanished."""
    grown: dict[Counter, defaultdict[tuple[str, ...], int]] = {counter: defaultdict(int) for counter in Counter}
    for cell in start.keys() | end.keys():
        if cell.revision != revision:
            continue
        more = end.get(cell, 0) - start.get(cell, 0)
        if more < 0:
            raise PastChanged(f"{cell} fell from {start.get(cell, 0)} to {end.get(cell, 0)}")
        grown[Counter(cell.counter)][cell.outcome] += more
    return Counts(
        confusion=_confusion(grown[Counter.MATURED]),
        audit=_confusion(grown[Counter.AUDIT]),
        late={age: count for (age,), count in grown[Counter.LATE].items() if count},
        scores=_scores(grown[Counter.SCORES]),
        loss=_loss(grown[Counter.LOSS]),
    )


def exported(values: Counters) -> frozenset[Counter]:
    """What the collector counts at all, zeros included."""
    return frozenset(Counter(cell.counter) for cell in values)


def classes(values: Counters, revision: str) -> tuple[str, ...]:
    """Every class the revision's cells name, zero cells included; sorted."""
    named = {cell.outcome[0] for cell in values if (cell.revision, cell.counter) == (revision, Counter.MATURED)}
    return tuple(sorted(named))


def checksum(values: Counters, revisions: Iterable[str]) -> str:
    """`revision=hash` of each revision's counters, space separated: what a later reading must find again."""
    return " ".join(f"{revision}={_hash(values, revision)}" for revision in revisions)


def verify(before: str, values: Counters) -> None:
    """PastChanged unless every revision in the checksum `before` still has the counters it had."""
    for part in before.split():
        revision, _, expected = part.rpartition("=")
        if _hash(values, revision) != expected:
            raise PastChanged(f"the counters of {revision} at the last block's end are not what they were")


def agree(earlier: Counters, later: Counters, *, same_scrape: bool) -> None:
    """PastChanged unless the scraper that looked later saw at least as much of every counter."""
    for cell in earlier.keys() | later.keys():
        before, after = earlier.get(cell, 0), later.get(cell, 0)
        if before > after or (same_scrape and before != after):
            raise PastChanged(f"two scrapers of one collector disagree: one read {before}, the other {after} of {cell}")


def _confusion(grown: Mapping[tuple[str, ...], int]) -> Confusion:
    total: dict[str, dict[str, int]] = {}
    for (actual, predicted), count in grown.items():
        if count:
            total.setdefault(actual, {})[predicted] = count
    return total


def _scores(grown: Mapping[tuple[str, ...], int]) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
    found: dict[str, dict[str, list[int]]] = {}
    for (name, actual, bucket), count in grown.items():
        sides = found.setdefault(name, {side: [0] * SCORE_BUCKETS for side in ("0", "1")})
        if actual not in sides or not bucket.isdecimal() or int(bucket) >= SCORE_BUCKETS:
            raise PastChanged(f"bucket {bucket!r} of side {actual!r} is none of the collector's 2 × {SCORE_BUCKETS}")
        sides[actual][int(bucket)] += count
    return {name: {side: tuple(counts) for side, counts in sides.items()} for name, sides in found.items()}


def _loss(grown: Mapping[tuple[str, ...], int]) -> Loss | None:
    moments = {moment: count for (moment,), count in grown.items()}
    if not moments:
        return None
    return Loss(
        count=moments.get("count", 0),
        sum=moments.get("sum", 0) * _MICRO,
        sumsq=moments.get("sumsq", 0) * _MICRO * _MICRO,
    )


def _hash(values: Counters, revision: str) -> str:
    lines = sorted(f"{cell}={value}" for cell, value in values.items() if cell.revision == revision and value)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
