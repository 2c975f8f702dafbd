"""AUC of scores under bootstrap weights: sorted once, then one pass of sums per draw.

ROC AUC is the chance that a positive row scores above a negative one, a tie counting half; PR AUC is average
precision (step sum). Undefined (NaN) without both classes. Source: Fawcett 2006; scikit-learn's definitions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pilotage_server.train.evaluate.counts import ratio

Floats = NDArray[np.float64]


def aucs(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats]:
    """ROC AUC and PR AUC [b] of scores [n] for weights [b, n]."""
    if not len(scores):
        undefined = np.full(len(weights), np.nan)
        return undefined, undefined
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    truth = positive[order]
    hits = np.cumsum(weights[:, order] * truth, axis=1)[:, ends]
    misses = np.cumsum(weights[:, order] * ~truth, axis=1)[:, ends]
    all_hits, all_misses = hits[:, -1], misses[:, -1]
    step = np.diff(misses, axis=1, prepend=0.0)
    mean_height = hits - np.diff(hits, axis=1, prepend=0.0) / 2
    roc = ratio((step * mean_height).sum(axis=1), all_hits * all_misses)
    gained = np.diff(hits, axis=1, prepend=0.0)
    precision = np.nan_to_num(ratio(hits, hits + misses))
    pr = ratio((gained * precision).sum(axis=1), all_hits)
    return roc, pr


def roc_auc(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """ROC AUC of scores [n], unweighted."""
    return float(aucs(scores, positive, np.ones((1, len(scores))))[0][0])


def one_vs_one(probabilities: Floats, labels: NDArray[np.int64], weights: Floats) -> Floats:
    """Mean over pairs of classes of the ROC AUC within the pair [b] (Hand & Till 2001)."""
    classes = probabilities.shape[1]
    found = []
    for a in range(classes):
        for b in range(a + 1, classes):
            rows = np.flatnonzero((labels == a) | (labels == b))
            inside = weights[:, rows]
            first, _ = aucs(probabilities[rows, a], labels[rows] == a, inside)
            second, _ = aucs(probabilities[rows, b], labels[rows] == b, inside)
            found.append((first + second) / 2)
    stacked = np.array(found)
    defined = ~np.isnan(stacked)
    return ratio(np.where(defined, stacked, 0.0).sum(axis=0), defined.sum(axis=0))
