"""Feature selection: a step of the pipeline, so that each fold selects anew, and one that a search may choose."""

from __future__ import annotations

from functools import partial
from typing import Any

from sklearn.feature_selection import (
    RFE,
    RFECV,
    SelectFromModel,
    SelectKBest,
    SelectPercentile,
    VarianceThreshold,
    f_classif,
    mutual_info_classif,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from pilotage_server.train.config import FeatureSelection

_FOLDS = 3
_STEP = 0.1
"""Recursive elimination drops a tenth of the features at a time."""


def selecting(selection: FeatureSelection, total: int, seed: int) -> list[tuple[str, Any]]:
    """Steps that select among about `total` columns; none for `none`."""
    share = selection.keep if selection.keep < 1 else min(1.0, selection.keep / total)
    count = max(1, round(share * total))
    match selection.method:
        case "variance":
            return [("select", VarianceThreshold())]
        case "k-best":
            # Mutual information adds noise to break ties: seeded, or no two runs would be equal.
            score = f_classif if selection.score == "f" else partial(mutual_info_classif, random_state=seed)
            best = SelectPercentile(score, percentile=100 * share)
            if selection.keep >= 1:
                best = SelectKBest(score, k=count)
            # First without the constant ones: their F is 0/0.
            return [("vary", VarianceThreshold()), ("select", best)]
        case "rfe":
            wanted = selection.keep if selection.keep < 1 else count
            return [("select", RFE(_judge(seed), n_features_to_select=wanted, step=_STEP))]
        case "rfe-cv":
            pairs = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
            return [("select", RFECV(_judge(seed), step=_STEP, cv=pairs, scoring="neg_log_loss"))]
        case "from-model":
            return [("select", SelectFromModel(_judge(seed), max_features=count, threshold=-float("inf")))]
        case _:
            return []


def _judge(seed: int) -> LogisticRegression:
    """Whose coefficients rank features in recursive elimination and selection from a model."""
    return LogisticRegression(C=0.1, max_iter=1_000, random_state=seed)
