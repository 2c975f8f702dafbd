"""What a test counts, against counting row by row; whose labels are whose."""

from typing import Any

import numpy as np
import pytest

from pilotage.gate import Analysis
from pilotage.gate.arm import ArmCounts, Pairs, Proportion
from pilotage.gate.counts import Counts
from pilotage.gate.denominators import labels_of
from pilotage.gate.metrics import limit_family, margin_family, pairs_family, proportions_of
from pilotage.gate.spec import GateSpec
from pilotage.gate.tallies import Both, Groups, Row, Rows, tally

LABELS = 300

HITS = {
    Row.ALL: lambda actual, guess, _: (True, actual == guess),
    Row.ACTUAL: lambda actual, guess, k: (actual == k, guess == k),
    Row.PREDICTED: lambda actual, guess, k: (guess == k, actual == k),
    Row.OTHERS: lambda actual, guess, k: (actual != k, guess != k),
    Row.EITHER: lambda actual, guess, k: (k in (actual, guess), actual == guess),
}


def draw(size: int) -> tuple[list[str], list[tuple[str, str]]]:
    rng = np.random.default_rng(size)
    classes = list("abcdef"[:size])
    truth = rng.choice(classes, LABELS)
    guesses = np.where(rng.random(LABELS) < 0.7, truth, rng.choice(classes, LABELS))
    return classes, [(str(a), str(p)) for a, p in zip(truth, guesses, strict=True)]


