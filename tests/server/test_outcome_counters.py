"""From signed probabilities to counters: the same numbers scikit-learn finds on the same stream, and their labels."""

from __future__ import annotations

import sqlite3
from collections import Counter

import numpy as np
import pytest
from river import metrics as river
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    log_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from pilotage_server.feedback import Identity, KeyRing, TokenSigner
from pilotage_server.feedback.collector import schema
from pilotage_server.feedback.collector.exposition import Exposition
from pilotage_server.feedback.collector.ledger import Ledger
from pilotage_server.feedback.collector.quality import quality
from pilotage_server.feedback.collector.settings import CollectorConfig, Export
from pilotage_server.feedback.items import Judge
from pilotage_server.feedback.messages import Announcement, Decision, Decisions, Delivery, Item
from pilotage_server.feedback.token import chosen_row
from pilotage_server.quality.buckets import COHORT_NAMES, LOSS_CLIP, MAX_CURVES, MICRO
from pilotage_server.quality.slices import Slice
from support.feedback import REVISION, START_S, a_delivery, an_announcement, an_item, key_dir, samples, total

BORN = int(START_S * 1000)
DELAY = 60_000
HOUR = 3_600_000
SURE_CAT, SURE_DOG = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


class Desk:
    """A ledger with a clock of its own, read as gates and people read it."""

    def __init__(self, path, *announced, audit_rate=0.0, export=frozenset(Export)):
        self.config = CollectorConfig(
            model="pets",
            namespace="models",
            cluster="aws",
            label_delay_s=DELAY / 1000,
            export=export,
            audit_rate=audit_rate,
        )
        self.now = BORN
        self.path = path
        self.ledger = Ledger(path, now_ms=self.now, delay_ms=DELAY)
        self.do(*(announced or (an_announcement(),)))

    def do(self, *work):
        scores = self.config.shows(Export.SCORES)
        return self.ledger.apply(work, now_ms=self.now, delay_ms=DELAY, keeps_scores=scores)

    def post(self, *items):
        return list(self.do(a_delivery(*items))[0].results)

    def wait(self, ms=DELAY):
        self.now += ms
        self.do()

    def scrape(self):
        page, _ = Exposition(lambda: self.config, lambda: self.ledger.snapshot).render()
        return samples(page)

    def quality(self, revision=REVISION):
        return quality(self.ledger.snapshot, self.config)["revisions"][revision]


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path / "ledger")
    yield desk
    desk.ledger.close()


@pytest.fixture(params=[2, 4, 40])
def stream(request, tmp_path):
    """A stream of labelled predictions through tokens, judge and ledger; what scikit-learn needs of it."""
    classes, n = request.param, 2_000
    rng = np.random.default_rng(classes)
    scores = rng.normal(size=(n, classes)) * 2
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(classes, p=row) for row in p])
    identity = Identity(
        model="pets", revision=REVISION, cluster="aws", classes=tuple(f"c{n:02}" for n in range(classes))
    )
    ring = KeyRing(key_dir(tmp_path / "keys"))
    signer, judge = TokenSigner(ring, identity), Judge(ring, identity)
    desk = Desk(tmp_path / "ledger", Announcement(model="pets", revision=REVISION, classes=identity.classes))
    posted = [
        {
            "token": signer.sign([int(p[i].argmax())], p[i : i + 1], START_S),
            "row": 0,
            "label": identity.classes[truth[i]],
        }
        for i in range(n)
    ]
    items = tuple(item for item in judge.judge(posted) if isinstance(item, Item))
    desk.do(Delivery(model="pets", sender=REVISION, items=items))
    desk.wait()
    yield desk, identity.classes, p, truth
    desk.ledger.close()


