"""How far a smooth metric lies from its boundary, and how surely: what the Gaussian engine bets on.

A *statistic* is a metric as a smooth function of counts in several strata, mixed with fixed weights. A *look* is its
distance to the boundary with a variance, twice: cautiously for the pass side, forgivingly for the fail side. The plain
delta-method variance is unsafe for promoting: with no error seen yet it is 0, and simulated false promotion reaches
26–31 %. So the pass side sees the canary as if it stood on the boundary, or with one more of the worst outcomes.
Knows no gate, no cluster and no time. Source: statistics.md §3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pilotage.gate.arm import ArmCounts

RIPE: Final = 10
"""Labelled events per class, arm and stratum before a Gaussian approximation means anything."""

Numbers = tuple[float, ...]
"""What a statistic counts of one arm in one stratum; sums of whole counts, or of losses."""

Strata = Sequence[tuple[float, Numbers]]
"""(weight in the mix, numbers); weights above 0 that add up to 1."""

LEAST_VARIANCE: Final = 1e-10
"""What no variance is taken to be below: a spotless record is not infinitely sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A metric and the variance of its estimate. Losses are negative, so that more is always better."""

    value: float
    variance: float


class Statistic(Protocol):
    """A metric as a function of strata of one arm. Everything is None where the metric is undefined."""

    @property
    def size(self) -> int:
        """How many numbers one arm and stratum has."""

    def numbers(self, counts: ArmCounts) -> Numbers:
        """What this statistic counts; sums of two blocks are the numbers of their sum."""

    def labels(self, numbers: Numbers) -> int:
        """Labels in the metric's own denominator."""

    def is_ripe(self, strata: Strata) -> bool:
        """Enough is counted of everything that the metric depends on. A rule on numbers of labels only."""

    def plain(self, strata: Strata) -> Reading | None:
        """Estimate and delta-method variance."""

    def as_if_at(self, strata: Strata, target: float | None) -> Reading | None:
        """The canary, read cautiously: with the larger variance it had if its metric were ``target``.

        None as target: with one more of the worst outcomes.
        """

    def forgiving(self, strata: Strata, plain: Reading) -> Reading | None:
        """The canary as the fail side reads it: plainly, or with one more of the best outcomes where few labels err
        low more often than their variance says.
        """

    def with_one_more_error(self, strata: Strata, plain: Reading) -> Reading | None:
        """Stable, read cautiously: its plain reading, with the variance after one more error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """Metric minus boundary, and the variance of the estimate; both in the metric's units."""

    value: float
    variance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """``cautious`` is what the pass side sees, ``forgiving`` what the fail side sees."""

    cautious: Distance
    forgiving: Distance


def against_limit(statistic: Statistic, canary: Strata, limit: float) -> Look | None:
    """The canary's metric against a fixed value; None while too little is counted."""
    if not statistic.is_ripe(canary):
        return None
    plain, cautious = statistic.plain(canary), statistic.as_if_at(canary, limit)
    forgiving = None if plain is None else statistic.forgiving(canary, plain)
    if cautious is None or forgiving is None:
        return None
    return _look(
        Distance(value=cautious.value - limit, variance=cautious.variance),
        Distance(value=forgiving.value - limit, variance=forgiving.variance),
    )


def against_stable(statistic: Statistic, canary: Strata, stable: Strata, bound: float) -> Look | None:
    """Canary's metric minus stable's against ``bound`` (minus the margin); None while too little is counted."""
    if not (statistic.is_ripe(canary) and statistic.is_ripe(stable)):
        return None
    ours, theirs = statistic.plain(canary), statistic.plain(stable)
    if ours is None or theirs is None:
        return None
    n1, n0 = _labels(statistic, canary), _labels(statistic, stable)
    # Where both would stand if the canary were exactly that much worse, given what both have shown.
    target = (n0 * theirs.value + n1 * (ours.value - bound)) / (n0 + n1) + bound
    cautious, careful = statistic.as_if_at(canary, target), statistic.with_one_more_error(stable, theirs)
    forgiving = statistic.forgiving(canary, ours)
    if cautious is None or careful is None or forgiving is None:
        return None
    return _look(
        Distance(value=cautious.value - careful.value - bound, variance=cautious.variance + careful.variance),
        Distance(value=forgiving.value - theirs.value - bound, variance=forgiving.variance + theirs.variance),
    )


def _look(cautious: Distance, forgiving: Distance) -> Look:
    # For the fail side too, a spotless record is not infinitely good.
    variance = max(forgiving.variance, cautious.variance, LEAST_VARIANCE)
    return Look(
        cautious=Distance(value=cautious.value, variance=max(cautious.variance, LEAST_VARIANCE)),
        forgiving=Distance(value=forgiving.value, variance=variance),
    )


def _labels(statistic: Statistic, strata: Strata) -> int:
    return sum(statistic.labels(numbers) for _, numbers in strata)
