"""Any history of labels, corrections, clocks, delays, crashes and disk errors counts as a plain dictionary would.

The machine breaks the real ledger before any single SQL statement, or right after any: either the process "dies" (the
file is opened anew) or the disk fails (the same ledger goes on). A transaction then happened entirely or not at all,
and the reference says which: it happened if and only if its COMMIT ran.
"""

import bisect
import functools
import sqlite3
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pilotage_server.feedback import Result
from pilotage_server.feedback.collector.ledger import MAX_AGE_MS, Ledger, LedgerFailed
from pilotage_server.feedback.messages import Decision, Decisions
from pilotage_server.feedback.probabilities import LETTERS, scores
from pilotage_server.feedback.seal import WINDOW_MS
from pilotage_server.feedback.token import chosen_row
from pilotage_server.quality.buckets import DELAY_BOUNDS_S, late_bucket
from pilotage_server.quality.slices import Slice
from support.feedback import START_S, a_delivery, an_announcement, an_item

BORN = int(START_S * 1000)
HOUR = 3_600_000
LABELS = ("cat", "dog", "eel")
REVISIONS = ("pets-stable", "pets-canary")
# Exact in sixteenths of a nat or the complement, so that one token always says the same.
PROBABILITIES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class Killed(BaseException):
    """The process is gone."""


class Sabotage:
    """Breaks the statement it is armed for, before or after it runs, by death or by a disk error."""

    def __init__(self):
        self.at = None
        self.after = self.is_death = False
        self.committed = False
        self.statements = 0

    def arm(self, at, after, is_death):
        self.at, self.after, self.is_death = at, after, is_death
        self.statements, self.committed = 0, False

    def around(self, sql, run):
        self.statements += 1
        is_hit = self.at in (self.statements, sql)
        if is_hit and not self.after:
            self.fire()
        result = run()
        self.committed |= sql == "COMMIT"
        if is_hit and self.after:
            result.close()  # a traceback that keeps it would keep the file locked
            self.fire()
        return result

    def fire(self):
        self.at = None
        raise Killed if self.is_death else sqlite3.OperationalError("disk I/O error")


class FragileConnection(sqlite3.Connection):
    sabotage: Sabotage

    def execute(self, sql, parameters=(), /):
        # The process dies here, not the machine: waiting for the disk would prove nothing.
        sql = sql.replace("synchronous = FULL", "synchronous = OFF")
        return self.sabotage.around(sql, functools.partial(super().execute, sql, parameters))

    def executemany(self, sql, parameters, /):
        return self.sabotage.around(sql, functools.partial(super().executemany, sql, parameters))