def test_counters_equal_scikit_learn_on_the_same_stream(stream):
    desk, classes, p, truth = stream
    found = desk.quality()

    matrix = [[found["confusion"][actual][predicted] for predicted in classes] for actual in classes]
    expected = confusion_matrix(truth, p.argmax(axis=1), labels=range(len(classes)))
    assert (np.array(matrix) == expected).all()
    # What travels is rounded: a sixteenth of a nat per row, beyond 32 classes the tail is shared out.
    clipped = -np.log(np.maximum(p[np.arange(len(p)), truth], LOSS_CLIP)).mean()
    loose = 0.03 if len(classes) > 32 else 3e-3
    assert found["loss"]["sum"] / MICRO / len(p) == pytest.approx(clipped, abs=loose)
    if len(classes) <= 32:
        assert clipped == pytest.approx(log_loss(truth, p), abs=5e-3)  # the clip is design's, not scikit-learn's
    brier = brier_score_loss(truth, p[:, 1]) if len(classes) == 2 else brier_score_loss(truth, p, scale_by_half=False)
    assert found["lossRows"]["brier"] / MICRO / len(p) == pytest.approx(brier, abs=2e-3)


def test_the_gauges_of_a_scrape_are_scikit_learns_and_rivers_on_the_same_stream(stream):
    desk, classes, p, truth = stream
    said = p.argmax(axis=1)
    read = {
        (dict(labels)["metric"], dict(labels)["average"]): value
        for (name, labels), value in desk.scrape().items()
        if name == "model_quality" and not dict(labels)["class"]
    }
    streamed = (river.Accuracy(), river.CohenKappa(), river.MacroF1(), river.WeightedF1(), river.BalancedAccuracy())
    for pair in zip(truth.tolist(), said.tolist(), strict=True):
        for metric in streamed:
            metric.update(*pair)

    found = [
        read[key]
        for key in (("accuracy", ""), ("kappa", ""), ("f1", "macro"), ("f1", "weighted"), ("balanced_accuracy", ""))
    ]
    assert set(truth) == set(said) == set(range(len(classes)))
    assert found == pytest.approx([metric.get() for metric in streamed])
    assert read["mcc", ""] == pytest.approx(matthews_corrcoef(truth, said))
    assert read["precision", "macro"] == pytest.approx(precision_score(truth, said, average="macro"))
    assert read["recall", "weighted"] == pytest.approx(recall_score(truth, said, average="weighted"))
    if len(classes) <= MAX_CURVES:
        area = roc_auc_score(truth, p[:, 1] if len(classes) == 2 else p, multi_class="ovr")
        precisions = [average_precision_score(truth == index, p[:, index]) for index in range(len(classes))]
        assert read["auc", "macro"] == pytest.approx(area, abs=0.01)
        assert read["pr_auc", "macro"] == pytest.approx(np.mean(precisions), abs=0.02)
        assert read["ece", "macro"] < 0.05  # probabilities that the labels were drawn from


def test_the_area_under_the_curve_from_buckets_is_within_the_binning_bound(stream):
    desk, classes, p, truth = stream

    for index, name in list(enumerate(classes))[:4]:
        buckets = {actual: np.array(desk.quality()["buckets"][name][actual]) for actual in ("0", "1")}
        positive, negative = buckets["1"].sum(), buckets["0"].sum()
        below = np.cumsum(buckets["0"]) - buckets["0"]
        area = (buckets["1"] * (below + buckets["0"] / 2)).sum() / (positive * negative)
        bound = 0.5 * (buckets["1"] / positive * buckets["0"] / negative).sum()
        # Beyond the sixteen likeliest of 40 classes a token tells only what is left.
        rounding = 0.05 if len(classes) > 32 else 0.005
        assert area == pytest.approx(roc_auc_score(truth == index, p[:, index]), abs=bound + rounding)


def test_loss_counts_sum_and_squares_are_exact_integers(desk):
    desk.post(
        an_item(issued_ms=BORN, nonce=1, label="cat", predicted=0, probabilities=SURE_CAT),
        an_item(issued_ms=BORN, nonce=2, label="dog", predicted=0, probabilities=SURE_CAT),
    )
    desk.wait()

    worst = 6_907_755  # −ln 0.001 in millionths
    assert desk.quality()["loss"] == {"count": 2, "sum": worst, "sumsq": worst**2}
    read = desk.scrape()
    for moment, value in (("count", 2), ("sum", worst), ("sumsq", worst**2)):
        assert total(read, "pilotage_matured_loss_total", revision=REVISION, moment=moment) == value
    assert total(read, "model_outcome_log_loss_sum", revision=REVISION) == pytest.approx(6.907755)
    assert total(read, "model_outcome_brier_sum", revision=REVISION) == pytest.approx(2.0, abs=1e-5)


