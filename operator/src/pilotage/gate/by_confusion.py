"""Averages of confusion ratios as statistics: macro and weighted F-beta, weighted precision, specificity.

The pass side reads the canary's matrices *tilted* to the boundary: mixed with matrices of guesses only, just far enough
that the metric falls on the target. The variance there is the one a canary on the boundary would
have, however spotless the record so far. Knows no gate, cluster or test. Source: statistics.md §3.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Final

from pilotage.gate.arm import ArmCounts
from pilotage.gate.confusion import Cells, ConfusionMetric, Gradient, Margins, margins_of
from pilotage.gate.smooth import RIPE, Numbers, Reading, Strata

_ROUNDS: Final = 12
_TOLERANCE: Final = 1e-6  # of the metric


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
        return self._read([_Stratum(weight, cells, self.classes) for weight, cells in strata], [0.0] * len(strata))

    def as_if_at(self, strata: Strata, target: float | None) -> Reading | None:
        """The plain estimate with the larger of the variances as seen and as tilted down to the target."""
        parts = [_Stratum(weight, cells, self.classes) for weight, cells in strata]
        plain = self._read(parts, [0.0] * len(parts))
        if target is None and plain is not None:
            return self.with_one_more_error(strata, plain)
        if plain is None or target is None or plain.value <= target:
            return plain
        tilted = self._read(parts, self._tilts(parts, target))
        if tilted is None:
            return None
        return Reading(value=plain.value, variance=max(plain.variance, tilted.variance))

    def forgiving(self, strata: Strata, plain: Reading) -> Reading | None:
        """As it is."""
        return plain

    def with_one_more_error(self, strata: Strata, plain: Reading) -> Reading | None:
        """The plain estimate; the variance with one more error in each row, spread over its columns and the mix."""
        guarded = self.plain([(weight, _one_more(cells, self.classes, weight)) for weight, cells in strata])
        return None if guarded is None else Reading(value=plain.value, variance=guarded.variance)

    def _read(self, parts: Sequence["_Stratum"], tilts: Sequence[float]) -> Reading | None:
        margins = _mixed(parts, tilts)
        value, gradient = self.metric.value(margins), self.metric.gradient(margins)
        if value is None or gradient is None:
            return None
        variance = sum(part.variance(gradient, tilt) for part, tilt in zip(parts, tilts, strict=True))
        return Reading(value=value, variance=variance)

    def _tilts(self, parts: Sequence["_Stratum"], target: float) -> list[float]:
        """How far towards chance each stratum goes for the metric to fall to the target.

        In proportion to weight over labels: where a label counts much, few labels can hide much, and the likeliest
        canary on the boundary is the one that errs there. The limits are a matrix that does not move and pure chance.
        """
        most = max(part.scale for part in parts)
        ratios = [part.scale / most for part in parts]

        def tilts(by: float) -> list[float]:
            return [min(1.0, by * ratio) for ratio in ratios]

        def excess(by: float) -> float:
            value = self.metric.value(_mixed(parts, tilts(by)))
            return -target if value is None else value - target

        low, high = 0.0, 1.0
        above, below = excess(low), excess(high)
        while below > 0 and high < 1 / min(ratios):
            low, high, above, below = high, 4 * high, below, excess(4 * high)
        return tilts(_root(excess, low, high, above, below))


class _Stratum:
    """One matrix with what is needed of it more than once."""

    __slots__ = ("cells", "margins", "scale", "total")

    def __init__(self, weight: float, cells: Cells, classes: int) -> None:
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


def _root(excess: Callable[[float], float], low: float, high: float, above: float, below: float) -> float:
    """Where a falling function crosses 0, by secants that keep it bracketed (Illinois); ``high`` if it never does."""
    for _ in range(_ROUNDS):
        if below >= 0:
            break
        middle = low + (high - low) * above / (above - below)
        value = excess(middle)
        if abs(value) < _TOLERANCE:
            return middle
        if value > 0:
            low, above, below = middle, value, below / 2
        else:
            high, below, above = middle, value, above / 2
    return high


def _mixed(parts: Sequence[_Stratum], tilts: Sequence[float]) -> Margins:
    tilted = [part.margins.tilted(tilt) if tilt else part.margins for part, tilt in zip(parts, tilts, strict=True)]
    scales = [part.scale for part in parts]

    def total(vectors: Iterable[Numbers]) -> Numbers:
        return tuple(sum(map(mul, scales, values)) for values in zip(*vectors, strict=True))

    return Margins(
        diagonal=total(margins.diagonal for margins in tilted),
        rows=total(margins.rows for margins in tilted),
        columns=total(margins.columns for margins in tilted),
    )


def _one_more(cells: Cells, classes: int, share: float) -> Numbers:
    each = share / (classes - 1)
    return tuple(n if index % (classes + 1) == 0 else n + each for index, n in enumerate(cells))
