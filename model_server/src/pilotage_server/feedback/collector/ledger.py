"""The ledger: every label stored once, counted once, when its prediction is `labelDelay` old.

Laws, held by one transaction per call of `apply`:

1. Maturing comes first: all labels stored for predictions older than now − delay are counted, then what arrives is
   judged with the same now. So the clock alone decides what is late, not how busy the collector was.
2. A label's move to `counted` and the counter's new value commit together. A crash undoes both or neither.
3. What a caller is told, and what the snapshot shows, is committed. After any failure memory is read back from disk.
4. A row leaves the table only after its token expires, and that limit never moves back: pruning cannot recount.

Time is passed in, in unix ms. Knows no HTTP, no signature and no Prometheus. One thread at a time.
"""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final

import orjson

from pilotage_server.feedback.collector.schema import open_database
from pilotage_server.feedback.collector.snapshot import Cell, RevisionCounts, Snapshot
from pilotage_server.feedback.collector.work import Announced, Conflict, Delivered, Outcome, UnknownSender, Work
from pilotage_server.feedback.results import OTHER_REVISION, Result
from pilotage_server.feedback.token import chosen_row
from pilotage_server.feedback.wire import WINDOW_MS, Announcement, Delivery, Item

MAX_AGE_MS: Final = 30 * 24 * 3_600_000
_GRACE_MS: Final = 3_600_000  # rows outlive their tokens by an hour
_SEEN_EVERY_MS: Final = 3_600_000  # how stale the time of the last announcement may be on disk
_PRUNED_AT_ONCE: Final = 20_000
_NONCE_BIAS: Final = 2**63  # SQLite's integers are signed


class _State(IntEnum):
    PENDING = 0
    COUNTED = 1
    LATE = 2


class LedgerFailed(Exception):
    """The transaction did not commit and nothing of it counts; the text is SQLite's."""


@dataclass(slots=True)
class _Revision:
    id: int
    classes: tuple[str, ...]
    index: dict[str, int]
    seen_ms: int
    stored: int
    cells: dict[tuple[int, int], Cell]


@dataclass(slots=True)
class _Changes:
    """What a transaction adds to counters, written once at its end."""

    tally: Counter[tuple[str, Result]] = field(default_factory=Counter)
    stored: Counter[int] = field(default_factory=Counter)