def test_squares_beyond_what_sqlite_can_add_stay_exact(desk):
    squares = 3 * 2**63 + 1
    desk.ledger._database.execute("INSERT INTO moment VALUES (1, 5, 5, ?, 5, 5, 5)", (str(squares),))
    desk.post(an_item(issued_ms=BORN, label="dog", probabilities=SURE_CAT))
    desk.wait()

    assert desk.quality()["loss"]["sumsq"] == squares + 6_907_755**2


def test_a_label_without_probabilities_enters_the_confusion_alone(desk):
    desk.post(an_item(issued_ms=BORN, label="cat"))
    desk.wait()

    assert desk.quality()["maturedLabels"] == 1
    assert desk.quality()["loss"]["count"] == 0
    assert "buckets" not in desk.quality()


def test_a_value_corrected_in_time_brings_its_own_loss(desk):
    desk.post(an_item(issued_ms=BORN, label="cat", probabilities=SURE_CAT))
    desk.post(an_item(issued_ms=BORN, label="dog", probabilities=SURE_CAT))
    desk.wait()

    assert desk.quality()["loss"]["sum"] == 6_907_755
    assert desk.quality()["buckets"]["cat"]["0"][49] == 1


def test_rows_of_requests_picked_for_labelling_are_counted_apart_too(tmp_path):
    desk = Desk(tmp_path / "ledger", audit_rate=0.1, export=frozenset())
    rows = [(1, True, "cat"), (2, False, "cat"), (3, True, "dog")]
    desk.post(*[an_item(issued_ms=BORN, nonce=nonce, label=label, audit=audit) for nonce, audit, label in rows])
    desk.wait()

    read = desk.scrape()
    assert total(read, "pilotage_matured_audit_total", revision=REVISION) == 2
    assert total(read, "pilotage_matured_audit_total", actual="dog", predicted="cat") == 1
    assert total(read, "pilotage_matured_labels_total", revision=REVISION) == 3
    desk.ledger.close()


def test_costly_counters_are_shown_only_when_asked_for_and_then_start_at_zero(tmp_path):
    desk = Desk(tmp_path / "ledger", export=frozenset())
    costly = ("pilotage_matured_scores_total", "pilotage_matured_audit_total")

    assert not {name for name, _ in desk.scrape()} & set(costly)
    desk.config = CollectorConfig(
        model="pets", namespace="models", cluster="aws", label_delay_s=60, export=frozenset(Export)
    )
    read = desk.scrape()
    series = {name: [value for (found, _), value in read.items() if found == name] for name in costly}
    assert {name: len(values) for name, values in series.items()} == dict(zip(costly, (3 * 2 * 50, 9), strict=True))
    assert not any(any(values) for values in series.values())
    desk.ledger.close()


def test_counters_that_are_not_zero_do_not_vanish_to_come_back_later(desk):
    desk.post(an_item(issued_ms=BORN, label="cat", probabilities=SURE_CAT, audit=True))
    desk.wait()
    before = {series: value for series, value in desk.scrape().items() if "_matured_" in series[0]}

    desk.config = CollectorConfig(model="pets", namespace="models", cluster="aws", label_delay_s=60)

    after = desk.scrape()
    assert {series: after.get(series) for series in before} == before


def test_losses_are_there_before_anybody_asks(tmp_path):
    desk = Desk(tmp_path / "ledger", export=frozenset())

    moments = {dict(labels)["moment"] for name, labels in desk.scrape() if name == "pilotage_matured_loss_total"}

    assert moments == {"count", "sum", "sumsq"}
    desk.ledger.close()


def test_scores_are_kept_for_one_row_per_request(desk):
    rows = 3
    chosen = chosen_row((9).to_bytes(8, "big"), rows)
    desk.post(
        *[
            an_item(issued_ms=BORN, nonce=9, rows=rows, row=row, label="cat", probabilities=SURE_CAT)
            for row in range(rows)
        ]
    )
    desk.wait()

    assert 0 <= chosen < rows
    assert total(desk.scrape(), "pilotage_matured_scores_total", **{"class": "cat", "actual": "1", "bucket": "49"}) == 1
    assert desk.quality()["lossRows"]["count"] == rows


