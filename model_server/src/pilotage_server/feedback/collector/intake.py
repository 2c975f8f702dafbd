"""What one transaction takes in: announcements, labels and a shadow's decisions, each judged by the same instant.

An intake lives as long as its transaction. It decides what every item is told, stores first labels and replaces values,
and adds up what arrived, to be written once. What counts, and when, is `maturing`'s business; begin and commit are
`ledger`'s.
"""

import sqlite3
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import orjson

from pilotage_server.feedback.collector.memory import Revision, new_revision
from pilotage_server.feedback.collector.snapshot import PAIR_OUTCOMES
from pilotage_server.feedback.collector.work import (
    Announced,
    Conflict,
    Delivered,
    Moment,
    Noted,
    Outcome,
    UnknownSender,
    Work,
)
from pilotage_server.feedback.messages import RELAYED, Announcement, Decisions, Delivery, Item
from pilotage_server.feedback.probabilities import Scores, is_readable, scores
from pilotage_server.feedback.results import OTHER_REVISION, Result
from pilotage_server.feedback.seal import WINDOW_MS
from pilotage_server.feedback.token import chosen_row
from pilotage_server.quality.buckets import DELAY_BOUNDS_S, MAX_CURVES, cohort, late_bucket

_SEEN_EVERY_MS: Final = 3_600_000  # how stale the time of the last announcement may be on disk
_NONCE_BIAS: Final = 2**63  # SQLite's integers are signed


class _State(IntEnum):
    PENDING = 0
    COUNTED = 1
    LATE = 2


