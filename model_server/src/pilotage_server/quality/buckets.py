"""The scales every counter of scores shares: fixed edges in log-odds, and the clip of log loss. Pure, no NumPy.

Fixed, because counts of two pods, two clusters and two revisions add up only if their buckets are the same. A bucket
holds its lower edge: bucket b of n edges is [edge b−1, edge b), the first and last are open.
"""

import math
from bisect import bisect_left, bisect_right
from typing import Final

SCORE_BUCKETS: Final = 50
SCORE_EDGES: Final = tuple(round(0.3 * step, 1) for step in range(-24, 25))
"""49 log-odds from −7.2 to 7.2 (probabilities 0.00075 to 0.99925), ascending, 0.3 apart."""

MAX_CURVES: Final = 10
"""Classes up to which every labelled row's score buckets are kept: beyond, curves cost more than they tell."""

CONFIDENCE_BUCKETS: Final = 20
CONFIDENCE_EDGES: Final = tuple(-1.5 + 0.5 * step for step in range(19))
"""19 log-odds of the largest probability, from −1.5 to 7.5 (0.182 to 0.99945), ascending, 0.5 apart."""

LOSS_CLIP: Final = 1e-3
"""The least probability log loss is told of (design §11): one surprise costs at most 6.91 nats."""
MICRO: Final = 1_000_000
MAX_LOSS_MICRO: Final = round(-math.log(LOSS_CLIP) * MICRO)

LATE_MULTIPLES: Final = (1.5, 2.0, 3.0, 5.0, 10.0, math.inf)
"""Upper bounds of how late a late label came, in multiples of `labelDelay`."""
DELAY_BOUNDS_S: Final = (60, 300, 900, 3_600, 21_600, 86_400, 604_800, 2_592_000)
"""Upper bounds of `model_label_delay_seconds`, 1 min to 30 d."""
COHORTS: Final = {"1h": 3_600, "6h": 21_600, "1d": 86_400, "7d": 604_800}
"""Upper bounds in s of how long a label took, as the label `delay` names them; whatever took longer is `more`."""
COHORT_NAMES: Final = (*COHORTS, "more")
MAX_COHORT_CLASSES: Final = 30
"""Classes up to which outcomes are counted by how long the label took."""


def log_odds(p: float) -> float:
    """ln(p / (1 − p)) of a probability; ±inf at its ends."""
    if p <= 0.0:
        return -math.inf
    if p >= 1.0:
        return math.inf
    return math.log(p) - math.log1p(-p)


def score_bucket(p: float) -> int:
    """The bucket, 0 to 49, of one class's probability."""
    return bisect_right(SCORE_EDGES, log_odds(p))


def confidence_bucket(p: float) -> int:
    """The bucket, 0 to 19, of a row's largest probability."""
    return bisect_right(CONFIDENCE_EDGES, log_odds(p))


def loss_micro(nats: float) -> int:
    """A loss −ln p in whole micro-nats, clipped at `LOSS_CLIP`."""
    return min(round(nats * MICRO), MAX_LOSS_MICRO)


def late_bucket(delay_ms: int, label_delay_ms: int) -> int:
    """Which of `LATE_MULTIPLES` bounds a label that came `delay_ms` after its prediction."""
    for index, multiple in enumerate(LATE_MULTIPLES[:-1]):
        if delay_ms <= multiple * label_delay_ms:
            return index
    return len(LATE_MULTIPLES) - 1


def cohort(age_ms: int) -> int:
    """The position in `COHORT_NAMES` of a label that came so long after its prediction."""
    return bisect_left(tuple(COHORTS.values()), age_ms / 1000)


def late_bounds(label_delay_ms: int) -> tuple[str, ...]:
    """`LATE_MULTIPLES` in seconds, as the label `le` writes them."""
    bounds = [_seconds(multiple * label_delay_ms / 1000) for multiple in LATE_MULTIPLES[:-1]]
    return (*bounds, "+Inf")


def _seconds(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 6))
