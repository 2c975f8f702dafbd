"""Whether probabilities mean what they say: reliability bins and the expected calibration error.

Bins hold equally many rows, so no bin speaks for three of them; a bin's interval is Wilson's.
Source: Naeini et al. 2015; Niculescu-Mizil & Caruana 2005.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage_server.train.evaluate.resample import wilson

BINS = 10


def reliability(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Per bin of equally many rows: mean score, observed share with its 95 % interval, rows."""
    order = np.argsort(scores, kind="stable")
    found = []
    for rows in np.array_split(order, min(BINS, len(order))):
        hits = int(positive[rows].sum())
        bounds = wilson(hits, len(rows))
        assert bounds is not None
        found.append(
            {
                "score": float(scores[rows].mean()),
                "share": hits / len(rows),
                "low": bounds[0],
                "high": bounds[1],
                "rows": len(rows),
            }
        )
    return found


def expected_calibration_error(actual: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Mean distance between the probability of the likeliest class and how often it was right, in [0, 1]."""
    return float(drawn_calibration_error(actual, probabilities, np.ones((1, len(actual))))[0])


def honest_calibration_error(probabilities: NDArray[np.float64], draws: int, seed: int) -> float:
    """What 97.5 % of models stay below whose every probability is exactly right: noise alone, on as many rows.

    Consistency resampling; Bröcker & Smith 2007.
    """
    rng = np.random.default_rng(seed)
    confidence = np.sort(probabilities.max(axis=1))
    found = np.zeros(draws)
    for rows in np.array_split(confidence, min(BINS, len(confidence))):
        right = (rng.random((draws, len(rows))) < rows).sum(axis=1)
        found += np.abs(rows.sum() - right)
    return float(np.quantile(found / len(confidence), 0.975))


def drawn_calibration_error(
    actual: NDArray[np.int64], probabilities: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The expected calibration error of each draw [b] of weights [b, n], in the bins of the undrawn rows."""
    confidence = probabilities.max(axis=1)
    surplus = confidence - (probabilities.argmax(axis=1) == actual)
    order = np.argsort(confidence, kind="stable")
    bins = np.array_split(order, min(BINS, len(order)))
    gaps = [np.abs(weights[:, rows] @ surplus[rows]) for rows in bins]
    found: NDArray[np.float64] = np.sum(gaps, axis=0) / weights.sum(axis=1)
    return found