class Intake:
    """One transaction's intake. `born_ms`: older tokens are of a lost ledger; `oldest_ms`: older ones have expired."""

    def __init__(
        self,
        database: sqlite3.Connection,
        revisions: dict[str, Revision],
        moment: Moment,
        *,
        born_ms: int,
        oldest_ms: int,
    ) -> None:
        self._database = database
        self._revisions = revisions
        self._moment = moment
        self._born_ms = born_ms
        self._oldest_ms = oldest_ms
        self._stored: Counter[int] = Counter()
        self._late: Counter[tuple[int, int, int]] = Counter()
        self._arrivals: Counter[tuple[int, int]] = Counter()
        self._ages_ms: Counter[tuple[int, int]] = Counter()
        self._shadows: set[str] = set()
        self.tally: Counter[tuple[str, Result]] = Counter()
        """Results by revision, `other` for revisions nobody knows."""

    def do(self, work: Work) -> Outcome:
        """Do one piece of work."""
        match work:
            case Announcement():
                return self._announce(work)
            case Delivery() | Decisions() if work.sender not in self._revisions and work.sender != RELAYED:
                return UnknownSender()
            case Decisions():
                return self._note(work)
            case Delivery():
                results = tuple([self._judge(item) for item in work.items])
                for item, result in zip(work.items, results, strict=True):
                    known = item.revision in self._revisions
                    self.tally[item.revision if known else OTHER_REVISION, result] += 1
                return Delivered(results)

    def _announce(self, announcement: Announcement) -> Outcome:
        now_ms = self._moment.now_ms
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
        self._shadows.add(decisions.sender)
        return Noted()

    def _judge(self, item: Item) -> Result:
        revision = self._revisions.get(item.revision)
        if revision is None:
            return Result.UNKNOWN_REVISION
        if not (0 <= item.row < item.rows and 0 <= item.predicted < len(revision.classes)):
            return Result.MALFORMED
        given = revision.index.get(item.label)
        if given is None:
            return Result.UNKNOWN_LABEL
        if item.issued_ms > self._moment.now_ms + WINDOW_MS:
            return Result.CLOCK_SKEW
        if item.issued_ms < self._born_ms:
            return Result.HISTORY_LOST
        if item.issued_ms < self._oldest_ms:
            return Result.EXPIRED
        return self._store(item, revision, given)

    def _store(self, item: Item, revision: Revision, given: int) -> Result:
        key = (item.issued_ms, int(item.nonce, 16) - _NONCE_BIAS, item.row)
        stored = self._database.execute(
            "SELECT state, given FROM label WHERE issued_ms = ? AND nonce = ? AND row = ?", key
        ).fetchone()
        if stored is None:
            return self._store_first(key, item, revision, given)
        if stored[1] == given:
            return Result.DUPLICATE
        if stored[0] != _State.PENDING:
            # Only what is compared with from now on changes: what was counted must be found again after a restart.
            self._database.execute(
                "UPDATE label SET counted_as = coalesce(counted_as, given), given = ?"
                " WHERE issued_ms = ? AND nonce = ? AND row = ?",
                (given, *key),
            )
            return Result.CORRECTED
        found = _scores(item, revision, given)
        self._database.execute(
            "UPDATE label SET given = ?, loss = ?, brier = ?, cohort = ? WHERE issued_ms = ? AND nonce = ? AND row = ?",
            (given, found.loss if found else None, found.brier if found else None, cohort(self._age_ms(item)), *key),
        )
        return Result.ACCEPTED

    def _store_first(self, key: tuple[int, int, int], item: Item, revision: Revision, given: int) -> Result:
        moment = self._moment
        is_late = item.issued_ms <= moment.cutoff_ms
        age_ms = self._age_ms(item)
        chosen = item.row == chosen_row(bytes.fromhex(item.nonce), item.rows)
        found = _scores(item, revision, given)
        self._database.execute(
            "INSERT INTO label VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                *(*key, revision.id, item.predicted, given, int(chosen)),
                int(_State.LATE if is_late else _State.PENDING),
                *((item.audit, found.loss, found.brier) if found else (item.audit, None, None)),
                found.buckets if found and self._keeps_buckets(revision, chosen) else None,
                int(item.request, 16) - _NONCE_BIAS if item.request else None,
                item.slices if item.slices and len(item.slices) == 2 * len(revision.slices) else None,
                cohort(age_ms),
            ),
        )
        arrived = (revision.id, bisect_left(DELAY_BOUNDS_S, age_ms / 1000))
        self._arrivals[arrived] += 1
        self._ages_ms[arrived] += age_ms
        if is_late:
            if chosen:
                self._late[revision.id, moment.delay_ms, late_bucket(age_ms, moment.delay_ms)] += 1
            return Result.LATE
        self._stored[revision.id] += 1
        return Result.ACCEPTED

    def _age_ms(self, item: Item) -> int:
        return max(0, self._moment.now_ms - item.issued_ms)

    def _keeps_buckets(self, revision: Revision, is_chosen: bool) -> bool:
        """For few classes always, for the window; for many only what a gate counts."""
        return len(revision.classes) <= MAX_CURVES or (is_chosen and self._moment.keeps_scores)

    def write(self) -> None:
        """Add what was counted to the tables, once for all work."""
        run = self._database.executemany
        run(
            "INSERT INTO tally VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET items = items + excluded.items",
            [(revision, result.value, items) for (revision, result), items in self.tally.items()],
        )
        run(
            "UPDATE revision SET stored = stored + ? WHERE id = ?",
            [(labels, revision) for revision, labels in self._stored.items()],
        )
        run(
            "INSERT INTO late VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests",
            [(*key, requests) for key, requests in self._late.items()],
        )
        run(
            "INSERT INTO arrival VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET labels = labels + excluded.labels, delay_ms = delay_ms + excluded.delay_ms",
            [(*key, labels, self._ages_ms[key]) for key, labels in self._arrivals.items()],
        )

    @property
    def arrived(self) -> set[int]:
        """Ids of the revisions whose labels came."""
        return {revision for revision, _ in self._arrivals}

    def paired(self, known: Mapping[tuple[str, str, str], int]) -> set[int]:
        """Let pairs of shadows begin at zero, before their first label matures; ids of the shadows that are new."""
        found: set[int] = set()
        for sender in self._shadows:
            canary = self._revisions[sender]
            for name, stable in self._revisions.items():
                if stable is not canary and (name, sender, PAIR_OUTCOMES[0]) not in known:
                    rows = [(stable.id, canary.id, outcome) for outcome in PAIR_OUTCOMES]
                    self._database.executemany("INSERT INTO pair VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING", rows)
                    found.add(canary.id)
        return found


def _scores(item: Item, revision: Revision, given: int) -> Scores | None:
    """What the label says of the row's probabilities; only here, where the class order of every revision is known."""
    row, classes = bytes.fromhex(item.probabilities), len(revision.classes)
    return scores(row, classes, given) if row and is_readable(row, classes) else None
