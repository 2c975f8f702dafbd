"""The Gaussian version of the mixture over effect sizes: distances and variances into log e-values.

For a statistic at distance D from its boundary with variance V, ``exp(±d D/V − d²/2V)`` is the likelihood ratio of
"d away, on this side" against "on the boundary". It depends on the sums of ``D/V`` and of ``1/V`` alone, so strata that
must not be pooled (another weight, another attempt) add up in two numbers, and per alternative one more carries all
fail starts. Asymptotic: false promotion is simulated, never above 4 %, not proved.
Knows no statistic, no counts and no cluster. Source: statistics.md §3; Howard et al. 2021, AoS 49.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Final

from pilotage.gate.grids import Grid, fail_grid, pass_grid
from pilotage.gate.logsum import down, log_sum
from pilotage.gate.smooth import Distance

_DIGITS: Final = ".10g"
_HALVINGS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """Distances divided by their variances, and one over the variances, summed over strata: evidence and information.

    ``distance`` / ``information`` is the best single estimate of the distance to the boundary.
    """

    distance: float = 0.0
    information: float = 0.0

    @classmethod
    def of(cls, distance: Distance) -> "Weighed":
        """One stratum; rounded, so that what is stored is what was meant."""
        return cls(
            distance=float(format(distance.value / distance.variance, _DIGITS)),
            information=float(format(1 / distance.variance, _DIGITS)),
        )

    @classmethod
    def of_pair(cls, pair: Sequence[float]) -> "Weighed":
        """Inverse of ``to_pair``."""
        distance, information = pair
        return cls(distance=distance, information=information)

    def to_pair(self) -> tuple[float, float]:
        """As it is stored."""
        return self.distance, self.information

    def __add__(self, other: "Weighed") -> "Weighed":
        return Weighed(
            distance=float(format(self.distance + other.distance, _DIGITS)),
            information=float(format(self.information + other.information, _DIGITS)),
        )

    @property
    def estimate(self) -> float:
        """Distance to the boundary; 0 before anything is weighed."""
        return self.distance / self.information if self.information else 0.0

    def thinned(self, factor: float) -> "Weighed":
        """The same evidence from labels that are worth that much less."""
        if factor == 1.0:
            return self
        return Weighed(
            distance=float(format(self.distance / factor, _DIGITS)),
            information=float(format(self.information / factor, _DIGITS)),
        )

    def log_ratio(self, effect: float) -> float:
        """Of "``effect`` above the boundary" against "on it"; a negative effect is one below."""
        return effect * self.distance - effect * effect * self.information / 2


NOTHING_WEIGHED: Final = Weighed()


def grid(scale: float, reach: float, *, passing: bool) -> Grid:
    """Effects and stakes in a metric that can differ by ``reach`` at most."""
    unit = (pass_grid if passing else fail_grid)(scale / reach)
    return tuple((effect * reach, stake) for effect, stake in unit)


def log_e_pass(weighed: Weighed, effects: Grid) -> float:
    """Log e-value against "at the boundary or worse"; 0.0 before anything is weighed."""
    return down(log_sum([log(stake) + weighed.log_ratio(effect) for effect, stake in effects]))


def multiplied(starts: Sequence[float], weighed: Weighed, effects: Grid) -> tuple[float, ...]:
    """Per alternative, ``ln sum_i w_i E_i`` of the fail starts after what was weighed since."""
    return tuple(value + weighed.log_ratio(-effect) for value, (effect, _) in zip(starts, effects, strict=True))


def joined(starts: Sequence[float], share: float) -> tuple[float, ...]:
    """One more fail start with this share of the stake."""
    return tuple(down(log_sum([value, log(share)])) for value in starts)


def log_e_fail(starts: Sequence[float], weighed: Weighed, effects: Grid) -> float:
    """Log of the stakes' mean over alternatives, all starts with their shares in it."""
    values = multiplied(starts, weighed, effects)
    return down(log_sum([log(stake) + value for value, (_, stake) in zip(values, effects, strict=True)]))


def reach_below(weighed: Weighed, effects: Grid, needed: float) -> float:
    """The greatest distance that is surely exceeded: the mixture against it has reached ``needed``.

    Minus infinity before anything is weighed. Asymptotically missed in at most ``exp(-needed)`` of all rollouts, at
    any look.
    """
    if weighed.information <= 0:
        return -inf
    estimate = weighed.distance / weighed.information

    def evidence(below: float) -> float:
        distance = below * weighed.information
        return log_e_pass(Weighed(distance=distance, information=weighed.information), effects)

    low, high = 0.0, 1.0
    while evidence(high) < needed:
        low, high = high, 2 * high
        if high > 2.0**_HALVINGS:
            return -inf
    for _ in range(_HALVINGS // 2):
        middle = (low + high) / 2
        if evidence(middle) < needed:
            low = middle
        else:
            high = middle
    return estimate - high