def test_late_labels_are_counted_by_how_late_in_multiples_of_the_delay(desk):
    for nonce, multiple in enumerate((1.2, 1.5, 1.6, 4, 9.99, 100)):
        desk.now = BORN + int(multiple * DELAY)
        desk.post(an_item(issued_ms=BORN, nonce=nonce))

    read = desk.scrape()
    bounds = {"90": 2, "120": 1, "180": 0, "300": 1, "600": 1, "+Inf": 1}
    assert {age: total(read, "pilotage_late_labels_total", revision=REVISION, age=age) for age in bounds} == bounds
    assert desk.quality()["late"] == bounds


def test_another_delay_brings_its_own_bounds_and_takes_no_count_away(desk):
    desk.now = BORN + 2 * DELAY
    desk.post(an_item(issued_ms=BORN))
    desk.ledger.apply((), now_ms=desk.now, delay_ms=80_000)  # 1.5 times it are 120 s too
    desk.ledger.apply([a_delivery(an_item(issued_ms=desk.now - 100_000, nonce=2))], now_ms=desk.now, delay_ms=80_000)

    found = {
        dict(labels)["age"]: value
        for (name, labels), value in desk.scrape().items()
        if name == "pilotage_late_labels_total"
    }

    assert found == {"120": 2, "160": 0, "240": 0, "400": 0, "800": 0, "+Inf": 0}


def test_without_a_delay_every_label_is_late_and_no_bound_can_be_named(desk):
    desk.ledger.apply([a_delivery(an_item(issued_ms=BORN))], now_ms=BORN, delay_ms=0)

    assert total(desk.scrape(), "pilotage_late_labels_total", age="+Inf") == 1


def test_the_age_of_predictions_when_labels_come_is_a_histogram(desk):
    for nonce, seconds in enumerate((30, 59, 120, 90_000)):
        desk.now = BORN + seconds * 1000
        desk.post(an_item(issued_ms=BORN, nonce=nonce))

    read = desk.scrape()
    cumulative = {"60.0": 2, "300.0": 3, "86400.0": 3, "604800.0": 4, "+Inf": 4}
    assert {le: total(read, "model_label_delay_seconds_bucket", le=le) for le in cumulative} == cumulative
    assert total(read, "model_label_delay_seconds_sum") == 90_209


def test_outcomes_by_class_and_cost_follow_from_the_confusion(tmp_path):
    costs = ((0, 1, 2.5), (3, 0, 0), (10, 0, 0))
    desk = Desk(tmp_path / "ledger", an_announcement(costs=costs))
    for nonce, (label, predicted) in enumerate((("cat", 0), ("cat", 2), ("eel", 0), ("dog", 1))):
        desk.post(an_item(issued_ms=BORN, nonce=nonce, label=label, predicted=predicted))
    desk.wait()

    read = desk.scrape()
    outcomes = {"tp": 1, "fp": 1, "fn": 1}
    assert {
        outcome: total(read, "model_class_outcomes_total", outcome=outcome, **{"class": "cat"}) for outcome in outcomes
    } == outcomes
    assert total(read, "model_outcome_cost_sum") == 12.5
    assert desk.quality()["costMicro"] == 12_500_000
    desk.ledger.close()


def test_slices_show_nothing_before_a_value_has_twenty_labels(tmp_path):
    region = Slice(name="region", values=("eu", "us"))
    desk = Desk(tmp_path / "ledger", an_announcement(slices=(region,)))

    def shown(value, outcome):
        return total(
            desk.scrape(),
            "model_slice_outcomes_total",
            slice="region",
            value=value,
            outcome=outcome,
            **{"class": "cat"},
        )

    def label(first, count, *, slices, predicted=0):
        desk.post(
            *[
                an_item(issued_ms=desk.now, nonce=first + n, slices=slices, predicted=predicted, label="cat")
                for n in range(count)
            ]
        )
        desk.wait()

    assert shown("eu", "tp") == shown("us", "fn") == 0
    label(0, 19, slices=bytes([1]))
    label(100, 30, slices=bytes([2]), predicted=1)
    label(200, 5, slices=bytes([0]))
    assert (shown("eu", "tp"), shown("us", "fn")) == (0, 30)
    label(300, 1, slices=bytes([1]))
    assert (shown("eu", "tp"), shown("eu", "fn")) == (20, 0)
    desk.ledger.close()


