"""Gradients against numerical derivatives, variances against simulation, guards against what they guard against."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest

from pilotage.gate.arm import ArmCounts
from pilotage.gate.by_confusion import ConfusionStatistic
from pilotage.gate.by_moments import WORST_LOG_LOSS, MeanStatistic
from pilotage.gate.by_ranking import RankingStatistic
from pilotage.gate.confusion import confusion_metric, margins_of
from pilotage.gate.ranking import average_precision, binning_bound, roc_auc
from pilotage.gate.smooth import RIPE, Statistic, against_limit, against_stable
from pilotage.gate.spec import Average, Metric

T = TypeVar("T")

FAMILIES = {
    f"{metric} {average or only}": (metric, average, only)
    for metric in (Metric.PRECISION, Metric.RECALL, Metric.SPECIFICITY, Metric.F1, Metric.F_BETA)
    for average, only in ((Average.MACRO, None), (Average.WEIGHTED, None), (None, 1))
}


def known(found: T | None) -> T:
    assert found is not None
    return found


def uncounted(_: ArmCounts) -> tuple[float, ...]:
    return ()


def by_confusion(name: str, classes: int) -> ConfusionStatistic:
    metric, average, only = FAMILIES[name]
    beta = 2.0 if metric is Metric.F_BETA else None
    return ConfusionStatistic(metric=confusion_metric(metric, average, only, beta), classes=classes, count=uncounted)


def by_ranking(ranking: Any, classes: int = 1, *, by_support: bool = False, buckets: int = 20) -> RankingStatistic:
    return RankingStatistic(ranking=ranking, classes=tuple("abcdef"[:classes]), by_support=by_support, buckets=buckets)


LOSS = MeanStatistic(worst=WORST_LOG_LOSS, groups=0, count=uncounted)


def confusion_shares(rng: np.random.Generator, classes: int) -> np.ndarray:
    cells = rng.dirichlet(np.ones(classes), classes) * 0.3 + 0.7 * np.eye(classes)
    return (cells * rng.dirichlet(np.full(classes, 4.0))[:, None]).ravel()


def bucket_shares(positives: float, skill: float, buckets: int = 20) -> np.ndarray:
    x = np.arange(buckets)
    one, zero = np.exp(-((x - 8 - skill) ** 2) / 18), np.exp(-((x - 8 + skill) ** 2) / 18)
    return np.concatenate([(1 - positives) * zero / zero.sum(), positives * one / one.sum()])


def derivatives(function: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    steps = np.eye(len(at)) * 1e-6
    return np.array([(function(at + step) - function(at - step)) / 2e-6 for step in steps])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_gradient_of_a_confusion_metric_is_its_derivative(name):
    rng = np.random.default_rng(1)
    size = 4
    metric = by_confusion(name, size).metric
    cells = confusion_shares(rng, size) + 0.01
    gradient = known(metric.gradient(margins_of(cells.tolist(), size)))
    found = np.add.outer(gradient.rows, gradient.columns) + np.diag(gradient.diagonal)
    expected = derivatives(lambda x: known(metric.value(margins_of(x.tolist(), size))), cells)
    assert found.ravel() == pytest.approx(expected, abs=1e-6)
    table, rows = cells.reshape(size, size), cells.reshape(size, size).sum(axis=1)
    assert gradient.moments(cells.tolist()) == pytest.approx([(cells * found.ravel()).sum(), (table * found**2).sum()])
    chance = np.repeat(rows / size, size).reshape(size, size)
    assert gradient.chance_moments(rows) == pytest.approx([(chance * found).sum(), (chance * found**2).sum()])


@pytest.mark.parametrize("ranking", [roc_auc, average_precision])
def test_the_influence_of_a_bucket_is_its_derivative(ranking):
    shares = bucket_shares(0.3, 2.0) + 0.001
    found = ranking(shares[20:], shares[:20])
    expected = derivatives(lambda x: ranking(x[20:], x[:20]).value, shares)
    assert [*found.by_negative, *found.by_positive] == pytest.approx(expected, abs=1e-6)


def test_the_variance_of_roc_auc_is_delongs():
    rng = np.random.default_rng(2)
    one, zero = rng.integers(6, 20, 30), rng.integers(0, 14, 50)
    wins = (one[:, None] > zero) + (one[:, None] == zero) / 2
    expected = wins.mean(axis=1).var(ddof=1) / 30 + wins.mean(axis=0).var(ddof=1) / 50
    numbers = (*np.bincount(zero, minlength=20).tolist(), *np.bincount(one, minlength=20).tolist())
    reading = known(by_ranking(roc_auc).plain([(1.0, numbers)]))
    assert reading.value == pytest.approx(wins.mean())
    assert reading.variance == pytest.approx(expected)


def test_the_binning_bound_holds_for_any_order_within_buckets():
    shares = bucket_shares(0.3, 1.0)
    positives, negatives = shares[20:].tolist(), shares[:20].tolist()
    apart = np.repeat(positives, 2) * np.tile([0, 1], 20), np.repeat(negatives, 2) * np.tile([1, 0], 20)
    best, binned = known(roc_auc(*(side.tolist() for side in apart))), known(roc_auc(positives, negatives))
    assert best.value - binned.value == pytest.approx(binning_bound(positives, negatives))


SIMULATED: dict[str, tuple[Statistic, Callable[[np.random.Generator], np.ndarray]]] = {
    **{name: (by_confusion(name, 4), lambda rng: confusion_shares(rng, 4)) for name in FAMILIES if name.endswith("ed")},
    "macro f1": (by_confusion("f1 macro", 4), lambda rng: confusion_shares(rng, 4)),
    "fBeta of a class": (by_confusion("fBeta 1", 2), lambda rng: confusion_shares(rng, 2)),
    "rocAuc": (by_ranking(roc_auc), lambda rng: bucket_shares(rng.uniform(0.2, 0.5), 2.0)),
    "prAuc": (by_ranking(average_precision), lambda rng: bucket_shares(rng.uniform(0.2, 0.5), 2.0)),
}


@pytest.mark.parametrize("name", SIMULATED)
def test_the_variance_over_two_clusters_is_that_of_repeated_samples(name):
    statistic, drawn = SIMULATED[name]
    rng = np.random.default_rng(3)
    truth = [(0.7, 900, drawn(rng)), (0.3, 300, drawn(rng))]
    readings = [
        known(statistic.plain([(weight, tuple(rng.multinomial(n, shares).tolist())) for weight, n, shares in truth]))
        for _ in range(1500)
    ]
    seen = np.var([reading.value for reading in readings])
    assert np.mean([reading.variance for reading in readings]) == pytest.approx(seen, rel=0.15)


def test_the_variance_of_a_mean_is_that_of_its_rows():
    rng = np.random.default_rng(4)
    losses = rng.gamma(0.5, 0.5, 400)
    reading = known(LOSS.plain([(1.0, (400, float(losses.sum()), float((losses**2).sum())))]))
    assert reading.value == pytest.approx(-losses.mean())
    assert reading.variance == pytest.approx(losses.var() / 400)


@pytest.mark.parametrize("by_support", [False, True], ids=["macro", "weighted"])
@pytest.mark.parametrize("ranking", [roc_auc, average_precision])
def test_the_variance_of_an_averaged_ranking_is_an_upper_bound_and_not_a_wild_one(ranking, by_support):
    rng = np.random.default_rng(5)
    statistic = by_ranking(ranking, 3, by_support=by_support)

    def sample() -> tuple[float, ...]:
        truth = rng.choice(3, 600, p=[0.5, 0.3, 0.2])
        logits = rng.normal(0, 1.5, (600, 3)) + 2.5 * np.eye(3)[truth]
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        bucket = np.minimum((chances * 20).astype(int), 19)
        return tuple(
            n
            for c in range(3)
            for one in (False, True)
            for n in np.bincount(bucket[(truth == c) == one, c], minlength=20).tolist()
        )

    readings = [known(statistic.plain([(1.0, sample())])) for _ in range(300)]
    seen = np.var([reading.value for reading in readings])
    assert 0.95 * seen <= np.mean([reading.variance for reading in readings]) <= 4 * seen


SPOTLESS: dict[str, tuple[Statistic, tuple[float, ...], float]] = {
    "macro f1": (by_confusion("f1 macro", 3), (40, 0, 0, 0, 40, 0, 0, 0, 40), 0.9),
    "rocAuc": (by_ranking(roc_auc), (40, *[0] * 38, 40), 0.95),
    "prAuc": (by_ranking(average_precision), (40, *[0] * 38, 40), 0.95),
    "logLoss": (LOSS, (120, 0.0, 0.0), -0.05),
}


@pytest.mark.parametrize("name", SPOTLESS)
def test_a_spotless_record_is_not_infinitely_sure(name):
    statistic, numbers, limit = SPOTLESS[name]
    strata = [(1.0, numbers)]
    look, spread = known(against_limit(statistic, strata, limit)), known(statistic.plain(strata)).variance
    assert spread == pytest.approx(0)
    assert look.cautious.variance > 1e-4
    assert look.forgiving.variance == look.cautious.variance  # nor infinitely good for the fail side
    difference = known(against_stable(statistic, strata, strata, -0.02))
    assert difference.cautious.variance > 1e-4


def test_a_tilted_matrix_has_the_variance_of_a_canary_on_the_boundary():
    statistic = by_confusion("f1 macro", 3)
    on_boundary = np.full((3, 3), 5.0) + np.eye(3) * 85
    boundary = [(1.0, tuple(on_boundary.ravel().tolist()))]
    target = known(statistic.metric.value(margins_of(on_boundary.ravel().tolist(), 3)))
    better = np.full((3, 3), 1.0) + np.eye(3) * 97
    reading, there = known(statistic.as_if_at([(1.0, tuple(better.ravel()))], target)), known(statistic.plain(boundary))
    assert reading.value > target
    assert reading.variance == pytest.approx(there.variance, rel=1e-3)
    assert known(statistic.as_if_at(boundary, 0.99)).variance == there.variance


@pytest.mark.parametrize("name", SPOTLESS)
def test_nothing_is_said_before_ten_labels_of_every_class_arm_and_stratum(name):
    statistic, numbers, limit = SPOTLESS[name]
    few = tuple(n * (RIPE - 1) / 40 for n in numbers) if name != "logLoss" else (RIPE - 1, 0.0, 0.0)
    assert against_limit(statistic, [(1.0, few)], limit) is None
    assert against_limit(statistic, [(0.9, numbers), (0.1, (0.0,) * len(numbers))], limit) is None
    assert against_stable(statistic, [(1.0, numbers)], [(1.0, few)], 0.0) is None
    assert against_stable(statistic, [(1.0, few)], [(1.0, numbers)], 0.0) is None


def test_one_worst_row_more_is_spread_over_the_clusters_by_their_shares():
    strata = [(0.75, (100, 10.0, 2.0)), (0.25, (50, 5.0, 1.0))]
    mean = 0.75 * (10 + 0.75 * WORST_LOG_LOSS) / 100.75 + 0.25 * (5 + 0.25 * WORST_LOG_LOSS) / 50.25
    assert known(LOSS.as_if_at(strata, None)).value == pytest.approx(-mean)
