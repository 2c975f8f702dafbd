"""Means as statistics: log loss from its moments, expected cost from the confusion cells.

Both are losses, so values are negative. The pass side reads the canary with one more row at the worst loss, in mean
and variance: until a rare and costly error has been seen, the plain variance does not know that it can happen.
Knows no gate, cluster or test. Source: statistics.md §3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Final

from pilotage.gate.arm import ArmCounts
from pilotage.gate.smooth import RIPE, Numbers, Reading, Strata

WORST_LOG_LOSS: Final = -log(1e-3)
"""Probabilities are clipped at 1e-3 where they are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanStatistic:
    """Numbers are count, sum, sum of squares, then ``groups`` counts of labels that each must have been seen."""

    worst: float
    groups: int
    count: Callable[[ArmCounts], Numbers]

    @property
    def size(self) -> int:
        """Three moments and the groups."""
        return 3 + self.groups

    def numbers(self, counts: ArmCounts) -> Numbers:
        """Moments and groups."""
        return self.count(counts)

    def labels(self, numbers: Numbers) -> int:
        """Rows with a loss."""
        return int(numbers[0])

    def is_ripe(self, strata: Strata) -> bool:
        """Ten rows in every stratum, ten of every group over the mix."""
        if any(numbers[0] < RIPE for _, numbers in strata):
            return False
        return all(sum(numbers[3 + group] for _, numbers in strata) >= RIPE for group in range(self.groups))

    def plain(self, strata: Strata) -> Reading | None:
        """Minus the mean, and its variance."""
        value = variance = 0.0
        for weight, (count, total, squares, *_) in strata:
            if count <= 0:
                return None
            mean = total / count
            value -= weight * mean
            variance += weight * weight * max(0.0, squares / count - mean * mean) / count
        return Reading(value=value, variance=variance)

    def as_if_at(self, strata: Strata, target: float | None) -> Reading | None:
        """Minus the mean and its variance with one more row at the worst loss."""
        return self.plain([(weight, self._one_more(numbers, weight)) for weight, numbers in strata])

    def forgiving(self, strata: Strata, plain: Reading) -> Reading | None:
        """As it is."""
        return plain

    def with_one_more_error(self, strata: Strata, plain: Reading) -> Reading | None:
        """As it is: where stable has been lucky, the difference is smaller."""
        return plain

    def _one_more(self, numbers: Numbers, share: float) -> Numbers:
        count, total, squares, *rest = numbers
        return (count + share, total + share * self.worst, squares + share * self.worst * self.worst, *rest)