def test_pairs_count_when_the_label_of_a_request_both_answered_matures(tmp_path):
    canary = "pets-canary"
    desk = Desk(tmp_path / "ledger", an_announcement(), an_announcement(revision=canary, classes=("eel", "dog", "cat")))

    def decides(number, predicted):
        one = Decision(f"{number:016x}", desk.now, bytes([predicted]).hex())
        desk.do(Decisions(model="pets", sender=canary, decisions=(one,)))

    def answered(number, predicted, label):
        request = number.to_bytes(8, "big")
        desk.post(an_item(issued_ms=desk.now, nonce=number, predicted=predicted, label=label, request=request))

    decides(1, 2)  # the canary's class 2 is stable's class 0: cat
    expected = {"n11": 0, "n10": 0, "n01": 0, "n00": 0}
    read = desk.scrape()
    assert {
        outcome: total(read, "pilotage_matured_pairs_total", stable=REVISION, canary=canary, outcome=outcome)
        for outcome in expected
    } == expected
    decides(2, 2)
    decides(3, 0)
    answered(1, 0, "cat")
    answered(2, 1, "cat")
    answered(3, 0, "cat")
    answered(4, 0, "cat")  # the copy of this one never came
    desk.wait()

    read = desk.scrape()
    expected = {"n11": 1, "n10": 1, "n01": 1, "n00": 0}
    assert {
        outcome: total(read, "pilotage_matured_pairs_total", stable=REVISION, canary=canary, outcome=outcome)
        for outcome in expected
    } == expected


def test_a_ledger_of_the_first_schema_keeps_its_counts_and_goes_on(tmp_path):
    path = tmp_path / "ledger"
    _first_schema(path)

    desk = Desk(path)

    assert desk.quality()["confusion"]["cat"]["dog"] == 7
    assert desk.post(an_item(issued_ms=BORN, nonce=5, label="dog", probabilities=SURE_DOG)) == ["accepted"]
    desk.wait()
    assert desk.quality()["countedRows"] == 9
    assert desk.quality()["loss"]["count"] == 1
    desk.ledger.close()


def test_a_ledger_of_the_second_schema_keeps_its_curves_and_goes_on(tmp_path):
    path = tmp_path / "ledger"
    _first_schema(path)
    database = sqlite3.connect(path)
    database.executescript(schema._FROM_1 + schema._SINCE_2 + "PRAGMA user_version = 2;")
    database.execute("INSERT INTO score VALUES (1, 0, 1, 49, 3)")
    database.execute(
        "INSERT INTO label (issued_ms, nonce, row, revision, predicted, given, chosen, state)"
        " VALUES (?, 9, 0, 1, 0, 1, 1, 1)",
        (BORN - 2,),
    )
    database.commit()
    database.close()

    desk = Desk(path)
    assert desk.quality()["window"]["confusion"]["dog"]["cat"] == 1
    desk.post(an_item(issued_ms=BORN, nonce=5, label="cat", probabilities=SURE_CAT))
    desk.wait()

    assert desk.quality()["buckets"]["cat"]["1"][49] == 4
    assert desk.quality()["bucketsRows"]["cat"]["1"][49] == 1
    assert desk.quality()["cohorts"]["cat"]["tp"]["1h"] == 1
    assert desk.quality()["window"]["labels"] == 3
    desk.ledger.close()


