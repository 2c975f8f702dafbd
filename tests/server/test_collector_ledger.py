"""When a label counts, which value counts, and what every later one is told: the ledger under a clock of our own."""

import sqlite3

import pytest

from pilotage_server.feedback import Result
from pilotage_server.feedback.collector import ledger
from pilotage_server.feedback.collector.ledger import MAX_AGE_MS, Ledger, LedgerFailed
from pilotage_server.feedback.collector.schema import DatabaseRefused
from pilotage_server.feedback.collector.snapshot import Cell
from pilotage_server.feedback.collector.work import Announced, Conflict, Delivered, UnknownSender
from pilotage_server.feedback.token import chosen_row
from support.feedback import CLASSES, REVISION, START_S, a_delivery, an_announcement, an_item

BORN = int(START_S * 1000)
DELAY = 60_000
HOUR = 3_600_000


class Desk:
    """A ledger with a clock: posts labels, lets time pass, reads counts."""

    def __init__(self, path):
        self.path = path
        self.now = BORN
        self.delay = DELAY
        self.ledger = Ledger(path, now_ms=self.now, delay_ms=self.delay)
        self.do(an_announcement())

    def do(self, *work):
        return self.ledger.apply(work, now_ms=self.now, delay_ms=self.delay)

    def post(self, *items):
        (outcome,) = self.do(a_delivery(*items))
        return list(outcome.results)

    def wait(self, ms):
        self.now += ms
        self.do()

    def restart(self):
        self.ledger.close()
        self.ledger = Ledger(self.path, now_ms=self.now, delay_ms=self.delay)

    def counts(self, revision=REVISION):
        return next(one for one in self.ledger.snapshot.revisions if one.revision == revision)

    def cells(self):
        return dict(self.counts().cells)


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "ledger.sqlite3")
    yield desk
    desk.ledger.close()


def test_a_label_counts_when_its_prediction_is_exactly_the_delay_old(desk):
    assert desk.post(an_item(issued_ms=BORN, label="dog", predicted=0)) == [Result.ACCEPTED]

    desk.wait(DELAY - 1)
    assert desk.cells() == {}
    desk.wait(1)
    assert desk.cells() == {(1, 0): Cell(1, 1)}


def test_maturity_counts_from_the_prediction_not_from_the_label(desk):
    desk.wait(DELAY - 1)
    assert desk.post(an_item(issued_ms=BORN)) == [Result.ACCEPTED]

    desk.wait(1)
    assert desk.counts().counted_rows == 1


def test_the_last_value_given_before_maturity_is_the_one_that_counts(desk):
    posted = [desk.post(an_item(issued_ms=BORN, label=label)) for label in ("cat", "dog", "eel", "dog", "dog")]

    desk.wait(DELAY)
    assert posted == [[Result.ACCEPTED]] * 4 + [[Result.DUPLICATE]]
    assert desk.cells() == {(1, 0): Cell(1, 1)}


def test_a_first_label_after_maturity_is_late_and_never_counts(desk):
    desk.wait(DELAY)
    assert desk.post(an_item(issued_ms=BORN)) == [Result.LATE]
    assert desk.post(an_item(issued_ms=BORN)) == [Result.DUPLICATE]
    assert desk.post(an_item(issued_ms=BORN, label="dog")) == [Result.CORRECTED]

    desk.wait(HOUR)
    assert desk.cells() == {}


def test_another_value_after_counting_is_reported_as_a_correction_and_not_recounted(desk):
    desk.post(an_item(issued_ms=BORN))
    desk.wait(DELAY)

    results = [desk.post(an_item(issued_ms=BORN, label=label)) for label in ("cat", "dog", "dog", "cat")]

    assert results == [[Result.DUPLICATE], [Result.CORRECTED], [Result.DUPLICATE], [Result.CORRECTED]]
    desk.wait(HOUR)
    assert desk.cells() == {(0, 0): Cell(1, 1)}


def test_late_corrected_and_duplicate_are_tallied_apart_per_revision(desk):
    desk.post(an_item(issued_ms=BORN))
    desk.wait(DELAY)
    desk.post(an_item(issued_ms=BORN), an_item(issued_ms=BORN, label="dog"), an_item(issued_ms=BORN, nonce=2))
    desk.post(an_item(issued_ms=BORN, revision="pets-unheard"))

    results = desk.counts().results
    assert {result: results[result] for result in results if results[result]} == {
        Result.ACCEPTED: 1,
        Result.DUPLICATE: 1,
        Result.CORRECTED: 1,
        Result.LATE: 1,
    }
    assert desk.ledger.snapshot.others[Result.UNKNOWN_REVISION] == 1


