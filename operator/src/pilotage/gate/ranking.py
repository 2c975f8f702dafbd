"""ROC-AUC and PR-AUC from bucketed scores: value and influence of every bucket.

Scores are known to one bucket of equal width in log odds; two scores in one bucket are a tie and count one half. The
values are those of scikit-learn on the buckets' numbers. Both are functions of the shares of positives and negatives
per bucket, so a production mix is a mix of shares. No positive or no negative: absent (None).
Knows no arm, cluster or test. Source: statistics.md §3 (DeLong 1988; delta method for the average precision).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Shares = Sequence[float]
"""Mass per bucket, scores ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """``value`` in [0, 1]; d value / d share of a positive and of a negative in each bucket."""

    value: float
    by_positive: tuple[float, ...]
    by_negative: tuple[float, ...]


RankingMetric = Callable[[Shares, Shares], Ranking | None]
"""(positives, negatives) → ranking."""


def roc_auc(positives: Shares, negatives: Shares) -> Ranking | None:
    """Chance that a positive scores above a negative, ties one half."""
    ones, zeros = sum(positives), sum(negatives)
    if ones <= 0 or zeros <= 0:
        return None
    below_positive: list[float] = []  # share of negatives below each bucket
    above_negative: list[float] = []  # share of positives above each bucket
    negatives_below, positives_above = 0.0, ones
    for one, zero in zip(positives, negatives, strict=True):
        below_positive.append((negatives_below + zero / 2) / zeros)
        negatives_below += zero
        positives_above -= one
        above_negative.append((positives_above + one / 2) / ones)
    value = sum(one * share for one, share in zip(positives, below_positive, strict=True)) / ones
    return Ranking(
        value=value,
        by_positive=tuple((share - value) / ones for share in below_positive),
        by_negative=tuple((share - value) / zeros for share in above_negative),
    )


def average_precision(positives: Shares, negatives: Shares) -> Ranking | None:
    """Precision at every threshold, averaged over the recall it gains."""
    ones = sum(positives)
    if ones <= 0 or sum(negatives) <= 0:
        return None
    precisions, lost, gained = [0.0] * len(positives), [0.0] * len(positives), [0.0] * len(positives)
    hits = false = 0.0
    for b in range(len(positives) - 1, -1, -1):
        hits += positives[b]
        false += negatives[b]
        both = hits + false
        if both > 0:
            precisions[b] = hits / both
            gained[b] = positives[b] * false / (both * both)
            lost[b] = positives[b] * hits / (both * both)
    value = sum(one * precision for one, precision in zip(positives, precisions, strict=True)) / ones
    by_positive, by_negative = [], []
    up = down = 0.0
    for b, precision in enumerate(precisions):
        up += gained[b]
        down += lost[b]
        by_positive.append((precision - value + up) / ones)
        by_negative.append(-down / ones)
    return Ranking(value=value, by_positive=tuple(by_positive), by_negative=tuple(by_negative))


def binning_bound(positives: Shares, negatives: Shares) -> float | None:
    """How far the buckets can put ROC-AUC from its value on the scores themselves; None without both labels."""
    ones, zeros = sum(positives), sum(negatives)
    if ones <= 0 or zeros <= 0:
        return None
    return sum(one * zero for one, zero in zip(positives, negatives, strict=True)) / ones / zeros / 2
