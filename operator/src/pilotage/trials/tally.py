"""Many trials as rates with their exact uncertainty, and medians of what it took. Renders nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, log1p, sqrt
from statistics import median

from pilotage.trials.rollouts import End, Trial

_LEVEL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`hits` of `runs` seeded rollouts."""

    hits: int
    runs: int

    @property
    def share(self) -> float:
        """In [0, 1]; 0 without runs."""
        return self.hits / self.runs if self.runs else 0.0

    @property
    def standard_error(self) -> float:
        """Of the share: √(p(1−p)/n), exact for independent runs; 0 when all runs agree."""
        return sqrt(self.share * (1 - self.share) / self.runs) if self.runs else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Exact 95 % interval (Clopper and Pearson 1934): what the true rate can be."""
        low = 0.0 if self.hits == 0 else _solve(lambda p: _at_least(self.hits, self.runs, p) - _LEVEL / 2)
        high = (
            1.0 if self.hits == self.runs else _solve(lambda p: _LEVEL / 2 - 1 + _at_least(self.hits + 1, self.runs, p))
        )
        return low, high

    def is_within(self, bound: float) -> bool:
        """Not above `bound` by more than luck explains: three standard errors of a rate that is exactly `bound`."""
        return self.share <= bound + 3 * sqrt(bound * (1 - bound) / self.runs) if self.runs else True


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What many rollouts of one scenario came to. Medians are over the decided ones, None if there are none."""

    passed: Rate
    failed: Rate
    expired: Rate
    labels: float | None
    requests: float | None
    seconds: float | None
    mean_labels: float | None
    why_undecided: str
    """The commonest reason of the last look among the rollouts that expired."""


def tally(trials: Sequence[Trial]) -> Tally:
    """Count them."""
    runs, decided = len(trials), [each for each in trials if each.end is not End.EXPIRED]
    ends = Counter(each.end for each in trials)
    reasons = Counter(_without_numbers(each.reason) for each in trials if each.end is End.EXPIRED)
    common = next(iter(reasons.most_common(1)), ("", 0))[0]
    return Tally(
        passed=Rate(hits=ends[End.PASSED], runs=runs),
        failed=Rate(hits=ends[End.FAILED], runs=runs),
        expired=Rate(hits=ends[End.EXPIRED], runs=runs),
        labels=median(each.labels for each in decided) if decided else None,
        requests=median(each.requests for each in decided) if decided else None,
        seconds=median(each.seconds for each in decided) if decided else None,
        mean_labels=sum(each.labels for each in decided) / len(decided) if decided else None,
        why_undecided=common,
    )


def _without_numbers(reason: str) -> str:
    """The same sentence for every rollout, so that it can be counted."""
    return re.sub(r"\d+(\.\d+)?", "…", reason)


def _at_least(hits: int, runs: int, p: float) -> float:
    """Chance of `hits` or more of `runs`."""
    if p <= 0 or p >= 1:
        return float(p >= 1 or hits == 0)
    logs = (
        lgamma(runs + 1) - lgamma(k + 1) - lgamma(runs - k + 1) + k * log(p) + (runs - k) * log1p(-p)
        for k in range(hits, runs + 1)
    )
    return min(1.0, sum(map(exp, logs)))


def _solve(increasing: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if increasing(middle) > 0 else (middle, high)
    return (low + high) / 2