def test_labels_that_were_due_during_an_outage_count_before_new_ones_are_judged(desk):
    desk.post(an_item(issued_ms=BORN))
    desk.now += HOUR
    desk.restart()

    assert desk.post(an_item(issued_ms=BORN, label="dog")) == [Result.CORRECTED]
    assert desk.cells() == {(0, 0): Cell(1, 1)}


def test_the_snapshot_says_until_when_it_is_complete(desk):
    desk.post(an_item(issued_ms=BORN))
    desk.wait(DELAY)

    snapshot = desk.ledger.snapshot
    assert (snapshot.counted_until_ms, snapshot.label_delay_ms) == (BORN + DELAY, DELAY)


def test_one_row_per_request_enters_the_gates_counters_and_every_row_the_confusion(desk):
    rows, nonces = 5, range(1, 41)
    items = [
        an_item(issued_ms=BORN, nonce=nonce, rows=rows, row=row, label="cat" if row else "dog")
        for nonce in nonces
        for row in range(rows)
    ]
    desk.post(*items)
    desk.wait(DELAY)

    first = sum(chosen_row(nonce.to_bytes(8, "big"), rows) == 0 for nonce in nonces)
    assert desk.cells() == {(0, 0): Cell(160, 40 - first), (1, 0): Cell(40, first)}
    assert desk.counts().counted_requests == len(nonces)


def test_a_request_whose_chosen_row_is_never_labelled_does_not_enter_the_gates_counters(desk):
    chosen = chosen_row((7).to_bytes(8, "big"), 4)
    desk.post(*[an_item(issued_ms=BORN, nonce=7, rows=4, row=row) for row in range(4) if row != chosen])
    desk.wait(DELAY)

    assert desk.cells() == {(0, 0): Cell(3, 0)}


def test_credit_goes_to_the_revision_that_predicted(desk):
    desk.do(an_announcement(revision="pets-canary"))
    desk.post(an_item(issued_ms=BORN, revision="pets-canary"))
    desk.wait(DELAY)

    assert desk.counts("pets-canary").counted_rows == 1
    assert desk.counts(REVISION).counted_rows == 0


@pytest.mark.parametrize(
    ("item", "result"),
    [
        ({"revision": "pets-unheard"}, Result.UNKNOWN_REVISION),
        ({"label": "cow"}, Result.UNKNOWN_LABEL),
        ({"predicted": 3}, Result.MALFORMED),
        ({"row": 1}, Result.MALFORMED),
        ({"issued_ms": BORN + 60_001}, Result.CLOCK_SKEW),
        ({"issued_ms": BORN + 60_000}, Result.ACCEPTED),
        ({"issued_ms": 2**64 - 1}, Result.CLOCK_SKEW),
        ({"issued_ms": BORN - 1}, Result.HISTORY_LOST),
        ({"nonce": 2**64 - 1}, Result.ACCEPTED),
    ],
    ids=lambda value: str(value),
)
def test_each_item_gets_its_own_answer(desk, item, result):
    good = an_item(issued_ms=BORN, nonce=99)

    assert desk.post(an_item(**({"issued_ms": BORN} | item)), good) == [result, Result.ACCEPTED]


def test_the_same_nonce_in_another_millisecond_is_another_request(desk):
    desk.post(an_item(issued_ms=BORN), an_item(issued_ms=BORN + 1))
    desk.wait(DELAY + 1)

    assert desk.counts().counted_rows == 2


def test_a_shorter_delay_matures_what_is_old_enough_at_once_and_a_longer_one_recounts_nothing(desk):
    desk.post(an_item(issued_ms=BORN), an_item(issued_ms=BORN + 20_000, nonce=2))
    desk.delay = 10_000
    desk.wait(10_000)
    assert desk.counts().counted_rows == 1

    desk.delay = HOUR
    desk.wait(1_000)
    assert desk.post(an_item(issued_ms=BORN, label="dog")) == [Result.CORRECTED]
    assert desk.post(an_item(issued_ms=BORN + 20_000, nonce=2, label="eel")) == [Result.ACCEPTED]
    desk.wait(HOUR + 20_000)
    assert desk.cells() == {(0, 0): Cell(1, 1), (2, 0): Cell(1, 1)}


