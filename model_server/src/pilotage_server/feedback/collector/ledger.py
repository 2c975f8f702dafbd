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
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final

import orjson

from pilotage_server.feedback.collector.maturing import mature
from pilotage_server.feedback.collector.memory import (
    Revision,
    new_revision,
    read_arrivals,
    read_counts,
    read_pairs,
    read_revisions,
)
from pilotage_server.feedback.collector.schema import FORGET, open_database
from pilotage_server.feedback.collector.snapshot import RevisionCounts, Snapshot
from pilotage_server.feedback.collector.work import (
    Announced,
    Conflict,
    Delivered,
    Noted,
    Outcome,
    UnknownSender,
    Work,
)
from pilotage_server.feedback.probabilities import Scores, is_readable, scores
from pilotage_server.feedback.results import OTHER_REVISION, Result
from pilotage_server.feedback.token import chosen_row
from pilotage_server.feedback.wire import RELAYED, WINDOW_MS, Announcement, Decisions, Delivery, Item
from pilotage_server.quality.buckets import DELAY_BOUNDS_S, late_bucket

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
class _Changes:
    """What a transaction adds to counters, written once at its end."""

    tally: Counter[tuple[str, Result]] = field(default_factory=Counter)
    stored: Counter[int] = field(default_factory=Counter)
    late: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    arrived: Counter[tuple[int, int]] = field(default_factory=Counter)
    delays_ms: Counter[tuple[int, int]] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Moment:
    """The instant of one transaction: everything in it is judged by the same clock, delay and exports."""

    now_ms: int
    delay_ms: int
    keeps_scores: bool

    @property
    def cutoff_ms(self) -> int:
        return self.now_ms - self.delay_ms


