"""Which variant wins, and how sure that is.

Folds share training rows, so a plain t-test over them is far too sure; the corrected resampled t-test widens its
variance by test/train rows (Nadeau & Bengio 2003).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr

from pilotage_server.train.config import Search
from pilotage_server.train.search.compare import DUMMY, Judged
from pilotage_server.train.search.score import goodness


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The winner, and per other variant the mean advantage over it with a two-sided p value."""

    winner: Judged
    against: dict[str, dict[str, Any]]
    beats_dummy: bool


def choose(judged: Sequence[Judged], search: Search) -> Choice:
    """Choose the best mean over the outer folds, or the first listed within one standard error of it."""
    real = [one for one in judged if one.variant.name != DUMMY]
    scores = {one.variant.name: _goodness(one, search.metric) for one in judged}
    best = max(real, key=lambda one: float(scores[one.variant.name].mean()))
    winner = best
    if search.one_standard_error:
        top = scores[best.variant.name]
        least = top.mean() - top.std(ddof=1) / math.sqrt(len(top))
        winner = next(one for one in real if scores[one.variant.name].mean() >= least)
    ours = scores[winner.variant.name]
    against = {
        name: _compare(ours, theirs, search.outer) for name, theirs in scores.items() if name != winner.variant.name
    }
    return Choice(winner=winner, against=against, beats_dummy=bool(ours.mean() > scores[DUMMY].mean()))


def _goodness(judged: Judged, metric: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([goodness(metric, value) for value in judged.per_fold])


def _compare(ours: Any, theirs: Any, folds: int) -> dict[str, Any]:
    """Mean advantage and the two-sided p value of the corrected resampled t-test; p is None without spread."""
    difference = ours - theirs
    mean, variance = float(difference.mean()), float(difference.var(ddof=1))
    if not math.isfinite(mean) or variance <= 0:
        return {"advantage": mean if math.isfinite(mean) else None, "p": None}
    share = 1 / (folds - 1)  # test rows over training rows of one fold
    t = mean / math.sqrt(variance * (1 / folds + share))
    return {"advantage": mean, "p": float(2 * stdtr(folds - 1, -abs(t)))}