def confusion_of(pairs: list[tuple[str, str]]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for actual, guess in pairs:
        row = table.setdefault(actual, {})
        row[guess] = row.get(guess, 0) + 1
    return table


def a_gate(**fields: Any) -> GateSpec:
    return Analysis.from_spec({"gates": [{"name": "g", **fields}]}).gates[0]


@pytest.mark.parametrize("size", [2, 3, 6])
@pytest.mark.parametrize("row", HITS)
def test_hits_and_misses_are_those_of_counting_row_by_row(row, size):
    classes, pairs = draw(size)
    about = ("",) if row is Row.ALL else tuple(classes)
    counted = Rows(row=row, about=about, gate="g").arm(ArmCounts(confusion=confusion_of(pairs)))
    for index, name in enumerate(about):
        verdicts = [HITS[row](actual, guess, name) for actual, guess in pairs]
        asked = [hit for is_trial, hit in verdicts if is_trial]
        assert counted[2 * index : 2 * index + 2] == [sum(asked), len(asked) - sum(asked)]


def test_a_cluster_is_laid_out_canary_first_and_a_missing_one_is_empty():
    rows = Rows(row=Row.ALL, about=("",), gate="g")
    arms = {
        "gcp": {"stable": ArmCounts(confusion={"a": {"a": 3, "b": 1}}), "canary": ArmCounts(confusion={"a": {"b": 2}})}
    }
    assert tally(rows, ["aws", "gcp"], arms) == Counts(width=2, cells=(0, 0, 0, 0, 0, 2, 3, 1))


def test_audited_labels_are_counted_alone():
    gate = a_gate(metric="accuracy", floor=0.5, labels="audit")
    counts = ArmCounts(confusion={"a": {"a": 90}}, audit={"a": {"a": 7, "b": 3}})
    family = limit_family(gate, ["a", "b"], mixes=False)
    assert family is not None
    assert family.tally.cells({"canary": counts})[:2] == [7, 3]
    assert labels_of(gate, {"canary": counts}, "canary") == 10


@pytest.mark.parametrize(
    ("fields", "row", "about"),
    [
        ({"metric": "accuracy"}, Row.ALL, ("",)),
        ({"metric": "precision", "average": "micro"}, Row.ALL, ("",)),
        ({"metric": "f1", "average": "micro"}, Row.ALL, ("",)),
        ({"metric": "fBeta", "beta": 2, "average": "micro"}, Row.ALL, ("",)),
        ({"metric": "recall", "average": "weighted"}, Row.ALL, ("",)),
        ({"metric": "balancedAccuracy"}, Row.ACTUAL, ("a", "b", "c")),
        ({"metric": "recall", "average": "macro"}, Row.ACTUAL, ("a", "b", "c")),
        ({"metric": "precision", "average": "macro"}, Row.PREDICTED, ("a", "b", "c")),
        ({"metric": "specificity", "class": "b"}, Row.OTHERS, ("b",)),
        ({"metric": "latency"}, Row.REQUESTS, ("",)),
    ],
)
def test_a_proportion_is_behind_the_metric(fields, row, about):
    found = proportions_of(a_gate(**fields, margin=0.02), ["a", "b", "c"])
    assert found is not None
    assert (found.rows.row, found.rows.about) == (row, about)


@pytest.mark.parametrize(
    "fields",
    [
        {"metric": "f1", "average": "macro"},
        {"metric": "precision", "average": "weighted"},
        {"metric": "specificity", "average": "macro"},
        {"metric": "expectedCost", "costs": {"a": {"b": 1}}},
        {"metric": "rocAuc", "class": "a"},
    ],
)
def test_smooth_metrics_have_no_exact_family_against_stable(fields):
    assert margin_family(a_gate(**fields, margin=0.02), ["a", "b", "c"], mixes=False) is None


def test_of_two_classes_one_specificity_is_the_other_ones_recall():
    found = proportions_of(a_gate(metric="specificity", average="macro", floor=0.5), ["a", "b"])
    assert found is not None
    assert found.rows.row is Row.ACTUAL


def test_an_error_rate_is_one_minus_the_share_of_good_requests():
    found = proportions_of(a_gate(metric="errorRate", ceiling=0.02, margin=0.01), ["a", "b"])
    assert found is not None
    assert (found.bound_of(0.02), found.margin_of(0.01)) == (0.98, 0.01)


def test_micro_specificity_is_accuracy_in_other_units():
    found = proportions_of(a_gate(metric="specificity", average="micro", floor=0.95, margin=0.01), list("abcde"))
    assert found is not None
    assert found.bound_of(0.95) == pytest.approx(0.8)  # accuracy .8: every wrong label is one of four false positives
    assert found.margin_of(0.01) == pytest.approx(0.04)


def test_cost_groups_are_the_levels_of_the_matrix():
    gate = a_gate(metric="expectedCost", ceiling=0.5, costs={"a": {"b": 10}, "b": {"a": 1}})
    family = limit_family(gate, ["a", "b"], mixes=False)
    assert family is not None
    assert isinstance(family.tally, Groups)
    counts = ArmCounts(confusion={"a": {"a": 5, "b": 2}, "b": {"a": 3, "b": 7}})
    assert family.tally.cells({"canary": counts}) == [12, 3, 2]  # cost 0, 1, 10
    assert family.values == (0.5, -0.5, -9.5)  # type: ignore[attr-defined]


def test_pairs_count_who_was_right_alone_whichever_arm_hands_them_in():
    family = pairs_family(a_gate(metric="accuracy", margin=0.02))
    assert family is not None
    assert isinstance(family.tally, Both)
    pairs = {"": Pairs(n11=80, n10=5, n01=3, n00=12)}
    for arm in ("canary", "stable"):
        assert family.tally.cells({arm: ArmCounts(pairs=pairs)}) == [5, 3, 92]
    assert pairs_family(a_gate(metric="precision", **{"class": "a"}, margin=0.02)) is None


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        ({"metric": "accuracy"}, 17),
        ({"metric": "recall", "class": "a"}, 7),
        ({"metric": "precision", "class": "a"}, 8),
        ({"metric": "specificity", "class": "a"}, 10),
        ({"metric": "f1", "class": "a"}, 10),
        ({"metric": "f1", "average": "macro"}, 17),
        ({"metric": "errorRate"}, 40),
    ],
)
def test_labels_are_counted_in_the_gates_own_denominator(fields, labels):
    counts = ArmCounts(
        confusion={"a": {"a": 5, "b": 2}, "b": {"a": 3, "b": 7}}, proportions={"g": Proportion(successes=39, trials=40)}
    )
    assert labels_of(a_gate(**fields, margin=0.02), {"canary": counts}, "canary") == labels


@pytest.mark.parametrize("cells", [(), (0, 0, 0, 0), (3, 1, 0, 0), tuple(range(60)), (0,) * 60])
def test_counts_are_read_back_as_written(cells):
    counts = Counts(width=2, cells=cells)
    assert Counts.from_json(counts.to_json()) == counts
