"""Everything the card, the manifest's baseline and result.json say about test rows, as plain JSON values.

Proportions of independent rows (accuracy, precision, recall) get Wilson intervals, which hold near 0 and 1 where
the bootstrap does not; everything else the percentile bootstrap, seeded (PR AUC: on the log-odds scale). With groups
everything is bootstrapped by group. Log loss clips at 1e-3 (design §11): one wild answer must not decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage_server.train.evaluate import counts as of
from pilotage_server.train.evaluate.calibration import (
    drawn_calibration_error,
    expected_calibration_error,
    honest_calibration_error,
)
from pilotage_server.train.evaluate.ranking import aucs, one_vs_one
from pilotage_server.train.evaluate.resample import area_interval, draw_weights, interval, mirrored_interval, proportion

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

CLIP = 1e-3
MOST_PAIRWISE = 12
"""One-vs-one AUC is told for at most so many classes: pairs grow with the square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a model said about labelled rows: truth [n], decisions [n], probabilities [n, K]."""

    actual: Indices
    predicted: Indices
    probabilities: Floats
    classes: tuple[str, ...]
    groups: Indices | None = None
    costs: Floats | None = None


def row_log_loss(actual: Indices, probabilities: Floats) -> Floats:
    """−ln of the probability of the truth per row, nats, clipped at 1e-3."""
    loss: Floats = -np.log(np.clip(probabilities[np.arange(len(actual)), actual], CLIP, 1.0))
    return loss


def row_brier(actual: Indices, probabilities: Floats) -> Floats:
    """Squared distance to the truth per row, halved for two classes, as `brier_score_loss` does."""
    truth = np.eye(probabilities.shape[1])[actual]
    squared: Floats = ((probabilities - truth) ** 2).sum(axis=1)
    return squared / 2 if probabilities.shape[1] == 2 else squared


def evaluate(answers: Answers, *, seed: int, draws: int = 1_000) -> dict[str, Any]:
    """Every metric with its 95 % interval."""
    bag = _Bag(answers, seed, draws)
    counts, drawn = bag.counts, bag.drawn
    per_class = {"precision": of.precision, "recall": of.recall, "f1": of.f1}
    right = proportion(int(np.trace(counts)), int(counts.sum()), of.accuracy(drawn) if bag.is_grouped else None)
    found: dict[str, Any] = {
        "rows": int(counts.sum()),
        "confusion": counts.tolist(),
        "accuracy": right,
        "balancedAccuracy": interval(float(of.balanced_accuracy(counts)), of.balanced_accuracy(drawn)),
        "matthews": interval(float(of.matthews(counts)), of.matthews(drawn)),
        "kappa": interval(float(of.kappa(counts)), of.kappa(drawn)),
        "perClass": {label: _of_class(bag, i) for i, label in enumerate(answers.classes)},
        "micro": dict.fromkeys(per_class, right),  # every wrong row is one miss and one false alarm
        "macro": {n: interval(float(of.macro(f(counts))), of.macro(f(drawn))) for n, f in per_class.items()},
        "weighted": {
            n: interval(float(of.weighted(f(counts), counts)), of.weighted(f(drawn), drawn))
            for n, f in per_class.items()
        },
        "logLoss": bag.mean(row_log_loss(answers.actual, answers.probabilities)),
        "d2": bag.explained(row_log_loss(answers.actual, answers.probabilities)),
        "brier": bag.mean(row_brier(answers.actual, answers.probabilities)),
        "rocAuc": bag.roc_averages(),
        "prAuc": bag.pr_averages(),
        "calibrationError": bag.calibration_error(),
    }
    if answers.costs is not None:
        found["expectedCost"] = interval(
            float(of.expected_cost(counts, answers.costs)), of.expected_cost(drawn, answers.costs)
        )
    return found


def _of_class(bag: _Bag, i: int) -> dict[str, Any]:
    counts, drawn = bag.counts, bag.drawn
    hits = int(counts[i, i])
    grouped = bag.is_grouped
    return {
        "precision": proportion(hits, int(counts[:, i].sum()), of.precision(drawn)[:, i] if grouped else None),
        "recall": proportion(hits, int(counts[i].sum()), of.recall(drawn)[:, i] if grouped else None),
        "f1": interval(float(of.f1(counts)[i]), of.f1(drawn)[:, i]),
        "rocAuc": interval(float(bag.roc[0][i]), bag.roc[1][:, i]),
        "prAuc": area_interval(float(bag.pr[0][i]), bag.pr[1][:, i]),
        "support": int(counts[i].sum()),
    }


class _Bag:
    """The point value and the draws of everything that intervals are made of, in one pass over the weights."""

    def __init__(self, answers: Answers, seed: int, draws: int) -> None:
        self.is_grouped = answers.groups is not None
        self._answers = answers
        self._seed = seed
        k = len(answers.classes)
        self.counts = of.confusion(answers.actual, answers.predicted, k)
        self._weights = list(draw_weights(len(answers.actual), draws, seed, answers.groups))
        cells = answers.actual * k + answers.predicted
        self.drawn = np.concatenate(
            [[np.bincount(cells, weights=row, minlength=k * k) for row in chunk] for chunk in self._weights]
        ).reshape(-1, k, k)
        self.roc, self.pr = self._rank()

    def _rank(self) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        """Per class (values [K], draws [B, K]) of ROC AUC and PR AUC, one class against the rest."""
        answers, once = self._answers, np.ones((1, len(self._answers.actual)))

        def both(weights: Floats) -> Floats:
            pairs = [
                aucs(answers.probabilities[:, c], answers.actual == c, weights) for c in range(len(answers.classes))
            ]
            return np.array(pairs).transpose(1, 2, 0)  # [2, b, K]

        values, draws = both(once), np.concatenate([both(chunk) for chunk in self._weights], axis=1)
        return (values[0, 0], draws[0]), (values[1, 0], draws[1])

    def mean(self, per_row: Floats) -> dict[str, Any]:
        """Mean over rows with its interval."""
        draws = np.concatenate([of.ratio(chunk @ per_row, chunk.sum(axis=1)) for chunk in self._weights])
        return interval(float(per_row.mean()), draws)

    def explained(self, losses: Floats) -> dict[str, Any]:
        """D²: the share of the class shares' own log loss that the model takes away; 0 is knowing no more than them."""
        draws = np.concatenate([of.ratio(chunk @ losses, chunk.sum(axis=1)) for chunk in self._weights])
        value = of.ratio(losses.mean(), of.entropy(self.counts))
        return interval(1 - float(value), 1 - of.ratio(draws, of.entropy(self.drawn)))

    def calibration_error(self) -> dict[str, Any]:
        """How far the likeliest class's probability is from how often it is right."""
        answers = self._answers
        draws = [drawn_calibration_error(answers.actual, answers.probabilities, chunk) for chunk in self._weights]
        value = expected_calibration_error(answers.actual, answers.probabilities)
        found = mirrored_interval(value, np.concatenate(draws))
        if value <= honest_calibration_error(answers.probabilities, len(self.drawn), self._seed):
            found["low"] = 0.0  # no more than noise would show: it may be none at all
        return found

    def roc_averages(self) -> dict[str, Any]:
        """One-vs-rest macro and weighted; one-vs-one macro."""
        found = self._averages(self.roc, interval)
        answers = self._answers
        if 2 < len(answers.classes) <= MOST_PAIRWISE:
            value = one_vs_one(answers.probabilities, answers.actual, np.ones((1, len(answers.actual))))
            draws = [one_vs_one(answers.probabilities, answers.actual, chunk) for chunk in self._weights]
            found["oneVsOne"] = interval(float(value[0]), np.concatenate(draws))
        return found

    def pr_averages(self) -> dict[str, Any]:
        """One-vs-rest macro and weighted."""
        return self._averages(self.pr, area_interval)

    def _averages(
        self, ranks: tuple[Floats, Floats], interval_of: Callable[[float, Floats], dict[str, Any]]
    ) -> dict[str, Any]:
        averages: dict[str, Callable[[Floats, Any], Floats]] = {
            "macro": lambda values, _: of.macro(values),
            "weighted": of.weighted,
        }
        return {
            name: interval_of(float(average(ranks[0], self.counts)), average(ranks[1], self.drawn))
            for name, average in averages.items()
        }
