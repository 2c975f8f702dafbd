"""Bootstrap draws as weights of rows, and the intervals they give.

A draw of n rows with replacement is a weight per row (how often it was drawn). With groups, whole groups are
drawn: rows of one customer are no independent evidence. Percentile intervals; Efron & Tibshirani 1993, ch. 13.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_CELLS = 4_000_000
_Z = 1.959963984540054
_FAR = 10.0


def draw_weights(rows: int, draws: int, seed: int, groups: NDArray[np.int64] | None = None) -> Iterator[Floats]:
    """Weights [b, rows] in chunks that add up to `draws`; bounded memory."""
    rng = np.random.default_rng(seed)
    members = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(members.max()) + 1 if rows else 0
    left = draws
    while left:
        count = min(left, max(1, _CELLS // max(1, rows)))
        chosen = rng.integers(0, units, size=(count, units))
        taken = np.stack([np.bincount(row, minlength=units) for row in chosen])
        yield taken[:, members].astype(np.float64)
        left -= count


def interval(value: float, draws: Floats) -> dict[str, Any]:
    """A value with its 95 % percentile interval; all None when undefined."""
    if math.isnan(value) or np.isnan(draws).all():
        return {"value": None, "low": None, "high": None}
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return {"value": float(value), "low": float(low), "high": float(high)}


def mirrored_interval(value: float, draws: Floats) -> dict[str, Any]:
    """A distance ≥ 0 that draws overstate, with its 95 % basic bootstrap interval: what draws add to it is taken off.

    For calibration error, to which noise only ever adds. Source: Davison & Hinkley 1997, §5.2.1.
    """
    found = interval(value, draws)
    if found["value"] is None:
        return found
    return {"value": value, "low": min(max(0.0, 2 * value - found["high"]), value),
            "high": max(2 * value - found["low"], value)}  # fmt: skip


def area_interval(value: float, draws: Floats) -> dict[str, Any]:
    """An area in (0, 1) with the 95 % interval of its log-odds: value ± 1.96 bootstrap standard errors.

    For PR AUC, whose draws are biased upwards (a row drawn twice counts as two neighbours that agree): percentiles
    held the truth in 91 % of 500 sets, these in 93 %. Source: Boyd, Eng & Page 2013. At 0 or 1: percentiles.
    """
    known = draws[~np.isnan(draws)]
    if math.isnan(value) or not 0.0 < value < 1.0 or not len(known):
        return interval(value, draws)
    # Draws that reach 1 have no log-odds: none may be further from it than a tenth of the value's own distance.
    inside = np.clip(known, value / _FAR, 1 - (1 - value) / _FAR)
    half = _Z * float(np.std(np.log(inside / (1 - inside))))
    centre = math.log(value / (1 - value))
    low, high = (1 / (1 + math.exp(-edge)) for edge in (centre - half, centre + half))
    return {"value": float(value), "low": low, "high": high}


def wilson(hits: int, trials: int) -> tuple[float, float] | None:
    """95 % interval of a proportion in [0, 1]; None without trials. Source: Wilson 1927."""
    if trials == 0:
        return None
    share = hits / trials
    centre = share + _Z * _Z / (2 * trials)
    half = _Z * math.sqrt(share * (1 - share) / trials + _Z * _Z / (4 * trials * trials))
    scale = 1 + _Z * _Z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def proportion(hits: int, trials: int, draws: Floats | None = None) -> dict[str, Any]:
    """A proportion with its 95 % interval and trials: Wilson's, or that of `draws` when rows come in groups."""
    if trials == 0:
        return {"value": None, "low": None, "high": None, "n": 0}
    if draws is not None:
        return interval(hits / trials, draws) | {"n": trials}
    found = wilson(hits, trials)
    assert found is not None
    return {"value": hits / trials, "low": found[0], "high": found[1], "n": trials}