def test_labels_count_by_how_long_they_took_and_a_corrected_one_by_its_last_value(tmp_path):
    desk = Desk(tmp_path / "ledger")
    desk.config = CollectorConfig(model="pets", namespace="models", cluster="aws", label_delay_s=10 * 86_400)
    delay = 10 * 86_400_000

    def post(item):
        desk.ledger.apply([a_delivery(item)], now_ms=desk.now, delay_ms=delay)

    for nonce, hours in enumerate((0.5, 1, 2, 6.5, 100, 200)):
        desk.now = BORN + int(hours * HOUR)
        post(an_item(issued_ms=BORN, nonce=nonce, label="cat", predicted=0))
    post(an_item(issued_ms=BORN, nonce=0, label="dog", predicted=0))
    desk.ledger.apply([], now_ms=BORN + delay, delay_ms=delay)

    read = desk.scrape()
    found = {
        (outcome, delay): total(read, "model_cohort_outcomes_total", outcome=outcome, delay=delay, **{"class": "cat"})
        for outcome in ("tp", "fp", "fn")
        for delay in COHORT_NAMES
    }
    assert +Counter(found) == {
        ("tp", "1h"): 1,
        ("tp", "6h"): 1,
        ("tp", "1d"): 1,
        ("tp", "7d"): 1,
        ("tp", "more"): 1,
        ("fp", "more"): 1,
    }
    assert total(read, "model_cohort_outcomes_total") == total(read, "model_class_outcomes_total")
    desk.ledger.close()


def test_curves_count_every_row_and_gates_one_per_request(desk):
    rows = 3
    desk.post(
        *[
            an_item(issued_ms=BORN, nonce=9, rows=rows, row=row, label="cat", probabilities=SURE_CAT)
            for row in range(rows)
        ]
    )
    desk.wait()

    last = {"class": "cat", "actual": "1", "bucket": "49"}
    assert total(desk.scrape(), "model_score_outcomes_total", **last) == rows
    assert total(desk.scrape(), "pilotage_matured_scores_total", **last) == 1


def test_curves_begin_with_the_labels_that_mature_after_somebody_asked(tmp_path):
    desk = Desk(tmp_path / "ledger", export=frozenset())
    desk.post(an_item(issued_ms=BORN, nonce=1, label="cat", probabilities=SURE_CAT))
    desk.wait()
    desk.post(an_item(issued_ms=desk.now, nonce=2, label="cat", probabilities=SURE_CAT))
    desk.config = CollectorConfig(
        model="pets", namespace="models", cluster="aws", label_delay_s=60, export=frozenset({Export.SCORES})
    )
    desk.wait()

    assert total(desk.scrape(), "pilotage_matured_scores_total", **{"class": "cat", "actual": "1", "bucket": "49"}) == 1
    assert desk.quality()["window"]["buckets"]["cat"]["1"][49] == 2
    desk.ledger.close()


def _first_schema(path):
    """A ledger as the first version of the collector left it: one counted cell of seven, one label pending."""
    database = sqlite3.connect(path)
    database.executescript("""
        CREATE TABLE ledger (id TEXT NOT NULL, born_ms INTEGER NOT NULL, expired_before_ms INTEGER NOT NULL) STRICT;
        CREATE TABLE revision (
            id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, classes TEXT NOT NULL,
            seen_ms INTEGER NOT NULL, stored INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE TABLE label (
            issued_ms INTEGER NOT NULL, nonce INTEGER NOT NULL, row INTEGER NOT NULL,
            revision INTEGER NOT NULL, predicted INTEGER NOT NULL, given INTEGER NOT NULL,
            chosen INTEGER NOT NULL, state INTEGER NOT NULL,
            PRIMARY KEY (issued_ms, nonce, row)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX pending ON label (issued_ms) WHERE state = 0;
        CREATE TABLE cell (
            revision INTEGER NOT NULL, actual INTEGER NOT NULL, predicted INTEGER NOT NULL,
            all_rows INTEGER NOT NULL, requests INTEGER NOT NULL, PRIMARY KEY (revision, actual, predicted)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE tally (
            revision TEXT NOT NULL, result TEXT NOT NULL, items INTEGER NOT NULL, PRIMARY KEY (revision, result)
        ) STRICT, WITHOUT ROWID;
        PRAGMA user_version = 1;
    """)
    database.execute("INSERT INTO ledger VALUES ('old', ?, ?)", (BORN - HOUR, BORN - HOUR))
    database.execute('INSERT INTO revision VALUES (1, ?, \'["cat","dog","eel"]\', ?, 8)', (REVISION, BORN))
    database.execute("INSERT INTO cell VALUES (1, 0, 1, 7, 7)")
    database.execute("INSERT INTO label VALUES (?, 1, 0, 1, 0, 0, 1, 0)", (BORN - 1,))
    database.commit()
    database.close()