class Reference:
    """The specification as a dictionary: (issued, nonce, row) → what is known of that label."""

    def __init__(self):
        self.rows = {}
        self.expired_before = BORN
        self.confusion: Counter[Any] = Counter()
        self.matured: Counter[Any] = Counter()
        self.audited: Counter[Any] = Counter()
        self.moments: Counter[Any] = Counter()
        self.scores: Counter[Any] = Counter()
        self.score_rows: Counter[Any] = Counter()
        self.cohorts: Counter[Any] = Counter()
        self.slices: Counter[Any] = Counter()
        self.pairs: Counter[Any] = Counter()
        self.late: Counter[Any] = Counter()
        self.delays: Counter[Any] = Counter()
        self.results: Counter[Any] = Counter()
        self.decisions = {}

    def mature(self, now, delay):
        for (issued, _, _), row in self.rows.items():
            if row["state"] == "pending" and issued + delay <= now:
                row |= {"state": "counted", "counted": row["label"]}
                cell = (row["revision"], row["label"], row["predicted"])
                self.confusion[cell] += 1
                self.matured[cell] += row["chosen"]
                self.audited[cell] += row["chosen"] and row["item"].audit
                self.add_scores(row)
                self.add_cohort(row)
                code = bytes.fromhex(row["item"].slices)[0]
                if code:
                    self.slices[(row["revision"], code - 1, *cell[1:])] += 1
                decided = self.decisions.get(row["item"].request)
                if row["chosen"] and row["revision"] == REVISIONS[0] and decided is not None:
                    is_right = LABELS[decided[1][row["item"].row]] == row["label"]
                    self.pairs[f"n{int(is_right)}{int(row['predicted'] == row['label'])}"] += 1

    def add_cohort(self, row):
        delay = bisect.bisect_left((3_600, 21_600, 86_400, 604_800), row["age"] / 1000)
        is_right = row["label"] == row["predicted"]
        self.cohorts[row["revision"], LABELS.index(row["label"]), "tp" if is_right else "fn", delay] += 1
        self.cohorts[row["revision"], LABELS.index(row["predicted"]), "fp", delay] += not is_right

    def add_scores(self, row):
        found = row["scores"] = scores(bytes.fromhex(row["item"].probabilities), 3, LABELS.index(row["label"]))
        revision = row["revision"]
        self.moments[revision, "rows"] += 1
        self.moments[revision, "rows_loss"] += found.loss
        self.moments[revision, "rows_brier"] += found.brier
        if row["chosen"]:
            self.moments[revision, "requests"] += 1
            self.moments[revision, "loss"] += found.loss
            self.moments[revision, "squares"] += found.loss**2
        for class_, letter in enumerate(found.buckets):
            actual = int(LABELS[class_] == row["label"])
            key = (revision, class_, actual, LETTERS.decode().index(letter))
            self.score_rows[key] += 1
            self.scores[key] += row["chosen"]

    def post(self, item, now, delay):
        result = self.judge(item, now, delay)
        self.results[item.revision, result] += 1
        return result

    def judge(self, item, now, delay):
        if item.issued_ms > now + WINDOW_MS:
            return Result.CLOCK_SKEW
        if item.issued_ms < BORN:
            return Result.HISTORY_LOST
        if item.issued_ms < now - MAX_AGE_MS or item.issued_ms < self.expired_before:
            return Result.EXPIRED
        key = (item.issued_ms, item.nonce, item.row)
        if key not in self.rows:
            is_late = item.issued_ms + delay <= now
            self.rows[key] = {
                "state": "late" if is_late else "pending",
                "label": item.label,
                "predicted": LABELS[item.predicted],
                "chosen": item.row == chosen_row(bytes.fromhex(item.nonce), item.rows),
                "revision": item.revision,
                "item": item,
            }
            age = self.rows[key]["age"] = max(0, now - item.issued_ms)
            self.delays[item.revision, bisect.bisect_left(DELAY_BOUNDS_S, age / 1000)] += 1
            if is_late and self.rows[key]["chosen"]:
                self.late[item.revision, delay, late_bucket(age, delay)] += 1
            return Result.LATE if is_late else Result.ACCEPTED
        row = self.rows[key]
        if row["label"] == item.label:
            return Result.DUPLICATE
        row["label"] = item.label
        if row["state"] == "pending":
            row["age"] = max(0, now - item.issued_ms)
        return Result.ACCEPTED if row["state"] == "pending" else Result.CORRECTED

    def prune(self, now, delay):
        self.decisions = {
            request: decision for request, decision in self.decisions.items() if decision[0] >= now - delay - HOUR
        }
        horizon = now - MAX_AGE_MS - HOUR
        gone = [key for key, row in self.rows.items() if key[0] < horizon and row["state"] != "pending"]
        for key in gone:
            del self.rows[key]
        if gone:
            self.expired_before = max(self.expired_before, horizon)


breakage = st.none() | st.tuples(st.integers(1, 50) | st.just("COMMIT"), st.booleans(), st.booleans())
# Few distinct requests: the interesting things happen when labels meet.
requests = st.tuples(
    st.sampled_from((0, 0, 1, 1, 2, 3)), st.sampled_from((1, 3)), st.sampled_from(REVISIONS), st.integers(0, 2)
)