def test_tokens_expire_before_their_rows_go_so_that_pruning_cannot_recount(desk):
    desk.post(an_item(issued_ms=BORN))
    desk.wait(DELAY)
    desk.wait(MAX_AGE_MS - DELAY)
    assert desk.post(an_item(issued_ms=BORN)) == [Result.DUPLICATE]

    desk.wait(1)
    assert desk.post(an_item(issued_ms=BORN)) == [Result.EXPIRED]
    assert desk.ledger.prune(now_ms=desk.now) == 0
    desk.wait(HOUR)
    assert desk.ledger.prune(now_ms=desk.now) == 1
    assert desk.cells() == {(0, 0): Cell(1, 1)}


def test_a_clock_that_goes_back_after_pruning_does_not_bring_a_pruned_row_to_life(desk):
    desk.post(an_item(issued_ms=BORN))
    desk.wait(MAX_AGE_MS + HOUR + 1)
    assert desk.ledger.prune(now_ms=desk.now) == 1

    desk.now = BORN + 1
    desk.restart()
    assert desk.post(an_item(issued_ms=BORN)) == [Result.EXPIRED]


def test_pruning_takes_many_rows_in_several_bites(desk, monkeypatch):
    monkeypatch.setattr("pilotage_server.feedback.collector.ledger._PRUNED_AT_ONCE", 10)
    desk.post(*[an_item(issued_ms=BORN + n, nonce=n) for n in range(25)])
    desk.wait(MAX_AGE_MS + 2 * HOUR)

    assert [desk.ledger.prune(now_ms=desk.now) for _ in range(4)] == [11, 11, 3, 0]


def test_a_revision_nobody_announces_any_more_goes_with_its_last_row(desk):
    desk.do(an_announcement(revision="pets-other"))
    desk.post(an_item(issued_ms=BORN))
    desk.wait(MAX_AGE_MS + 2 * HOUR)
    desk.do(an_announcement(revision="pets-other"))

    while desk.ledger.prune(now_ms=desk.now):
        pass
    desk.ledger.prune(now_ms=desk.now)
    desk.do()
    assert [one.revision for one in desk.ledger.snapshot.revisions] == ["pets-other"]
    desk.restart()
    assert [one.revision for one in desk.ledger.snapshot.revisions] == ["pets-other"]


def test_everything_survives_a_restart(desk):
    desk.post(an_item(issued_ms=BORN), an_item(issued_ms=BORN, nonce=2, label="dog"))
    desk.wait(DELAY)
    desk.post(an_item(issued_ms=BORN + DELAY, nonce=3), an_item(issued_ms=BORN, nonce=4))
    before = desk.ledger.snapshot

    desk.restart()
    desk.do()

    assert desk.ledger.snapshot == before
    desk.wait(DELAY)
    assert desk.counts().counted_rows == 3


def test_a_new_ledger_refuses_what_was_predicted_before_its_birth(desk, tmp_path):
    desk.now += 5_000
    again = Desk.__new__(Desk)
    again.now, again.delay = desk.now, DELAY
    again.ledger = Ledger(tmp_path / "new.sqlite3", now_ms=desk.now, delay_ms=DELAY)
    again.do(an_announcement())

    assert again.ledger.snapshot.ledger != desk.ledger.snapshot.ledger
    assert again.post(an_item(issued_ms=BORN), an_item(issued_ms=desk.now)) == [Result.HISTORY_LOST, Result.ACCEPTED]
    again.ledger.close()


def test_a_delivery_from_an_unannounced_revision_is_sent_back_whole(desk):
    unknown = a_delivery(an_item(issued_ms=BORN), sender="pets-unheard")

    assert desk.do(unknown, an_announcement(revision="pets-unheard"), unknown) == [
        UnknownSender(),
        Announced(),
        Delivered((Result.ACCEPTED,)),
    ]


def test_one_revision_cannot_be_announced_with_two_class_tables(desk):
    (outcome,) = desk.do(an_announcement(classes=("cat", "dog")))

    assert isinstance(outcome, Conflict)
    assert "registered with other classes" in outcome.reason


def test_a_second_collector_on_the_same_volume_is_refused(desk):
    with pytest.raises(DatabaseRefused, match=r"is another collector using this volume"):
        Ledger(desk.path, now_ms=BORN, delay_ms=DELAY)


