"""Every metric and average against scikit-learn on the same labels, clusters weighted by the production mix."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.preprocessing import label_binarize

from pilotage.gate.blocks import BUCKETS, decode_counts
from pilotage.gate.estimates import binning, estimate
from pilotage.gate.spec_reader import decode

NAMES = "abcdef"
AVERAGES = ("macro", "weighted")
CONFUSION = [
    {"metric": "accuracy"},
    {"metric": "balancedAccuracy"},
    *(
        {"metric": metric, **about, **({"beta": 2.0} if metric == "fBeta" else {})}
        for metric in ("precision", "recall", "specificity", "f1", "fBeta")
        for about in ({"class": "a"}, {"average": "macro"}, {"average": "micro"}, {"average": "weighted"})
    ),
]
RANKED = [
    {"metric": m, **about}
    for m in ("rocAuc", "prAuc")
    for about in ({"class": "a"}, *({"average": a} for a in AVERAGES))
]


def named(gate: dict[str, Any]) -> str:
    return " ".join(str(value) for value in gate.values())


def a_gate(**fields: Any):
    fields = {"name": "g", **fields}
    bound = {"ceiling": 0.5} if fields["metric"] in ("logLoss", "expectedCost", "errorRate") else {"floor": 0.5}
    gates, _ = decode({"gates": [fields | bound]})
    return gates[0]


class Labels:
    """Labels of several clusters in one arm: truths, predictions, bucketed scores, and their weights in the mix."""

    def __init__(self, seed: int, size: int, clusters: int) -> None:
        rng = np.random.default_rng(seed)
        self.classes = list(NAMES[:size])
        self.shares = rng.dirichlet(np.ones(clusters))
        n = rng.integers(40, 90, clusters)
        self.cluster = np.repeat(np.arange(clusters), n)
        self.truth = rng.integers(0, size, n.sum())
        self.truth[: 2 * size] = np.tile(np.arange(size), 2)  # every class is labelled and predicted somewhere
        self.guess = np.where(rng.random(n.sum()) < 0.6, self.truth, rng.integers(0, size, n.sum()))
        self.guess[: 2 * size : 2] = self.truth[: 2 * size : 2]
        skill = (self.truth[:, None] == np.arange(size)) * 8
        self.bucket = np.clip(rng.normal(18 + skill, 6).round().astype(int), 0, BUCKETS - 1)
        self.loss = rng.gamma(1.0, 0.4, n.sum())
        self.weight = (self.shares / n)[self.cluster]

    def mix(self):
        return [(share, self._counts(k)) for k, share in enumerate(self.shares)]

    def _counts(self, k: int):
        here = self.cluster == k
        truth, guess, bucket, loss = self.truth[here], self.guess[here], self.bucket[here], self.loss[here]
        table = sk.confusion_matrix(truth, guess, labels=range(len(self.classes)))
        right = int((truth == guess).sum())
        raw = {
            "confusion": {
                a: dict(zip(self.classes, row.tolist(), strict=True))
                for a, row in zip(self.classes, table, strict=True)
            },
            "proportions": {"g": {"successes": right, "trials": len(truth)}},
            "means": {"g": {"count": len(loss), "sum": float(loss.sum()), "sumsq": float((loss**2).sum())}},
            "buckets": {
                name: {
                    str(one): np.bincount(bucket[(truth == c) == bool(one), c], minlength=BUCKETS).tolist()
                    for one in (0, 1)
                }
                for c, name in enumerate(self.classes)
            },
        }
        return decode_counts("counts", raw, classes=self.classes)

    def sklearn(self, gate: dict[str, Any]) -> float:
        given, weights = (self.truth, self.guess), {"sample_weight": self.weight}
        match gate["metric"]:
            case "accuracy":
                return float(sk.accuracy_score(*given, **weights))
            case "balancedAccuracy":
                return float(sk.balanced_accuracy_score(*given, **weights))
            case "specificity":
                return self._specificity(gate)
            case "rocAuc" | "prAuc":
                return self._ranked(gate)
        score = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}.get(gate["metric"])
        about = {"average": gate["average"]} if "average" in gate else {"average": "macro", "labels": [0]}
        if score is None:
            return float(sk.fbeta_score(*given, beta=gate["beta"], **about, **weights))
        return float(score(*given, **about, **weights))

    def _specificity(self, gate: dict[str, Any]) -> float:
        """One-versus-rest recall of the negatives, averaged as scikit-learn averages."""
        tables = sk.multilabel_confusion_matrix(self.truth, self.guess, sample_weight=self.weight)
        tn, fp = tables[:, 0, 0], tables[:, 0, 1]
        match gate.get("average"):
            case None:
                return float(tn[0] / (tn[0] + fp[0]))
            case "micro":
                return float(tn.sum() / (tn.sum() + fp.sum()))
            case average:
                support = tables[:, 1].sum(axis=1) if average == "weighted" else None
                return float(np.average(tn / (tn + fp), weights=support))

    def _ranked(self, gate: dict[str, Any]) -> float:
        score = sk.roc_auc_score if gate["metric"] == "rocAuc" else sk.average_precision_score
        if "class" in gate:
            return float(score(self.truth == 0, self.bucket[:, 0], sample_weight=self.weight))
        truth = label_binarize(self.truth, classes=range(len(self.classes)))
        if len(self.classes) == 2:
            truth = np.hstack([1 - truth, truth])
        return float(score(truth, self.bucket, average=gate["average"], sample_weight=self.weight))


@pytest.mark.parametrize("gate", CONFUSION + RANKED, ids=named)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(2, 6), clusters=st.integers(1, 4))
def test_an_estimate_is_what_scikit_learn_gives_on_the_same_labels(gate, seed, size, clusters):
    labels = Labels(seed, size, clusters)
    assert estimate(a_gate(**gate), labels.classes, labels.mix()) == pytest.approx(labels.sklearn(gate), abs=1e-12)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), clusters=st.integers(1, 4))
def test_means_proportions_and_costs_are_weighted_means_of_their_rows(seed, clusters):
    labels = Labels(seed, 3, clusters)

    def mean(values: np.ndarray) -> float:
        return float(np.average(values, weights=labels.weight))

    costs = np.array([[0, 1, 2], [10, 0, 0], [0, 0.5, 0]])
    named_costs = {a: {b: float(costs[i, j]) for j, b in enumerate("abc") if costs[i, j]} for i, a in enumerate("abc")}
    wrong = (labels.truth != labels.guess).astype(float)
    expected: dict[str, tuple[float, dict[str, Any]]] = {
        "logLoss": (mean(labels.loss), {}),
        "errorRate": (mean(wrong), {}),
        "latency": (1 - mean(wrong), {"bound": "250ms"}),
        "expectedCost": (mean(costs[labels.truth, labels.guess]), {"costs": named_costs}),
    }
    for metric, (value, extra) in expected.items():
        found = estimate(a_gate(metric=metric, **extra), labels.classes, labels.mix())
        assert found == pytest.approx(value, abs=1e-12)


def counted(**raw: Any):
    return [(1.0, decode_counts("counts", raw, classes=["a", "b", "c"]))]


@pytest.mark.parametrize(
    ("gate", "absent"),
    [
        ({"metric": "accuracy"}, {}),
        ({"metric": "recall", "class": "c"}, {"a": {"a": 3, "b": 1}, "b": {"c": 4}}),
        ({"metric": "precision", "class": "c"}, {"a": {"a": 3}, "c": {"a": 4}}),
        ({"metric": "recall", "average": "macro"}, {"a": {"a": 3}, "b": {"c": 4}}),
        ({"metric": "balancedAccuracy"}, {"a": {"a": 3}, "b": {"c": 4}}),
        ({"metric": "precision", "average": "macro"}, {"a": {"a": 3}, "b": {"b": 4}, "c": {"a": 1}}),
        ({"metric": "precision", "average": "weighted"}, {"a": {"a": 3}, "b": {"b": 4}, "c": {"a": 1}}),
        ({"metric": "f1", "average": "macro"}, {"a": {"a": 3}, "b": {"b": 4}}),
        ({"metric": "specificity", "class": "a"}, {"a": {"a": 3, "b": 4}}),
    ],
    ids=lambda value: named(value) if "metric" in value else "",
)
def test_a_ratio_of_nothing_is_absent(gate, absent):
    assert estimate(a_gate(**gate), ["a", "b", "c"], counted(confusion=absent)) is None


def test_a_class_that_was_never_right_counts_as_zero_and_one_without_support_weighs_nothing():
    never_right = {"a": {"a": 3}, "b": {"b": 4}, "c": {"a": 1}}
    f1 = estimate(a_gate(metric="f1", average="macro"), ["a", "b", "c"], counted(confusion=never_right))
    assert f1 == pytest.approx((6 / 7 + 1 + 0) / 3)
    unsupported = {"a": {"a": 3}, "b": {"b": 4, "c": 1}}
    weighted = estimate(a_gate(metric="recall", average="weighted"), ["a", "b", "c"], counted(confusion=unsupported))
    assert weighted == pytest.approx(7 / 8)


def test_a_ranking_without_positives_or_a_cluster_without_labels_is_absent():
    gate = a_gate(metric="rocAuc", **{"class": "a"})
    only_negatives = counted(buckets={"a": {"0": [1] * BUCKETS}})
    assert estimate(gate, ["a", "b", "c"], only_negatives) is None
    both = counted(buckets={"a": {"0": [1] * BUCKETS, "1": [1] * BUCKETS}})
    assert estimate(gate, ["a", "b", "c"], both) == pytest.approx(0.5)
    assert estimate(gate, ["a", "b", "c"], [(0.5, both[0][1]), (0.5, counted()[0][1])]) is None
    assert estimate(gate, ["a", "b", "c"], [(1.0, both[0][1]), (0.0, counted()[0][1])]) == pytest.approx(0.5)


def test_what_buckets_hide_of_an_area_is_told_and_of_nothing_else():
    counts = counted(buckets={"a": {"0": [2] + [0] * (BUCKETS - 1), "1": [1, 1] + [0] * (BUCKETS - 2)}})
    shown = estimate(a_gate(metric="rocAuc", **{"class": "a"}), ["a", "b", "c"], counts)
    hidden = binning(a_gate(metric="rocAuc", **{"class": "a"}), ["a", "b", "c"], counts)
    assert [shown, hidden] == pytest.approx([0.75, 0.25])  # the tied positive is above both negatives, or below
    assert binning(a_gate(metric="prAuc", **{"class": "a"}), ["a", "b", "c"], counts) is None
    assert binning(a_gate(metric="accuracy"), ["a", "b", "c"], counted(confusion={"a": {"a": 1}})) is None


def test_audited_labels_are_counted_alone_where_a_gate_asks_for_them():
    mix = counted(confusion={"a": {"a": 1, "b": 9}}, audit={"a": {"a": 3, "b": 1}})
    assert estimate(a_gate(metric="accuracy"), ["a", "b", "c"], mix) == pytest.approx(0.1)
    assert estimate(a_gate(metric="accuracy", labels="audit"), ["a", "b", "c"], mix) == pytest.approx(0.75)
