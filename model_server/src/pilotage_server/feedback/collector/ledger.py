"""The ledger: every label stored once, counted once, when its prediction is `labelDelay` old.

Laws, held by one transaction per call of `apply`:

1. Maturing comes first: all labels stored for predictions older than now − delay are counted, then what arrives is
   judged with the same now. So the clock alone decides what is late, not how busy the collector was.
2. A label's move to `counted` and every counter's new value commit together. A crash undoes both or neither.
3. What a caller is told, and what the snapshot shows, is committed. After any failure memory is read back from disk.
4. A row leaves the table only after its token expires, and that limit never moves back: pruning cannot recount.

Time is passed in, in unix ms. Knows no HTTP, no signature and no Prometheus. One thread at a time.
"""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pilotage_server.feedback.collector.intake import Intake
from pilotage_server.feedback.collector.maturing import mature
from pilotage_server.feedback.collector.memory import (
    Revision,
    read_arrivals,
    read_counts,
    read_pairs,
    read_revisions,
    read_windows,
)
from pilotage_server.feedback.collector.schema import FORGET, open_database, reclaim
from pilotage_server.feedback.collector.snapshot import RevisionCounts, Snapshot
from pilotage_server.feedback.collector.window import WINDOW_LABELS
from pilotage_server.feedback.collector.work import Moment, Outcome, Work
from pilotage_server.feedback.results import OTHER_REVISION, Result

MAX_AGE_MS: Final = 30 * 24 * 3_600_000
_GRACE_MS: Final = 3_600_000  # rows outlive their tokens by an hour
_PRUNED_AT_ONCE: Final = 20_000


class LedgerFailed(Exception):
    """The transaction did not commit and nothing of it counts; the text is SQLite's."""


class Ledger:
    """The single writer of one database."""

    def __init__(self, path: Path, *, now_ms: int, delay_ms: int, window: int = WINDOW_LABELS) -> None:
        """Open or found the ledger, with windows of so many labels. Raises `DatabaseRefused`."""
        self._database = open_database(path, now_ms)
        self._revisions: dict[str, Revision] = {}
        self._tally: Counter[tuple[str, Result]] = Counter()
        self._matured: set[int] = set()
        self._arrived: set[int] = set()
        self._delay_ms = delay_ms
        self._window = window
        self._pairs: dict[tuple[str, str, str], int] = {}
        self._is_stale = False
        self._expired_before_ms = 0
        self._load()
        self.snapshot = self._snapshot(counted_until_ms=0, delay_ms=delay_ms)

    def close(self) -> None:
        """Close the database; what is not committed is gone."""
        self._database.close()

    def apply(self, work: Sequence[Work], *, now_ms: int, delay_ms: int, keeps_scores: bool = False) -> list[Outcome]:
        """Mature, then do the work, in one transaction; durable when this returns. Raises `LedgerFailed`.

        `keeps_scores`: count the score buckets of labels that mature, for whoever ranks by them.
        """
        moment = Moment(now_ms=now_ms, delay_ms=delay_ms, keeps_scores=keeps_scores)
        with self._transaction():
            self._mature(moment)
            # Made here: reading back after a failure replaces what it refers to.
            oldest_ms = max(now_ms - MAX_AGE_MS, self._expired_before_ms)
            intake = Intake(self._database, self._revisions, moment, born_ms=self._born_ms, oldest_ms=oldest_ms)
            outcomes = [intake.do(one) for one in work]
            intake.write()
            self._matured |= intake.paired(self._pairs)
            self._arrived |= intake.arrived
            # Read back before the commit: whatever can fail, fails while all of it can still be undone.
            self._load_touched()
        self._tally.update(intake.tally)
        self._delay_ms = delay_ms
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
            # A decision is of use until the label of its request has matured.
            spent_ms = now_ms - self._delay_ms - _GRACE_MS
            self._database.execute("DELETE FROM decision WHERE at_ms < ?", (spent_ms,))
            if pruned:
                self._expired_before_ms = max(self._expired_before_ms, limit_ms)
                self._database.execute("UPDATE ledger SET expired_before_ms = ?", (self._expired_before_ms,))
            else:
                self._forget_revisions(horizon_ms)
        if not pruned:
            with contextlib.suppress(sqlite3.Error):  # the space is only wanted back
                reclaim(self._database)
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

    def _mature(self, moment: Moment) -> None:
        by_id = {revision.id: revision for revision in self._revisions.values()}
        classes = {key: revision.classes for key, revision in by_id.items()}
        matured = mature(
            self._database, moment.cutoff_ms, classes, keeps_scores=moment.keeps_scores, window=self._window
        )
        for key, rows in matured.items():
            by_id[key].window = by_id[key].window.extended(rows, self._window)
        self._matured |= matured.keys()

    def _forget_revisions(self, horizon_ms: int) -> None:
        for name, revision in [pair for pair in self._revisions.items() if pair[1].seen_ms < horizon_ms]:
            query = "SELECT 1 FROM label WHERE revision = ? LIMIT 1"
            if self._database.execute(query, (revision.id,)).fetchone() is None:
                for statement in FORGET:
                    self._database.execute(statement, {"revision": revision.id})
                self._database.execute("DELETE FROM tally WHERE revision = ?", (name,))
                self._database.execute("DELETE FROM revision WHERE id = ?", (revision.id,))
                del self._revisions[name]
                for result in Result:
                    del self._tally[name, result]

    # Memory, read back from what is committed

    def _load(self) -> None:
        row = self._database.execute("SELECT id, born_ms, expired_before_ms FROM ledger").fetchone()
        self._id, self._born_ms, self._expired_before_ms = row
        self._revisions = read_revisions(self._database)
        tally = self._database.execute("SELECT revision, result, items FROM tally")
        self._tally = Counter({(revision, Result(result)): items for revision, result, items in tally})
        self._matured = {revision.id for revision in self._revisions.values()}
        self._arrived = set(self._matured)
        self._load_touched()
        read_windows(self._database, self._revisions.values(), self._window)

    def _load_touched(self) -> None:
        for revision in self._revisions.values():
            if revision.id in self._matured:
                revision.counts = read_counts(self._database, revision.id)
            if revision.id in self._arrived:
                revision.arrivals = read_arrivals(self._database, revision.id)
        if self._matured:
            self._pairs = read_pairs(self._database, {one.id: name for name, one in self._revisions.items()})
        self._matured.clear()
        self._arrived.clear()

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
                    counts=revision.counts,
                    arrivals=revision.arrivals,
                    window=revision.window,
                    slices=revision.slices,
                    costs=revision.costs,
                    results={result: self._tally[name, result] for result in Result},
                )
                for name, revision in self._revisions.items()
            ),
            others={result: self._tally[OTHER_REVISION, result] for result in Result},
            pairs=self._pairs,
        )
