"""How much labels come in clumps: the jumps of a level from block to block, over what independent labels allow.

Requests of one client stick together for a while, and some clients are harder than others; n labels then say less than
n coins. Only blocks already closed say how much, so the next block's evidence may be divided by it: a log likelihood
ratio over a number of at least 1 that was fixed before is still one of expectation at most 1, by Jensen, so independent
labels keep their guarantee exactly; for clumped ones it is a quasi-likelihood correction, simulated, as in
statistics.md §6.3. Successive blocks are compared with each other (von Neumann 1941): a drifting base rate is no clump.
Knows no test and no count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_GREATEST: Final = 9.0  # a rate that breaks jumps once, and must not pass for a bursty one


@dataclass(frozen=True, slots=True, kw_only=True)
class Clumps:
    """``excess``: sum over ``pairs`` of squared jumps over their variance; ``level``, ``variance``: the last block."""

    excess: float = 0.0
    pairs: int = 0
    level: float = 0.0
    variance: float = 0.0

    def factor(self, believed: int) -> float:
        """Variance over that of independent labels, at least 1.

        ``believed``: pairs of blocks without excess that count beforehand; the more, the less clean data pay.
        """
        return max(1.0, (believed + self.excess) / (believed + self.pairs))

    @property
    def paused(self) -> "Clumps":
        """The last block is compared with none of the next: they do not belong together."""
        return Clumps(excess=self.excess, pairs=self.pairs)

    def after(self, level: float, variance: float) -> "Clumps":
        """One more block: the level in it, and the variance that has if labels are independent."""
        level, variance = float(f"{level:.6g}"), float(f"{variance:.6g}")
        if not self.variance:
            return Clumps(excess=self.excess, pairs=self.pairs, level=level, variance=variance)
        jump = min((level - self.level) ** 2 / (variance + self.variance), _GREATEST)
        return Clumps(excess=round(self.excess + jump, 4), pairs=self.pairs + 1, level=level, variance=variance)

    def to_list(self) -> list[Any]:
        """JSON."""
        return [self.excess, self.pairs, self.level, self.variance]

    @classmethod
    def from_list(cls, raw: Sequence[Any]) -> "Clumps":
        """Inverse of ``to_list``."""
        excess, pairs, level, variance = raw
        return cls(excess=excess, pairs=pairs, level=level, variance=variance)


NO_CLUMPS: Final = Clumps()