class Ledger:
    """The single writer of one database."""

    def __init__(self, path: Path, *, now_ms: int, delay_ms: int) -> None:
        """Open or found the ledger. Raises `DatabaseRefused`."""
        self._database = open_database(path, now_ms)
        self._revisions: dict[str, Revision] = {}
        self._tally: Counter[tuple[str, Result]] = Counter()
        self._matured: set[int] = set()
        self._arrived: set[int] = set()
        self._delay_ms = delay_ms
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

        `keeps_scores`: store the score buckets of labels that arrive, for whoever ranks by them.
        """
        moment = _Moment(now_ms, delay_ms, keeps_scores)
        changes = _Changes()
        with self._transaction():
            self._mature(moment.cutoff_ms)
            outcomes = [self._do(one, moment, changes) for one in work]
            self._write(changes)
            # Read back before the commit: whatever can fail, fails while all of it can still be undone.
            self._load_touched()
        self._tally.update(changes.tally)
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
        classes = {revision.id: revision.classes for revision in self._revisions.values()}
        self._matured |= mature(self._database, cutoff_ms, classes)

    def _do(self, work: Work, moment: _Moment, changes: _Changes) -> Outcome:
        match work:
            case Announcement():
                return self._announce(work, moment.now_ms)
            case Delivery() | Decisions() if work.sender not in self._revisions and work.sender != RELAYED:
                return UnknownSender()
            case Decisions():
                return self._note(work)
            case Delivery():
                results = tuple([self._judge(item, moment, changes) for item in work.items])
                for item, result in zip(work.items, results, strict=True):
                    known = item.revision in self._revisions
                    changes.tally[item.revision if known else OTHER_REVISION, result] += 1
                return Delivered(results)

    def _announce(self, announcement: Announcement, now_ms: int) -> Outcome:
        known = self._revisions.get(announcement.revision)
        slices = orjson.dumps([(one.name, one.values) for one in announcement.slices]).decode()
        costs = orjson.dumps(announcement.costs).decode()
        if known is None:
            (key,) = self._database.execute(
                "INSERT INTO revision (name, classes, seen_ms, slices, costs) VALUES (?, ?, ?, ?, ?) RETURNING id",
                (announcement.revision, orjson.dumps(announcement.classes).decode(), now_ms, slices, costs),
            ).fetchone()
            self._revisions[announcement.revision] = new_revision(
                key, announcement.classes, now_ms, announcement.slices, announcement.costs
            )
            return Announced()
        if known.classes != announcement.classes:
            return Conflict(f"{announcement.revision} is registered with other classes; one revision is one model")
        said = (announcement.slices, announcement.costs)
        if now_ms - known.seen_ms > _SEEN_EVERY_MS or said != (known.slices, known.costs):
            self._database.execute(
                "UPDATE revision SET seen_ms = ?, slices = ?, costs = ? WHERE id = ?",
                (now_ms, slices, costs, known.id),
            )
            known.seen_ms, known.slices, known.costs = now_ms, *said
        return Announced()

    def _note(self, decisions: Decisions) -> Outcome:
        canary = self._revisions[decisions.sender]
        classes = len(canary.classes)
        rows = [
            (int(one.request, 16) - _NONCE_BIAS, canary.id, one.at_ms, predicted)
            for one in decisions.decisions
            if (predicted := bytes.fromhex(one.predicted)) and max(predicted) < classes
        ]
        self._database.executemany("INSERT INTO decision VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)
        # A pair of revisions begins at zero, before its first label matures.
        for name, stable in self._revisions.items():
            if stable is not canary and (name, decisions.sender, "n11") not in self._pairs:
                begun = [(stable.id, canary.id, outcome) for outcome in ("n11", "n10", "n01", "n00")]
                self._database.executemany("INSERT INTO pair VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING", begun)
                self._matured.add(canary.id)
        return Noted()

    def _judge(self, item: Item, moment: _Moment, changes: _Changes) -> Result:
        revision = self._revisions.get(item.revision)
        now_ms = moment.now_ms
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
        return self._store(item, revision, given, moment, changes)

    def _store(self, item: Item, revision: Revision, given: int, moment: _Moment, changes: _Changes) -> Result:
        key = (item.issued_ms, int(item.nonce, 16) - _NONCE_BIAS, item.row)
        stored = self._database.execute(
            "SELECT state, given FROM label WHERE issued_ms = ? AND nonce = ? AND row = ?", key
        ).fetchone()
        if stored is None:
            return self._store_first(key, item, revision, given, moment, changes)
        if stored[1] == given:
            return Result.DUPLICATE
        found = _scores(item, revision, given)
        self._database.execute(
            "UPDATE label SET given = ?, loss = ?, brier = ? WHERE issued_ms = ? AND nonce = ? AND row = ?",
            (given, found.loss if found else None, found.brier if found else None, *key),
        )
        return Result.ACCEPTED if stored[0] == _State.PENDING else Result.CORRECTED

    def _store_first(
        self,
        key: tuple[int, int, int],
        item: Item,
        revision: Revision,
        given: int,
        moment: _Moment,
        changes: _Changes,
    ) -> Result:
        is_late = item.issued_ms <= moment.cutoff_ms
        chosen = item.row == chosen_row(bytes.fromhex(item.nonce), item.rows)
        found = _scores(item, revision, given)
        self._database.execute(
            "INSERT INTO label VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(*key, revision.id, item.predicted, given, int(chosen)),
                int(_State.LATE if is_late else _State.PENDING),
                *((item.audit, found.loss, found.brier) if found else (item.audit, None, None)),
                found.buckets if found and chosen and moment.keeps_scores else None,
                int(item.request, 16) - _NONCE_BIAS if item.request else None,
                item.slices if item.slices and len(item.slices) == 2 * len(revision.slices) else None,
            ),
        )
        age_ms = max(0, moment.now_ms - item.issued_ms)
        arrived = (revision.id, bisect_left(DELAY_BOUNDS_S, age_ms / 1000))
        changes.arrived[arrived] += 1
        changes.delays_ms[arrived] += age_ms
        if is_late:
            if chosen:
                changes.late[revision.id, moment.delay_ms, late_bucket(age_ms, moment.delay_ms)] += 1
            return Result.LATE
        changes.stored[revision.id] += 1
        return Result.ACCEPTED

    def _write(self, changes: _Changes) -> None:
        run = self._database.executemany
        run(
            "INSERT INTO tally VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET items = items + excluded.items",
            [(revision, result.value, items) for (revision, result), items in changes.tally.items()],
        )
        run(
            "UPDATE revision SET stored = stored + ? WHERE id = ?",
            [(labels, revision) for revision, labels in changes.stored.items()],
        )
        run(
            "INSERT INTO late VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests",
            [(*key, requests) for key, requests in changes.late.items()],
        )
        run(
            "INSERT INTO arrival VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET labels = labels + excluded.labels, delay_ms = delay_ms + excluded.delay_ms",
            [(*key, labels, changes.delays_ms[key]) for key, labels in changes.arrived.items()],
        )
        self._arrived.update(revision for revision, _ in changes.arrived)

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
                    slices=revision.slices,
                    costs=revision.costs,
                    results={result: self._tally[name, result] for result in Result},
                )
                for name, revision in self._revisions.items()
            ),
            others={result: self._tally[OTHER_REVISION, result] for result in Result},
            pairs=self._pairs,
        )


def _scores(item: Item, revision: Revision, given: int) -> Scores | None:
    """What the label says of the row's probabilities; only here, where the class order of every revision is known."""
    row, classes = bytes.fromhex(item.probabilities), len(revision.classes)
    return scores(row, classes, given) if row and is_readable(row, classes) else None
