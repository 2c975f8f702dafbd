"""How good a model is on rows it never saw: counts, the metrics they give, and 95 % intervals.

Proportions (accuracy, precision, recall) get Wilson intervals; macro averages and F1 a percentile bootstrap
of the confusion matrix (2,000 multinomial draws, seeded); log loss a percentile bootstrap over rows. 0/0 is
None, never 0. Source: Wilson 1927; Efron & Tibshirani, An Introduction to the Bootstrap, 1993.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DRAWS = 2_000
_Z = 1.959963984540054
_CLIP = 1e-3
"""Probabilities below this count as this much in log loss: one wild answer must not decide (design §11)."""


def confusion(actual: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts [K, K]: rows are actual classes, columns predicted ones."""
    cells = np.bincount(actual * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes)


def wilson(hits: int, trials: int) -> tuple[float, float] | None:
    """95 % interval of a proportion in [0, 1]; None without trials."""
    if trials == 0:
        return None
    share = hits / trials
    centre = share + _Z * _Z / (2 * trials)
    half = _Z * math.sqrt(share * (1 - share) / trials + _Z * _Z / (4 * trials * trials))
    scale = 1 + _Z * _Z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def evaluate(
    actual: NDArray[np.int64],
    predicted: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    classes: tuple[str, ...],
    seed: int,
) -> dict[str, Any]:
    """Everything the card, the manifest's baseline and result.json say about the test rows, as plain JSON
    values.
    """
    counts = confusion(actual, predicted, len(classes))
    total, right = int(counts.sum()), int(np.trace(counts))
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(total, counts.ravel() / total, size=_DRAWS).reshape(-1, *counts.shape)
    return {
        "rows": total,
        "confusion": counts.tolist(),
        "accuracy": _proportion(right, total),
        "perClass": {label: _of_class(counts, draws, i) for i, label in enumerate(classes)},
        "macro": {
            name: _statistic(np.nanmean(metric(counts[None]), axis=1), np.nanmean(metric(draws), axis=1))
            for name, metric in (("precision", _precision), ("recall", _recall), ("f1", _f1))
        },
        "logLoss": _log_loss(actual, probabilities, rng),
    }


def _of_class(counts: NDArray[np.int64], draws: NDArray[np.int64], i: int) -> dict[str, Any]:
    return {
        "precision": _proportion(int(counts[i, i]), int(counts[:, i].sum())),
        "recall": _proportion(int(counts[i, i]), int(counts[i].sum())),
        "f1": _statistic(_f1(counts[None])[:, i], _f1(draws)[:, i]),
        "support": int(counts[i].sum()),
    }


def _proportion(hits: int, trials: int) -> dict[str, Any]:
    interval = wilson(hits, trials)
    if interval is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {"value": hits / trials, "low": interval[0], "high": interval[1], "n": trials}


def _statistic(value: NDArray[np.float64], draws: NDArray[np.float64]) -> dict[str, Any]:
    if math.isnan(float(value[0])):
        return {"value": None, "low": None, "high": None}
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return {"value": float(value[0]), "low": float(low), "high": float(high)}


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio


def _hits(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.diagonal(counts, axis1=1, axis2=2)


def _precision(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return _ratio(_hits(counts), counts.sum(axis=1))


def _recall(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return _ratio(_hits(counts), counts.sum(axis=2))


def _f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return _ratio(2 * _hits(counts), counts.sum(axis=1) + counts.sum(axis=2))


def _log_loss(
    actual: NDArray[np.int64], probabilities: NDArray[np.float64], rng: np.random.Generator
) -> dict[str, Any]:
    losses = -np.log(np.clip(probabilities[np.arange(len(actual)), actual], _CLIP, 1.0))
    draws = losses[rng.integers(0, len(losses), size=(_DRAWS, len(losses)))].mean(axis=1)
    return _statistic(np.array([losses.mean()]), draws)
