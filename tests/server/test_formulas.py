"""Every formula against outside oracles on the same stream: scikit-learn, river and fairlearn, 0/0 and absent classes
included."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from river import metrics as river
from river import utils
from sklearn import metrics as sklearn

from pilotage_server.feedback.collector.ledger import Ledger
from pilotage_server.feedback.collector.measures import measures
from pilotage_server.feedback.collector.tables import slice_outcomes
from pilotage_server.feedback.collector.window import Window, packed
from pilotage_server.feedback.probabilities import LETTERS
from pilotage_server.quality.buckets import LOSS_CLIP, MICRO, SCORE_BUCKETS, loss_micro
from pilotage_server.quality.formulas import CENTRE_P, Matrix, Ranking
from pilotage_server.quality.slices import LEAST_SHOWN, Slice
from support.feedback import START_S, a_delivery, an_announcement, an_item

BORN, DELAY = int(START_S * 1000), 60_000
MOST = 6


@st.composite
def streams(draw, *, least=0):
    """A number of classes, and labels and predictions of which any class may be missing."""
    classes = draw(st.integers(2, MOST))
    seen = st.sampled_from(draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=classes)))
    pairs = draw(st.lists(st.tuples(seen, st.one_of(seen, st.integers(0, classes - 1))), min_size=least, max_size=60))
    return classes, pairs


def columns(pairs):
    truth, said = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(truth, dtype=int), np.array(said, dtype=int)


def quality(classes, pairs, buckets=()):
    """`model_quality` of a window that saw these rows: {(metric, average, class): value}."""
    letters: list[str | None] = [bytes(LETTERS[bucket] for bucket in row).decode() for row in buckets]
    letters = letters or [None] * len(pairs)
    rows = b"".join(
        packed((given, said, 500_000, 250_000, letter), classes)
        for (given, said), letter in zip(pairs, letters, strict=True)
    )
    found = measures(Window(classes).extended(rows, 5_000))
    return {(metric, average, class_): value for metric, average, class_, value in found}


def same(found, expected):
    return found == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(streams())
def test_what_a_class_has_is_what_scikit_learn_counts(stream):
    classes, pairs = stream
    truth, said = columns(pairs)
    found = quality(classes, pairs)

    if pairs:
        expected = sklearn.precision_recall_fscore_support(truth, said, labels=range(classes), zero_division=np.nan)
        per_class = {
            name: values.tolist() for name, values in zip(("precision", "recall", "f1"), expected, strict=False)
        }
        (tn, fp), _ = sklearn.multilabel_confusion_matrix(truth, said, labels=range(classes)).transpose(1, 2, 0)
        per_class["specificity"] = np.divide(tn, tn + fp, out=np.full(classes, np.nan), where=tn + fp > 0).tolist()
    else:
        per_class = {name: [math.nan] * classes for name in ("precision", "recall", "f1", "specificity")}
    for metric, values in per_class.items():
        for class_, value in enumerate(values):
            assert same(found[metric, "class", class_], value), (metric, class_)


@settings(max_examples=40, deadline=None)
@given(streams())
def test_averages_are_scikit_learns_over_the_classes_that_occurred(stream):
    classes, pairs = stream
    truth, said = columns(pairs)
    found = quality(classes, pairs)
    oracles = {"precision": sklearn.precision_score, "recall": sklearn.recall_score, "f1": sklearn.f1_score}

    for metric, score in oracles.items():
        for average in ("macro", "weighted"):
            value = found[metric, average, None]
            if not pairs:
                assert math.isnan(value)
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a mean of nothing but NaN is NaN, as it should be
                labels = sorted(set(truth.tolist()))
                expected = score(truth, said, labels=labels, average=average, zero_division=np.nan)
            assert same(value, expected), (metric, average)
        micro = score(truth, said, labels=range(classes), average="micro") if pairs else math.nan
        assert same(found[metric, "micro", None], micro)


@settings(max_examples=40, deadline=None)
@given(streams(least=1))
def test_summaries_of_the_matrix_are_scikit_learns(stream):
    classes, pairs = stream
    truth, said = columns(pairs)
    found = {metric: value for (metric, average, _), value in quality(classes, pairs).items() if not average}

    assert same(found["accuracy"], sklearn.accuracy_score(truth, said))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about labels that are all alike, where both are undefined
        assert same(
            found["balanced_accuracy"], sklearn.recall_score(truth, said, labels=sorted({*truth}), average="macro")
        )
        kappa = sklearn.cohen_kappa_score(truth, said, labels=range(classes))
        mcc = sklearn.matthews_corrcoef(truth, said)
    assert same(found["kappa"], kappa)
    # Where truth or prediction is constant scikit-learn says 0; there is nothing to correlate.
    constant = len({*truth}) == 1 or len({*said}) == 1
    assert math.isnan(found["mcc"]) if constant else same(found["mcc"], mcc)


@settings(max_examples=40, deadline=None)
@given(streams(least=1), st.integers(0, 2**32 - 1))
def test_curves_are_scikit_learns_on_the_bucketed_scores(stream, seed):
    classes, pairs = stream
    truth, _ = columns(pairs)
    buckets = np.random.default_rng(seed).integers(0, SCORE_BUCKETS, size=(len(pairs), classes))
    found = quality(classes, pairs, buckets.tolist())
    areas: dict[str, list[float]] = {"auc": [], "pr_auc": []}

    for class_ in range(classes):
        positive, scores = truth == class_, buckets[:, class_]
        both = 0 < positive.sum() < len(positive)
        areas["auc"].append(sklearn.roc_auc_score(positive, scores) if both else math.nan)
        areas["pr_auc"].append(sklearn.average_precision_score(positive, scores) if positive.any() else math.nan)
        p = np.array(CENTRE_P)[scores]
        gaps = [abs((positive[scores == b] - p[scores == b]).sum()) for b in range(SCORE_BUCKETS)]
        assert same(found["ece", "class", class_], sum(gaps) / len(pairs))
    for metric, values in areas.items():
        for class_, value in enumerate(values):
            assert same(found[metric, "class", class_], value)
        support = np.bincount(truth, minlength=classes)
        known = [(value, rows) for value, rows in zip(values, support, strict=True) if rows and not math.isnan(value)]
        macro = np.mean([value for value, _ in known]) if known else math.nan
        weighted = np.average([v for v, _ in known], weights=[w for _, w in known]) if known else math.nan
        assert same(found[metric, "macro", None], macro)
        assert same(found[metric, "weighted", None], weighted)


def test_one_against_the_rest_is_scikit_learns_when_every_class_occurs():
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.ones(4), size=500)
    truth = np.array([rng.choice(4, p=row) for row in p])
    buckets = np.searchsorted(np.linspace(0, 1, SCORE_BUCKETS)[1:], p)
    found = quality(4, list(zip(truth.tolist(), truth.tolist(), strict=True)), buckets.tolist())

    exact = sklearn.roc_auc_score(truth, p, multi_class="ovr", average="macro")
    weighted = sklearn.roc_auc_score(truth, p, multi_class="ovr", average="weighted")

    assert found["auc", "macro", None] == pytest.approx(exact, abs=0.005)
    assert found["auc", "weighted", None] == pytest.approx(weighted, abs=0.005)


def test_the_centres_of_the_buckets_are_where_their_rows_are():
    assert CENTRE_P[25] == pytest.approx(1 / (1 + math.exp(-0.15)))
    assert list(CENTRE_P) == sorted(CENTRE_P)
    assert Ranking([0] * 50, [0] * 49 + [1]).ece == pytest.approx(1 - CENTRE_P[-1])


@settings(max_examples=40, deadline=None)
@given(streams(least=1), st.integers(1, 40))
def test_the_window_is_rivers_rolling_metric(stream, most):
    classes, pairs = stream
    window = Window(classes)
    rolling: dict[str, Any] = {
        "accuracy": utils.Rolling(river.Accuracy, window_size=most),
        "kappa": utils.Rolling(river.CohenKappa, window_size=most),
        "f1": utils.Rolling(river.MicroF1, window_size=most),
    }

    for pair in pairs:
        window = window.extended(packed((*pair, None, None, None), classes), most)
        for metric in rolling.values():
            metric.update(*pair)
    matrix = Matrix(window.cells(), classes)

    assert window.labels == min(most, len(pairs))
    assert Counter(window.cells()) == Counter(pairs[-most:])
    assert same(matrix.accuracy, rolling["accuracy"].get())
    assert same(matrix.accuracy, rolling["f1"].get())
    if not math.isnan(matrix.kappa):  # river says 0 where chance alone explains everything
        assert same(matrix.kappa, rolling["kappa"].get())


@settings(max_examples=40, deadline=None)
@given(streams(least=1))
def test_a_stream_counted_by_river_has_the_same_figures(stream):
    """River says 0 where a figure is undefined and averages over every class seen: compared where both are defined."""
    classes, pairs = stream
    found = quality(classes, pairs)
    of_class: dict[tuple[str, int], Any] = {
        (name, class_): metric()
        for name, metric in (("precision", river.Precision), ("recall", river.Recall), ("f1", river.F1))
        for class_ in range(classes)
    }
    averages: dict[tuple[str, str], Any] = {
        ("precision", "macro"): river.MacroPrecision(),
        ("recall", "macro"): river.MacroRecall(),
        ("f1", "macro"): river.MacroF1(),
        ("precision", "weighted"): river.WeightedPrecision(),
        ("recall", "weighted"): river.WeightedRecall(),
        ("f1", "weighted"): river.WeightedF1(),
        ("balanced_accuracy", ""): river.BalancedAccuracy(),
    }
    for truth, said in pairs:
        for (_, class_), metric in of_class.items():
            metric.update(truth == class_, said == class_)
        for average in averages.values():
            average.update(truth, said)

    for (name, class_), metric in of_class.items():
        value = found[name, "class", class_]
        assert same(value, metric.get()) or (math.isnan(value) and metric.get() == 0)
    truths, says = {truth for truth, _ in pairs}, {said for _, said in pairs}
    if truths == says:
        for (name, kind), average in averages.items():
            assert same(found[name, kind, None], average.get()), (name, kind)


def test_means_of_losses_are_those_of_the_rows_that_have_them():
    p = np.random.default_rng(5).random(400)
    rows = [packed((0, 1, loss_micro(-math.log(one)), round(one * MICRO), None), 2) for one in p]
    bare = [packed((1, 1, None, None, None), 2)] * 50
    found = {metric: value for metric, average, _, value in measures(Window(2).extended(b"".join(rows + bare), 5_000))}

    assert found["log_loss"] == pytest.approx(-np.log(np.maximum(p, LOSS_CLIP)).mean(), abs=1e-6)
    assert found["brier"] == pytest.approx(p.mean(), abs=1e-6)


def test_nothing_is_known_of_an_empty_window():
    assert all(math.isnan(value) for value in quality(3, []).values())


def test_slices_are_fairlearns_metric_frame(tmp_path):
    """Outcomes per declared value, from labels through the ledger to rates, as fairlearn groups them."""
    values, classes, n = ("eu", "us", "asia"), ("cat", "dog", "eel"), 600
    rng = np.random.default_rng(11)
    group, truth = rng.integers(3, size=n), rng.integers(3, size=n)
    said = np.where(rng.random(n) < 0.5 + 0.2 * group, truth, rng.integers(3, size=n))
    ledger = Ledger(tmp_path / "ledger", now_ms=BORN, delay_ms=DELAY)
    announced = an_announcement(slices=(Slice(name="region", values=values),))
    items = [
        an_item(
            issued_ms=BORN, nonce=i, label=classes[truth[i]], predicted=int(said[i]), slices=bytes([int(group[i]) + 1])
        )
        for i in range(n)
    ]
    ledger.apply([announced, a_delivery(*items)], now_ms=BORN, delay_ms=DELAY)
    ledger.apply([], now_ms=BORN + DELAY, delay_ms=DELAY)
    (counts,) = ledger.snapshot.revisions
    ledger.close()
    outcomes = slice_outcomes(counts)
    assert np.bincount(group).min() >= LEAST_SHOWN

    for index, name in enumerate(classes):
        frame = MetricFrame(
            metrics={"recall": sklearn.recall_score, "precision": sklearn.precision_score},
            y_true=truth == index,
            y_pred=said == index,
            sensitive_features=np.array(values)[group],
        )
        for value in values:
            found = outcomes["region", value, name]
            assert found["tp"] / (found["tp"] + found["fn"]) == pytest.approx(frame.by_group["recall"][value])
            assert found["tp"] / (found["tp"] + found["fp"]) == pytest.approx(frame.by_group["precision"][value])