class LedgerHistory(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.sabotage = Sabotage()
        self.patch = pytest.MonkeyPatch()
        fragile = type("Fragile", (FragileConnection,), {"sabotage": self.sabotage})
        self.patch.setattr(
            "pilotage_server.feedback.collector.schema.sqlite3.connect",
            functools.partial(sqlite3.connect, factory=fragile),
        )
        self.now, self.delay = BORN, 60_000
        self.issued_at = [BORN]
        self.reference = Reference()
        self.ledger = self.opened()

    def opened(self):
        return Ledger(Path(self.folder.name) / "ledger", now_ms=self.now, delay_ms=self.delay)

    def teardown(self):
        self.ledger.close()
        self.patch.undo()
        self.folder.cleanup()

    @initialize()
    def announce(self):
        slices = (Slice(name="region", values=("eu", "us")),)
        announced = [an_announcement(revision=name, slices=slices) for name in REVISIONS]
        self.apply(announced)

    @rule(posted=st.lists(st.tuples(requests, st.integers(0, 2), st.sampled_from(LABELS)), max_size=6), broken=breakage)
    def post(self, posted, broken):
        if self.now not in self.issued_at:
            self.issued_at = [self.now, *self.issued_at[:3]]
        items = [self.item(request, row, label) for request, row, label in posted]
        self.do(items, broken)

    @rule(number=st.integers(0, 5), predicted=st.lists(st.integers(0, 2), min_size=3, max_size=3), broken=breakage)
    def the_canary_answers_a_copy(self, number, predicted, broken):
        request = f"{number:016x}"
        decision = Decision(request, self.now, bytes(predicted).hex())
        work = Decisions(model="pets", sender=REVISIONS[1], decisions=(decision,))

        def specified():
            self.reference.mature(self.now, self.delay)
            self.reference.decisions.setdefault(request, (self.now, predicted))

        self.attempt(lambda: self.apply([work]), broken, specified)

    @rule(ms=st.sampled_from((1, 15_000, 60_000, 61_000, HOUR)), broken=breakage)
    def wait(self, ms, broken):
        self.now += ms
        self.do([], broken)

    @rule(ms=st.sampled_from((1, 1, 20_000, 20_000, 2 * HOUR)))
    def clock_goes_back(self, ms):
        self.now = max(BORN, self.now - ms)

    @rule(delay=st.sampled_from((0, 10_000, 60_000, HOUR)))
    def edit_the_delay(self, delay):
        self.delay = delay

    @rule()
    def restart(self):
        self.ledger.close()
        self.ledger = self.opened()

    @rule(broken=breakage, seldom=st.integers(0, 5))
    def a_month_passes(self, broken, seldom):
        if seldom:
            return
        self.now += MAX_AGE_MS + 2 * HOUR
        self.announce()
        self.reference.mature(self.now, self.delay)
        delay = self.ledger._delay_ms  # of the last transaction, or the start
        self.attempt(lambda: self.ledger.prune(now_ms=self.now), broken, lambda: self.reference.prune(self.now, delay))

    @invariant()
    def what_is_shown_is_what_the_reference_counted(self):
        shown = self.ledger.snapshot
        cells = {
            (one.revision, one.classes[actual], one.classes[predicted]): cell
            for one in shown.revisions
            for (actual, predicted), cell in one.cells.items()
        }
        assert {key: cell.rows for key, cell in cells.items()} == dict(self.reference.confusion)
        assert {key: cell.requests for key, cell in cells.items() if cell.requests} == dict(+self.reference.matured)
        results = {
            (one.revision, result): items for one in shown.revisions for result, items in one.results.items() if items
        }
        assert results == dict(self.reference.results)
        for one in shown.revisions:
            pending = [row for row in self.reference.rows.values() if row["revision"] == one.revision]
            assert one.stored - one.counted_rows == sum(row["state"] == "pending" for row in pending)

    @invariant()
    def every_other_counter_is_the_references_too(self):
        reference, shown = self.reference, self.ledger.snapshot
        counters: list[dict[Any, int]] = [{} for _ in range(8)]
        audited, moments, scored, score_rows, cohorts, sliced, late, delays = counters
        for one in shown.revisions:
            for (actual, predicted), cell in one.cells.items():
                audited[one.revision, one.classes[actual], one.classes[predicted]] = cell.audited
            for name in ("rows", "rows_loss", "rows_brier", "requests", "loss", "squares"):
                moments[one.revision, name] = getattr(one.counts.moments, name)
            scored.update({(one.revision, *key): requests for key, requests in one.counts.scores.items()})
            score_rows.update({(one.revision, *key): rows for key, rows in one.counts.score_rows.items()})
            cohorts.update({(one.revision, *key): rows for key, rows in one.counts.cohorts.items()})
            for (_, value, actual, predicted), rows in one.counts.slices.items():
                sliced[one.revision, value, one.classes[actual], one.classes[predicted]] = rows
            late.update({(one.revision, *key): requests for key, requests in one.arrivals.late.items()})
            delays.update({(one.revision, bound): labels for bound, (labels, _) in one.arrivals.delays.items()})
        assert +Counter(audited) == +reference.audited
        assert +Counter(moments) == +reference.moments
        assert +Counter(scored) == +reference.scores
        assert +Counter(score_rows) == +reference.score_rows
        assert +Counter(cohorts) == +reference.cohorts
        assert +Counter(sliced) == +reference.slices
        assert +Counter(late) == +reference.late
        assert +Counter(delays) == +reference.delays
        pairs = {outcome: count for (stable, _, outcome), count in shown.pairs.items() if stable == REVISIONS[0]}
        assert +Counter(pairs) == +reference.pairs

    @invariant()
    def windows_hold_what_was_counted_as_it_was_counted(self):
        """Every counted row that is still stored, and of pruned ones only what no restart has forgotten."""
        for one in self.ledger.snapshot.revisions:
            counted = [
                row
                for row in self.reference.rows.values()
                if row["revision"] == one.revision and row["state"] == "counted"
            ]
            stored = Counter((LABELS.index(row["counted"]), LABELS.index(row["predicted"])) for row in counted)
            ever = Counter({key: cell.rows for key, cell in one.cells.items()})
            found = Counter(one.window.cells())
            assert stored <= found <= ever
            if stored == found:
                losses = [row["scores"] for row in counted]
                expected = (len(losses), sum(each.loss for each in losses), sum(each.brier for each in losses))
                assert one.window.losses() == expected
                assert [sum(each.positive) for each in one.window.rankings()] == [
                    sum(row["counted"] == name for row in counted) for name in LABELS
                ]

    def item(self, request, row, label):
        number, rows, revision, predicted = request
        return an_item(
            issued_ms=self.issued_at[number % len(self.issued_at)],
            nonce=hash((request, 1)) % 2**64,
            rows=rows,
            row=row % rows,
            predicted=predicted,
            revision=revision,
            label=label,
            audit=number % 2 == 0,
            probabilities=PROBABILITIES[hash((request, row % rows)) % len(PROBABILITIES)],
            request=number.to_bytes(8, "big"),
            slices=bytes([hash((request, 3)) % 3]),
        )

    def apply(self, work):
        return self.ledger.apply(work, now_ms=self.now, delay_ms=self.delay, keeps_scores=True)

    def do(self, items, broken):
        work = [a_delivery(*items, sender=REVISIONS[0])] if items else []
        answers: list[Any] = []

        def specified():
            self.reference.mature(self.now, self.delay)
            answers.extend(self.reference.post(item, self.now, self.delay) for item in items)

        outcomes = self.attempt(lambda: self.apply(work), broken, specified)
        if outcomes:
            assert list(outcomes[0].results) == answers

    def attempt(self, act, broken, specified):
        self.sabotage.arm(*(broken or (None, False, False)))
        try:
            outcome = act()
        except Killed:
            self.ledger.close()
            outcome = None
        except LedgerFailed:
            outcome = None
        happened, self.sabotage.at = self.sabotage.committed, None
        if happened:
            specified()
        if outcome is None:
            if broken[2]:
                self.ledger = self.opened()
            # Tell what is on disk now, as the next tick would.
            self.apply([])
            self.reference.mature(self.now, self.delay)
        return outcome


TestLedgerHistory = LedgerHistory.TestCase
TestLedgerHistory.settings = settings(
    max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