def test_a_damaged_file_is_set_aside_and_a_new_ledger_born(desk):
    desk.post(an_item(issued_ms=BORN))
    desk.ledger.close()
    desk.path.write_bytes(b"not a database at all" * 1_000)
    desk.now += 1_000
    old = desk.ledger.snapshot.ledger

    desk.ledger = Ledger(desk.path, now_ms=desk.now, delay_ms=DELAY)
    desk.do(an_announcement())

    assert desk.ledger.snapshot.ledger != old
    assert desk.post(an_item(issued_ms=BORN)) == [Result.HISTORY_LOST]
    assert list(desk.path.parent.glob("ledger.sqlite3.damaged-*"))


def test_a_ledger_of_another_schema_is_left_alone(desk):
    desk.ledger.close()
    other = sqlite3.connect(desk.path)
    other.execute("PRAGMA user_version = 7")
    other.close()

    with pytest.raises(DatabaseRefused, match=r"schema 7, known here: 3"):
        Ledger(desk.path, now_ms=BORN, delay_ms=DELAY)
    restored = sqlite3.connect(desk.path)
    restored.execute("PRAGMA user_version = 3")
    restored.close()
    desk.restart()


def test_a_volume_does_not_grow_with_the_labels_it_has_seen_and_shrinks_after_a_burst(desk, monkeypatch):
    monkeypatch.setattr(ledger, "MAX_AGE_MS", 3 * HOUR)
    sizes = []

    def hour(number, labels):
        desk.post(*[an_item(issued_ms=desk.now, nonce=number * 10_000 + n) for n in range(labels)])
        desk.wait(HOUR)
        while desk.ledger.prune(now_ms=desk.now):
            pass
        desk.ledger._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sizes.append(desk.path.stat().st_size)

    for number in range(15):
        hour(number, 600)
    steady = max(sizes[5:10])
    assert max(sizes[10:]) <= steady * 1.05
    hour(15, 6_000)
    assert sizes[-1] > 2 * steady
    for number in range(16, 24):
        hour(number, 600)
    assert sizes[-1] <= steady * 1.25
    assert desk.counts().counted_rows == 23 * 600 + 6_000


def test_a_full_volume_takes_nothing_and_loses_nothing_and_goes_on_when_there_is_room(desk):
    database = desk.ledger._database
    assert desk.post(an_item(issued_ms=BORN, nonce=1)) == [Result.ACCEPTED]
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    (room,) = database.execute("PRAGMA max_page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    many = [an_item(issued_ms=BORN, nonce=n) for n in range(2, 500)]

    with pytest.raises(LedgerFailed, match="full"):
        desk.post(*many)
    with pytest.raises(LedgerFailed, match="full"):
        desk.post(*many)
    assert desk.counts().stored == 1

    database.execute(f"PRAGMA max_page_count = {room}").fetchone()
    assert set(desk.post(*many)) == {Result.ACCEPTED}
    desk.wait(DELAY)
    assert desk.cells() == {(0, 0): Cell(499, 499)}


def test_the_windows_of_a_restarted_ledger_are_those_it_had(desk):
    """Also what was corrected after it counted: the window keeps what was counted."""
    for n in range(30):
        desk.post(an_item(issued_ms=desk.now, nonce=n, label=CLASSES[n % 3], predicted=n % 2))
        desk.wait(DELAY)
    desk.post(an_item(issued_ms=desk.now - DELAY, nonce=29, label="cat", predicted=1))
    before = desk.counts().window

    desk.restart()

    assert desk.counts().window == before
    assert before.labels == 30


@pytest.mark.parametrize("apart_ms", [1, 10_000], ids=["all due at once", "due one by one"])
def test_a_window_is_the_last_labels_by_the_time_of_their_predictions(desk, apart_ms):
    desk.ledger.close()
    desk.ledger = Ledger(desk.path, now_ms=desk.now, delay_ms=DELAY, window=10)
    for n in range(25):
        desk.post(an_item(issued_ms=desk.now, nonce=n, label="dog" if n < 20 else "cat"))
        desk.wait(apart_ms)
    desk.wait(DELAY)
    shown = desk.counts().window.cells()
    desk.ledger.close()
    desk.ledger = Ledger(desk.path, now_ms=desk.now, delay_ms=DELAY, window=10)

    assert shown == desk.counts().window.cells() == {(0, 0): 5, (1, 0): 5}


def test_without_a_window_nothing_is_remembered(desk):
    desk.ledger.close()
    desk.ledger = Ledger(desk.path, now_ms=desk.now, delay_ms=DELAY, window=0)
    desk.post(an_item(issued_ms=desk.now))
    desk.wait(DELAY)

    assert desk.counts().window.labels == 0
    assert desk.counts().counted_rows == 1
