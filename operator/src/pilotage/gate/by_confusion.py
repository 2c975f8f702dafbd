"""Averages of confusion ratios as statistics: macro and weighted F-beta, weighted precision, specificity.

The pass side reads the canary's matrix *tilted* to the boundary: mixed with one in which every prediction is a guess,
just far enough that the metric falls on the target. The variance there is the one a canary on the boundary would
have, however spotless the record so far. Knows no gate, cluster or test. Source: statistics.md §3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pilotage.gate.arm import ArmCounts
from pilotage.gate.confusion import Cells, ConfusionMetric, Gradient, Margins, margins_of
from pilotage.gate.smooth import RIPE, Numbers, Reading, Strata

_HALVINGS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionStatistic:
    """``count`` gives the cells of ``classes`` × ``classes``; two classes are rest and class, in that order."""

    metric: ConfusionMetric
    classes: int
    count: Callable[[ArmCounts], Numbers]

    @property
    def size(self) -> int:
        """Cells of one matrix."""
        return self.classes * self.classes

    def numbers(self, counts: ArmCounts) -> Numbers:
        """The cells, row after row."""
        return self.count(counts)

    def labels(self, numbers: Numbers) -> int:
        """All labels; of a single class those that are not true negatives."""
        return int(sum(numbers) - (numbers[0] if self.metric.only is not None else 0))

    def is_ripe(self, strata: Strata) -> bool:
        """Ten labels of every class over the mix, ten of any in every stratum."""
        if any(sum(cells) < RIPE for _, cells in strata):
            return False
        return all(
            sum(sum(cells[k * self.classes : (k + 1) * self.classes]) for _, cells in strata) >= RIPE
            for k in range(self.classes)
        )

    def plain(self, strata: Strata) -> Reading | None:
        """Estimate and delta-method variance."""
        return self._read([_Stratum(weight, cells, self.classes) for weight, cells in strata], 0.0)

    def as_if_at(self, strata: Strata, target: float | None) -> Reading | None:
        """The plain estimate with the larger of the variances as seen and as tilted down to the target."""
        parts = [_Stratum(weight, cells, self.classes) for weight, cells in strata]
        plain = self._read(parts, 0.0)
        if target is None and plain is not None:
            return self.with_one_more_error(strata, plain)
        if plain is None or target is None or plain.value <= target:
            return plain
        tilted = self._read(parts, self._tilt(_mixed(parts), target))
        if tilted is None:
            return None
        return Reading(value=plain.value, variance=max(plain.variance, tilted.variance))

    def with_one_more_error(self, strata: Strata, plain: Reading) -> Reading | None:
        """The plain estimate; the variance with one more error in each row, spread over its columns and the mix."""
        guarded = self.plain([(weight, _one_more(cells, self.classes, weight)) for weight, cells in strata])
        return None if guarded is None else Reading(value=plain.value, variance=guarded.variance)

    def _read(self, parts: list["_Stratum"], towards_chance: float) -> Reading | None:
        margins = _mixed(parts).tilted(towards_chance)
        value, gradient = self.metric.value(margins), self.metric.gradient(margins)
        if value is None or gradient is None:
            return None
        return Reading(value=value, variance=sum(part.variance(gradient, towards_chance) for part in parts))

    def _tilt(self, margins: Margins, target: float) -> float:
        """How far towards chance the metric falls to the target; 1 if it never does."""
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            value = self.metric.value(margins.tilted(middle))
            if value is not None and value > target:
                low = middle
            else:
                high = middle
        return high


class _Stratum:
    """One matrix with what is needed of it more than once."""

    __slots__ = ("cells", "margins", "scale", "total", "weight")

    def __init__(self, weight: float, cells: Cells, classes: int) -> None:
        self.weight = weight
        self.cells = cells
        self.margins = margins_of(cells, classes)
        self.total = self.margins.everything
        self.scale = weight / self.total

    def variance(self, gradient: Gradient, towards_chance: float) -> float:
        """What this stratum adds to the variance of the mix."""
        first, second = gradient.moments(self.cells)
        if towards_chance:
            chance_first, chance_second = gradient.chance_moments(self.margins.rows)
            first += towards_chance * (chance_first - first)
            second += towards_chance * (chance_second - second)
        return self.scale * self.scale * max(0.0, second - first * first / self.total)


def _mixed(parts: list[_Stratum]) -> Margins:
    def total(of: Callable[[Margins], Numbers]) -> Numbers:
        return tuple(
            sum(values) for values in zip(*([part.scale * x for x in of(part.margins)] for part in parts), strict=True)
        )

    return Margins(
        diagonal=total(lambda margins: margins.diagonal),
        rows=total(lambda margins: margins.rows),
        columns=total(lambda margins: margins.columns),
    )


def _one_more(cells: Cells, classes: int, share: float) -> Numbers:
    each = share / (classes - 1)
    return tuple(n if index % (classes + 1) == 0 else n + each for index, n in enumerate(cells))
