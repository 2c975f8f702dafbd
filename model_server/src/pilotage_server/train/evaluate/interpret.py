"""What a model looks at: coefficients where it has them, permutation importance, partial dependence, SHAP (extra).

Importance is how much worse log loss gets when a column is shuffled: it says what the model uses, not what causes
what, and shares credit between columns that tell the same. Source: Breiman 2001; Friedman 2001; Lundberg & Lee 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage_server.bundle.predictor import Predictor
from pilotage_server.train.config import ConfigError
from pilotage_server.train.evaluate.metrics import row_log_loss

Floats = NDArray[np.float64]
REPEATS = 5
_POINTS = 12
_MOST_ROWS = 200
_SINGLE = 24
_MOST_EXPLAINED = 60


def importance(
    predictor: Predictor, rows: Floats, labels: NDArray[np.int64], features: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """Per feature, most important first: mean rise of log loss (nats) over shuffles, and its standard deviation."""
    rng = np.random.default_rng(seed)
    base = float(row_log_loss(labels, predictor.probabilities(rows)).mean())
    found = []
    for column, name in enumerate(features):
        if (rows[:, column] == rows[0, column]).all():
            found.append({"feature": name, "mean": 0.0, "deviation": 0.0})
            continue
        stacked = np.tile(rows, (REPEATS, 1))
        stacked[:, column] = np.concatenate([rng.permutation(rows[:, column]) for _ in range(REPEATS)])
        losses = row_log_loss(np.tile(labels, REPEATS), predictor.probabilities(stacked)).reshape(REPEATS, -1)
        rises = losses.mean(axis=1) - base
        found.append({"feature": name, "mean": float(rises.mean()), "deviation": float(rises.std(ddof=1))})
    return sorted(found, key=lambda one: -one["mean"])


def coefficients(pipeline: Any, features: Sequence[str], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Odds ratios per class of one standard deviation (or unit) more, by logistic regression; else empty.

    With two classes only the second is told: the first is its reciprocal.
    """
    names, steps = np.array(features, dtype=object), dict(pipeline.steps)
    if not set(steps) <= {"scale", "vary", "select", "classify"}:
        return []  # columns were encoded: coefficients are no longer those of the features
    for step in ("vary", "select"):
        if step in steps:
            names = names[steps[step].get_support()]
    matrix = _matrix(steps["classify"])
    if matrix is None:
        return []
    labels = classes[1:] if len(matrix) == 1 else classes
    return [
        {"class": label, "feature": str(name), "coefficient": float(value), "oddsRatio": float(np.exp(value))}
        for label, row in zip(labels, matrix, strict=True)
        for name, value in sorted(zip(names, row, strict=True), key=lambda pair: -abs(pair[1]))
    ]


def _matrix(classifier: Any) -> Floats | None:
    """Coefficients [K or 1, F] of a logistic regression, softmax or one-vs-rest."""
    if type(classifier).__name__ == "OneVsRestClassifier":
        return np.vstack([one.coef_ for one in classifier.estimators_])
    if type(classifier).__name__ in ("LogisticRegression", "SGDClassifier"):
        return np.asarray(classifier.coef_)
    return None


def partial_dependence(
    predictor: Predictor,
    rows: Floats,
    features: Sequence[str],
    chosen: Sequence[str],
    categories: Sequence[Sequence[str]] = (),
) -> list[dict[str, Any]]:
    """Mean probability of each class [points][K] when a feature is set to values from its 5 % to 95 % quantile.

    A feature with `categories` is set to its most frequent ones. With two classes, single rows stand beside the mean:
    probability of the second class [rows][points]. Source: Friedman 2001; Goldstein et al. 2015 (ICE).
    """
    sample = rows[:: max(1, len(rows) // _MOST_ROWS)]
    found: list[dict[str, Any]] = []
    for name in chosen:
        column = list(features).index(name)
        known = rows[:, column][~np.isnan(rows[:, column])]
        names = categories[column] if categories else ()
        values = _commonest(known) if names else np.unique(np.quantile(known, np.linspace(0.05, 0.95, _POINTS)))
        stacked = np.tile(sample, (len(values), 1))
        stacked[:, column] = np.repeat(values, len(sample))
        answers = predictor.probabilities(stacked).reshape(len(values), len(sample), -1)
        one = {"feature": name, "values": values.tolist(), "probabilities": answers.mean(axis=1).tolist()}
        if names:
            one["categories"] = [names[int(code)] for code in values]
        elif answers.shape[2] == 2:
            one["individual"] = answers[:, :: max(1, len(sample) // _SINGLE), 1][:, :_SINGLE].T.tolist()
        found.append(one)
    return found


def _commonest(codes: Floats) -> Floats:
    values, counts = np.unique(codes, return_counts=True)
    return np.sort(values[np.argsort(-counts, kind="stable")[:_POINTS]])


def shap_importance(predictor: Predictor, rows: Floats, features: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Mean |SHAP value| per feature over classes, most important first; raises `ConfigError` without shap."""
    try:
        import shap  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise ConfigError("report.shap: needs shap; install pilotage-server[train,shap]") from error
    sample = rows[:: max(1, -(-len(rows) // _MOST_EXPLAINED))]
    explainer = shap.explainers.Permutation(predictor.probabilities, shap.maskers.Independent(sample), seed=seed)
    values = np.abs(explainer(sample, silent=True).values)
    means = values.mean(axis=tuple(axis for axis in range(values.ndim) if axis != 1))
    found = [{"feature": name, "mean": float(value)} for name, value in zip(features, means, strict=True)]
    return sorted(found, key=lambda one: -float(str(one["mean"])))
