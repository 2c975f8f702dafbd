"""The parity gate's measure: rows that tell, and how far another backend is from scikit-learn on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from pilotage_server.bundle.decision import Argmax, Decision
from pilotage_server.bundle.predictor import Predictor

Rows = NDArray[np.float64]

TOLERANCE = 1e-9
"""Largest difference of probabilities that passes. Measured: none for trees and forests, below 2e-11 elsewhere."""

RANDOM_ROWS = 2_000
_GAPS = 0.1


def parity_rows(train: Rows, held_out: Rows, seed: int, categorical: Sequence[int] = ()) -> Rows:
    """Rows to judge parity on: held-out ones, and random ones from the range of training, [n, F].

    Random categories are codes that training had; a column with gaps there has some here.
    """
    rng = np.random.default_rng(seed)
    gaps = np.isnan(train)
    low = np.where(gaps, np.inf, train).min(axis=0, initial=np.inf)
    high = np.where(gaps, -np.inf, train).max(axis=0, initial=-np.inf)
    empty = low > high
    low[empty], high[empty] = 0.0, 0.0
    drawn = rng.uniform(low, high, size=(RANDOM_ROWS, train.shape[1]))
    for column in categorical:
        known = np.unique(train[~gaps[:, column], column])
        drawn[:, column] = rng.choice(known, size=RANDOM_ROWS) if len(known) else np.nan
    drawn[(rng.random(drawn.shape) < _GAPS) & gaps.any(axis=0)] = np.nan
    return np.vstack([held_out, drawn])


def compare(pipeline: Pipeline, predictor: Predictor, rows: Rows, decision: Decision) -> tuple[float, int]:
    """Largest difference of probabilities, and number of rows that get another class than from scikit-learn.

    Where probabilities tell the classes apart, scikit-learn's `predict` must agree too: an estimator with a threshold
    of its own would not.
    """
    expected = pipeline.predict_proba(rows)
    found = predictor.probabilities(rows)
    if found.shape != expected.shape:
        raise ValueError(f"answers have shape {found.shape}, not {expected.shape}")
    difference = float(np.max(np.abs(found - expected)))
    wrong = decision.decide(found) != decision.decide(expected)
    if isinstance(decision, Argmax):
        ordered = np.sort(expected, axis=1)
        is_clear = ordered[:, -1] - ordered[:, -2] > TOLERANCE
        wrong |= is_clear & (decision.decide(found) != pipeline.predict(rows))
    return difference if np.isfinite(difference) else np.inf, int(np.sum(wrong))