class Ledger:
    """The single writer of one database."""

    def __init__(self, path: Path, *, now_ms: int, delay_ms: int) -> None:
        """Open or found the ledger. Raises `DatabaseRefused`."""
        self._database = open_database(path, now_ms)
        self._revisions: dict[str, _Revision] = {}
        self._tally: Counter[tuple[str, Result]] = Counter()
        self._touched: set[int] = set()
        self._is_stale = False
        self._expired_before_ms = 0
        self._load()
        self.snapshot = self._snapshot(counted_until_ms=0, delay_ms=delay_ms)

    def close(self) -> None:
        """Close the database; what is not committed is gone."""
        self._database.close()

    def apply(self, work: Sequence[Work], *, now_ms: int, delay_ms: int) -> list[Outcome]:
        """Mature, then do the work, in one transaction; durable when this returns. Raises `LedgerFailed`."""
        cutoff_ms = now_ms - delay_ms
        changes = _Changes()
        with self._transaction():
            self._mature(cutoff_ms)
            outcomes = [self._do(one, now_ms, cutoff_ms, changes) for one in work]
            self._write(changes)
            # Read back before the commit: whatever can fail, fails while all of it can still be undone.
            self._load_touched()
        self._tally.update(changes.tally)
        self.snapshot = self._snapshot(counted_until_ms=now_ms, delay_ms=delay_ms)
        return outcomes

    def prune(self, *, now_ms: int) -> int:
        """Delete some of the rows whose tokens have expired, then revisions without any; how many rows.

        Raises `LedgerFailed`.
        """
        horizon_ms = now_ms - MAX_AGE_MS - _GRACE_MS
        with self._transaction():
            last = self._database.execute(
                "SELECT issued_ms FROM label WHERE issued_ms < ? ORDER BY issued_ms LIMIT 1 OFFSET ?",
                (horizon_ms, _PRUNED_AT_ONCE),
            ).fetchone()
            limit_ms = last[0] + 1 if last else horizon_ms
            delete = "DELETE FROM label WHERE issued_ms < ? AND state <> 0"
            pruned = self._database.execute(delete, (limit_ms,)).rowcount
            if pruned:
                self._expired_before_ms = max(self._expired_before_ms, limit_ms)
                self._database.execute("UPDATE ledger SET expired_before_ms = ?", (self._expired_before_ms,))
            else:
                self._forget_revisions(horizon_ms)
        return pruned

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            if self._is_stale:
                self._load()
                self._is_stale = False
            self._database.execute("BEGIN")
            yield
            self._database.execute("COMMIT")
        except BaseException as error:
            # Even a commit that failed may be on disk: only reading back tells.
            self._is_stale = True
            if self._database.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise LedgerFailed(str(error)) from error
            raise

    # What happens inside the transaction

    def _mature(self, cutoff_ms: int) -> None:
        due = self._database.execute(
            "SELECT revision, given, predicted, count(*), sum(chosen) FROM label"
            " WHERE state = 0 AND issued_ms <= ? GROUP BY revision, given, predicted",
            (cutoff_ms,),
        ).fetchall()
        if not due:
            return
        self._database.executemany(
            "INSERT INTO cell VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET all_rows = all_rows + excluded.all_rows, requests = requests + excluded.requests",
            due,
        )
        self._database.execute("UPDATE label SET state = 1 WHERE state = 0 AND issued_ms <= ?", (cutoff_ms,))
        self._touched.update(row[0] for row in due)

    def _do(self, work: Work, now_ms: int, cutoff_ms: int, changes: _Changes) -> Outcome:
        match work:
            case Announcement():
                return self._announce(work, now_ms)
            case Delivery() if work.sender not in self._revisions:
                return UnknownSender()
            case Delivery():
                results = tuple([self._judge(item, now_ms, cutoff_ms, changes) for item in work.items])
                for item, result in zip(work.items, results, strict=True):
                    known = item.revision in self._revisions
                    changes.tally[item.revision if known else OTHER_REVISION, result] += 1
                return Delivered(results)

    def _announce(self, announcement: Announcement, now_ms: int) -> Outcome:
        known = self._revisions.get(announcement.revision)
        if known is None:
            (key,) = self._database.execute(
                "INSERT INTO revision (name, classes, seen_ms) VALUES (?, ?, ?) RETURNING id",
                (announcement.revision, orjson.dumps(announcement.classes).decode(), now_ms),
            ).fetchone()
            self._revisions[announcement.revision] = _revision(key, announcement.classes, now_ms, stored=0)
            return Announced()
        if known.classes != announcement.classes:
            return Conflict(f"{announcement.revision} is registered with other classes; one revision is one model")
        if now_ms - known.seen_ms > _SEEN_EVERY_MS:
            self._database.execute("UPDATE revision SET seen_ms = ? WHERE id = ?", (now_ms, known.id))
            known.seen_ms = now_ms
        return Announced()

    def _judge(self, item: Item, now_ms: int, cutoff_ms: int, changes: _Changes) -> Result:
        revision = self._revisions.get(item.revision)
        if revision is None:
            return Result.UNKNOWN_REVISION
        if not (0 <= item.row < item.rows and 0 <= item.predicted < len(revision.classes)):
            return Result.MALFORMED
        given = revision.index.get(item.label)
        if given is None:
            return Result.UNKNOWN_LABEL
        if item.issued_ms > now_ms + WINDOW_MS:
            return Result.CLOCK_SKEW
        if item.issued_ms < self._born_ms:
            return Result.HISTORY_LOST
        if item.issued_ms < max(now_ms - MAX_AGE_MS, self._expired_before_ms):
            return Result.EXPIRED
        return self._store(item, revision.id, given, item.issued_ms <= cutoff_ms, changes)

    def _store(self, item: Item, revision: int, given: int, is_mature: bool, changes: _Changes) -> Result:
        key = (item.issued_ms, int(item.nonce, 16) - _NONCE_BIAS, item.row)
        stored = self._database.execute(
            "SELECT state, given FROM label WHERE issued_ms = ? AND nonce = ? AND row = ?", key
        ).fetchone()
        if stored is None:
            chosen = item.row == chosen_row(bytes.fromhex(item.nonce), item.rows)
            state = _State.LATE if is_mature else _State.PENDING
            self._database.execute(
                "INSERT INTO label VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, revision, item.predicted, given, int(chosen), int(state)),
            )
            if is_mature:
                return Result.LATE
            changes.stored[revision] += 1
            return Result.ACCEPTED
        if stored[1] == given:
            return Result.DUPLICATE
        self._database.execute(
            "UPDATE label SET given = ? WHERE issued_ms = ? AND nonce = ? AND row = ?", (given, *key)
        )
        return Result.ACCEPTED if stored[0] == _State.PENDING else Result.CORRECTED

    def _write(self, changes: _Changes) -> None:
        self._database.executemany(
            "INSERT INTO tally VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET items = items + excluded.items",
            [(revision, result.value, items) for (revision, result), items in changes.tally.items()],
        )
        self._database.executemany(
            "UPDATE revision SET stored = stored + ? WHERE id = ?",
            [(labels, revision) for revision, labels in changes.stored.items()],
        )
        self._touched.update(changes.stored)

    def _forget_revisions(self, horizon_ms: int) -> None:
        for name, revision in [pair for pair in self._revisions.items() if pair[1].seen_ms < horizon_ms]:
            query = "SELECT 1 FROM label WHERE revision = ? LIMIT 1"
            if self._database.execute(query, (revision.id,)).fetchone() is None:
                self._database.execute("DELETE FROM cell WHERE revision = ?", (revision.id,))
                self._database.execute("DELETE FROM tally WHERE revision = ?", (name,))
                self._database.execute("DELETE FROM revision WHERE id = ?", (revision.id,))
                del self._revisions[name]
                for result in Result:
                    del self._tally[name, result]

    # Memory, read back from what is committed

    def _load(self) -> None:
        row = self._database.execute("SELECT id, born_ms, expired_before_ms FROM ledger").fetchone()
        self._id, self._born_ms, self._expired_before_ms = row
        self._revisions = {
            name: _revision(key, tuple(orjson.loads(classes)), seen_ms, stored)
            for key, name, classes, seen_ms, stored in self._database.execute(
                "SELECT id, name, classes, seen_ms, stored FROM revision"
            )
        }
        tally = self._database.execute("SELECT revision, result, items FROM tally")
        self._tally = Counter({(revision, Result(result)): items for revision, result, items in tally})
        self._touched = {revision.id for revision in self._revisions.values()}
        self._load_touched()

    def _load_touched(self) -> None:
        for revision in self._revisions.values():
            if revision.id in self._touched:
                cells = self._database.execute(
                    "SELECT actual, predicted, all_rows, requests FROM cell WHERE revision = ?", (revision.id,)
                )
                revision.cells = {(row[0], row[1]): Cell(row[2], row[3]) for row in cells}
                query = "SELECT stored FROM revision WHERE id = ?"
                (revision.stored,) = self._database.execute(query, (revision.id,)).fetchone()
        self._touched.clear()

    def _snapshot(self, *, counted_until_ms: int, delay_ms: int) -> Snapshot:
        return Snapshot(
            ledger=self._id,
            born_ms=self._born_ms,
            label_delay_ms=delay_ms,
            counted_until_ms=counted_until_ms,
            revisions=tuple(
                RevisionCounts(
                    revision=name,
                    classes=revision.classes,
                    seen_ms=revision.seen_ms,
                    stored=revision.stored,
                    cells=revision.cells,
                    results={result: self._tally[name, result] for result in Result},
                )
                for name, revision in self._revisions.items()
            ),
            others={result: self._tally[OTHER_REVISION, result] for result in Result},
        )


def _revision(key: int, classes: tuple[str, ...], seen_ms: int, stored: int) -> _Revision:
    index = {name: position for position, name in enumerate(classes)}
    return _Revision(id=key, classes=classes, index=index, seen_ms=seen_ms, stored=stored, cells={})
