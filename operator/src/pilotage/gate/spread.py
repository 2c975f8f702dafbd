"""How much more a metric jumps from batch to batch than independent labels would let it.

Requests of one client come together, and some clients are harder than others: n labels then say less than n coins. What
a stratum adds between two weighings is a batch; successive batches are compared with each other (von Neumann 1941), so
that a slowly drifting base rate does not count as a jump. Distances and information are divided by what comes out. A
quasi-likelihood correction, simulated and not proved, as in statistics.md §6.3. Knows no statistic and no count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pilotage.gate.smooth import Distance

_PRIOR: Final = 4  # pairs of batches, without any excess, that are believed before the first is seen

_GREATEST: Final = 9.0  # three standard errors: a canary that breaks jumps once, and must not pass for a bursty one


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """``excess``: sum over ``pairs`` of squared jumps over their variance; ``last`` and ``size``: the batch before."""

    excess: float = 0.0
    pairs: int = 0
    last: float = 0.0
    size: int = 0

    @property
    def factor(self) -> float:
        """Variance over that of independent labels, at least 1."""
        return max(1.0, (_PRIOR + self.excess) / (_PRIOR + self.pairs))

    def after(self, distance: Distance, labels: int, *, before: float, counted: int) -> "Spread":
        """One more batch: the stratum stood at ``before`` with ``counted`` labels, now at ``distance`` with more."""
        size = labels - counted
        value = (distance.value * labels - before * counted) / size
        if not self.size:
            return Spread(excess=self.excess, pairs=self.pairs, last=value, size=size)
        per_label = distance.variance * labels
        jump = min((value - self.last) ** 2 / (per_label * (1 / size + 1 / self.size)), _GREATEST)
        return Spread(excess=round(self.excess + jump, 6), pairs=self.pairs + 1, last=float(f"{value:.6g}"), size=size)

    @property
    def paused(self) -> "Spread":
        """The stratum has ended: its last batch is compared with none of the next."""
        return Spread(excess=self.excess, pairs=self.pairs)

    def to_list(self) -> list[Any]:
        """JSON."""
        return [self.excess, self.pairs, self.last, self.size]

    @classmethod
    def from_list(cls, raw: Sequence[Any]) -> "Spread":
        """Inverse of ``to_list``."""
        excess, pairs, last, size = raw
        return cls(excess=excess, pairs=pairs, last=last, size=size)


NO_SPREAD: Final = Spread()
