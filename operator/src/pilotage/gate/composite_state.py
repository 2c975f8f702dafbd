"""What a test of a smooth metric remembers between two looks, and its JSON: a few numbers per side and scope.

Sums of counts are kept elsewhere. Knows no statistic and no count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pilotage.gate.clumps import NO_CLUMPS, Clumps
from pilotage.gate.gaussian import NOTHING_WEIGHED, Weighed
from pilotage.gate.packing import pack, unpack
from pilotage.gate.smooth import Numbers
from pilotage.gate.split import NOTHING_SPLIT, Split

_CLEAN_PAIRS: Final = 4  # pairs of batches believed to be without clumps

Sums = Mapping[str, Mapping[str, Numbers]]
"""``{arm: {cluster: numbers}}``"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailSide:
    """One scope. ``starts``: per alternative ``ln sum_i w_i E_i`` over the closed strata of all starts; ``standing``:
    the stratum under way, a factor that all of them share.
    """

    starts: tuple[float, ...]
    standing: Weighed = NOTHING_WEIGHED


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeState:
    """``settled``: the pass side's closed strata, those of earlier attempts among them; ``standing``: the stratum under
    way as last weighed, when it had ``labels`` of all arms. ``shown``: closed strata as the fail side's mix saw them,
    for the difference to show. ``bets``: weighings; ``step_bets``: those of the pass side since the weight changed.
    ``base``: the sums where the stratum began, if it began because the split moved by itself; ``split`` watches that.
    ``clumps``: what batches of labels, from weighing to weighing, say of them.
    """

    scale: float
    settled: Weighed = NOTHING_WEIGHED
    standing: Weighed = NOTHING_WEIGHED
    shown: Weighed = NOTHING_WEIGHED
    fails: tuple[FailSide, ...]
    labels: int = 0
    bets: int = 0
    step_bets: int = 0
    base: Sums | None = None
    split: Split = NOTHING_SPLIT
    clumps: Clumps = NO_CLUMPS

    @property
    def thinning(self) -> float:
        """How many labels are worth one independent label, at least 1."""
        return self.clumps.factor(_CLEAN_PAIRS)

    @property
    def passing(self) -> Weighed:
        """All that the pass side has weighed, for what its labels are worth."""
        return (self.settled + self.standing).thinned(self.thinning)

    @property
    def comparing(self) -> Weighed:
        """All strata of this attempt as the fail side's mix sees them, for what their labels are worth."""
        return (self.shown + self.fails[0].standing).thinned(self.thinning)

    def to_dict(self) -> dict[str, Any]:
        """JSON; what is not there is left out."""
        raw: dict[str, Any] = {
            "scale": self.scale,
            "settled": self.settled.to_pair(),
            "standing": self.standing.to_pair(),
            "shown": self.shown.to_pair(),
            "fails": [[*fail.standing.to_pair(), *fail.starts] for fail in self.fails],
            "counts": [self.labels, self.bets, self.step_bets],
        }
        if self.clumps != NO_CLUMPS:
            raw["clumps"] = self.clumps.to_list()
        if self.split.before:
            raw["split"] = self.split.to_list()
        if self.base is not None:
            raw["base"] = {
                arm: {name: pack(numbers) for name, numbers in sums.items()} for arm, sums in self.base.items()
            }
        return raw

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "CompositeState":
        """Inverse of ``to_dict``."""
        labels, bets, step_bets = raw["counts"]
        base = raw.get("base")
        return cls(
            scale=raw["scale"],
            settled=Weighed.of_pair(raw["settled"]),
            standing=Weighed.of_pair(raw["standing"]),
            shown=Weighed.of_pair(raw["shown"]),
            fails=tuple(FailSide(starts=tuple(side[2:]), standing=Weighed.of_pair(side[:2])) for side in raw["fails"]),
            labels=labels,
            bets=bets,
            step_bets=step_bets,
            base=None
            if base is None
            else {arm: {name: unpack(packed) for name, packed in sums.items()} for arm, sums in base.items()},
            split=Split.from_list(raw.get("split", ())),
            clumps=Clumps.from_list(raw["clumps"]) if "clumps" in raw else NO_CLUMPS,
        )
