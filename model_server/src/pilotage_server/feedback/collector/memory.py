"""What the ledger keeps in memory about its revisions, read back from what is committed.

Counts that change only when labels mature are read apart from those that change whenever one arrives, so that a
commit costs what it changed. Reads, never writes.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import orjson

from pilotage_server.feedback.announcing import read_costs, read_slices
from pilotage_server.feedback.collector.snapshot import Arrivals, Cell, Counts, Moments
from pilotage_server.feedback.collector.window import Window, packed
from pilotage_server.quality.slices import Slice

_WINDOW_SCAN: Final = 100_000


@dataclass(slots=True)
class Revision:
    """One revision: what pods announced, and its counters."""

    id: int
    classes: tuple[str, ...]
    index: dict[str, int]
    seen_ms: int
    slices: tuple[Slice, ...]
    costs: tuple[tuple[float, ...], ...]
    counts: Counts
    arrivals: Arrivals
    window: Window


def new_revision(
    key: int,
    classes: tuple[str, ...],
    seen_ms: int,
    slices: tuple[Slice, ...] = (),
    costs: tuple[tuple[float, ...], ...] = (),
) -> Revision:
    """A revision of which nothing is counted yet."""
    index = {name: position for position, name in enumerate(classes)}
    return Revision(key, classes, index, seen_ms, slices, costs, Counts(), Arrivals(), Window(len(classes)))


def read_revisions(database: sqlite3.Connection) -> dict[str, Revision]:
    """All revisions by name, without their counters."""
    return {
        name: new_revision(
            key,
            tuple(orjson.loads(classes)),
            seen_ms,
            read_slices(orjson.loads(slices)),
            read_costs(orjson.loads(costs), len(orjson.loads(classes))),
        )
        for key, name, classes, seen_ms, slices, costs in database.execute(
            "SELECT id, name, classes, seen_ms, slices, costs FROM revision"
        )
    }


def read_counts(database: sqlite3.Connection, revision: int) -> Counts:
    """What has matured."""
    cells = database.execute(
        "SELECT actual, predicted, all_rows, requests, audited FROM cell WHERE revision = ?", (revision,)
    )
    scores = database.execute(
        "SELECT class, actual, bucket, requests, all_rows FROM score WHERE revision = ?", (revision,)
    ).fetchall()
    cohorts = database.execute("SELECT class, outcome, delay, all_rows FROM cohort WHERE revision = ?", (revision,))
    slices = database.execute(
        "SELECT slice, value, actual, predicted, all_rows FROM slice WHERE revision = ?", (revision,)
    )
    return Counts(
        cells={(row[0], row[1]): Cell(*row[2:]) for row in cells},
        moments=_read_moments(database, revision),
        scores={row[:3]: row[3] for row in scores},
        score_rows={row[:3]: row[4] for row in scores},
        cohorts={row[:3]: row[3] for row in cohorts},
        slices={row[:4]: row[4] for row in slices},
    )


def _read_moments(database: sqlite3.Connection, revision: int) -> Moments:
    row = database.execute(
        "SELECT requests, loss, squares, all_rows, all_loss, all_brier FROM moment WHERE revision = ?", (revision,)
    ).fetchone()
    if row is None:
        return Moments()
    return Moments(requests=row[0], loss=row[1], squares=int(row[2]), rows=row[3], rows_loss=row[4], rows_brier=row[5])


def read_arrivals(database: sqlite3.Connection, revision: int) -> Arrivals:
    """What has arrived."""
    (stored,) = database.execute("SELECT stored FROM revision WHERE id = ?", (revision,)).fetchone()
    late = database.execute("SELECT delay_ms, bound, requests FROM late WHERE revision = ?", (revision,))
    delays = database.execute("SELECT bound, labels, delay_ms FROM arrival WHERE revision = ?", (revision,))
    return Arrivals(
        stored=stored,
        late={row[:2]: row[2] for row in late},
        delays={row[0]: row[1:] for row in delays},
    )


def read_windows(database: sqlite3.Connection, revisions: Iterable[Revision], most: int) -> None:
    """Fill the windows again, with up to `most` of the labels that were counted last.

    Looks at no more than 100,000 labels, so that a start takes a moment whatever the ledger holds.
    """
    known = {revision.id: revision for revision in revisions}
    rows: dict[int, list[bytes]] = {key: [] for key in known}
    last = database.execute(
        "SELECT revision, coalesce(counted_as, given), predicted, loss, brier, buckets FROM"
        " (SELECT * FROM label WHERE issued_ms <= (SELECT matured_ms FROM ledger)"
        " ORDER BY issued_ms DESC, nonce DESC, row DESC LIMIT ?) WHERE state = 1",
        (_WINDOW_SCAN if most else 0,),
    )
    for key, *row in last:
        if key in known and len(rows[key]) < most:
            rows[key].append(packed(row, len(known[key].classes)))
    for key, newest_first in rows.items():
        empty = Window(len(known[key].classes))
        known[key].window = empty.extended(b"".join(reversed(newest_first)), most)


def read_pairs(database: sqlite3.Connection, names: dict[int, str]) -> dict[tuple[str, str, str], int]:
    """Matured pairs by (stable, canary, outcome), of revisions that are still known."""
    return {
        (names[stable], names[canary], outcome): requests
        for stable, canary, outcome, requests in database.execute("SELECT stable, canary, outcome, requests FROM pair")
        if stable in names and canary in names
    }
