"""ROC-AUC and PR-AUC from score buckets as statistics, of one class or averaged one-versus-rest.

The pass side reads the canary with one more positive in the lowest bucket and one more negative in the highest, in
estimate and variance. Averages: a labelled row is a positive of one class and a negative of all others, and buckets do
not tell which rows they share. Positives of different classes are different rows, their variances add; for the
negatives, and for both together, the standard deviations add, which is the most they can (Cauchy–Schwarz).
Knows no gate, cluster or test. Source: statistics.md §3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from pilotage.gate.arm import ArmCounts
from pilotage.gate.keeping import coarser
from pilotage.gate.ranking import Ranking, RankingMetric, average_precision
from pilotage.gate.smooth import RIPE, Numbers, Reading, Strata


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingStatistic:
    """``classes``: those whose buckets are ranked. ``buckets``: per class and label, at most as many as are counted.

    Numbers are laid out class by class: negatives, then positives, scores ascending.
    """

    ranking: RankingMetric
    classes: tuple[str, ...]
    by_support: bool
    buckets: int

    @property
    def size(self) -> int:
        """Buckets of both labels of all classes."""
        return 2 * self.buckets * len(self.classes)

    def numbers(self, counts: ArmCounts) -> Numbers:
        """Buckets as counted, neighbours put together where fewer are kept."""
        found: list[float] = []
        for name in self.classes:
            scores = counts.buckets.get(name)
            if scores is None:
                found += [0] * (2 * self.buckets)
                continue
            found += coarser(scores.negatives, self.buckets)
            found += coarser(scores.positives, self.buckets)
        return tuple(found)

    def labels(self, numbers: Numbers) -> int:
        """Labelled rows; every row stands in the buckets of every class, so those of one are counted."""
        return int(sum(numbers[: 2 * self.buckets]))

    def is_ripe(self, strata: Strata) -> bool:
        """Ten positives and ten negatives of every class over the mix, ten of either in every stratum."""
        for first in range(0, self.size, 2 * self.buckets):
            sides = [
                (sum(n[first : first + self.buckets]), sum(n[first + self.buckets : first + 2 * self.buckets]))
                for _, n in strata
            ]
            if any(zeros + ones < RIPE for zeros, ones in sides):
                return False
            if sum(zeros for zeros, _ in sides) < RIPE or sum(ones for _, ones in sides) < RIPE:
                return False
        return True

    def plain(self, strata: Strata) -> Reading | None:
        """Estimate and delta-method variance (DeLong's for ROC-AUC)."""
        ranked: list[_OneVersusRest] = []
        for first in range(0, self.size, 2 * self.buckets):
            parts = [(weight, numbers[first : first + 2 * self.buckets]) for weight, numbers in strata]
            found = _one_versus_rest(self.ranking, parts)
            if found is None:
                return None
            ranked.append(found)
        if len(ranked) == 1:
            only = ranked[0]
            return Reading(value=only.ranking.value, variance=only.of_positives(1.0, 0.0) + only.of_negatives)
        return self._averaged(ranked)

    def as_if_at(self, strata: Strata, target: float | None) -> Reading | None:
        """Estimate and variance with one more positive scored lowest and one more negative scored highest."""
        return self.plain([(weight, self._one_more(numbers, weight, worst=True)) for weight, numbers in strata])

    def forgiving(self, strata: Strata, plain: Reading) -> Reading | None:
        """Of PR-AUC with one more positive scored highest and one more negative scored lowest.

        Its estimates from few positives are skewed downwards: read plainly, a canary on the boundary was rolled back
        in 5 % of simulated rollouts.
        """
        if self.ranking is not average_precision:
            return plain
        return self.plain([(weight, self._one_more(numbers, weight, worst=False)) for weight, numbers in strata])

    def with_one_more_error(self, strata: Strata, plain: Reading) -> Reading | None:
        """As it is: where stable has been lucky, the difference is smaller."""
        return plain

    def _averaged(self, ranked: Sequence["_OneVersusRest"]) -> Reading:
        weights = [one.support if self.by_support else 1.0 for one in ranked]
        total = sum(weights)
        value = sum(weight * one.ranking.value for weight, one in zip(weights, ranked, strict=True)) / total
        positives = negatives = 0.0
        for weight, one in zip(weights, ranked, strict=True):
            shift = (one.ranking.value - value) / total if self.by_support else 0.0
            positives += one.of_positives(weight / total, shift)
            negatives += weight / total * sqrt(one.of_negatives)
        return Reading(value=value, variance=(sqrt(positives) + negatives) ** 2)

    def _one_more(self, numbers: Numbers, share: float, *, worst: bool) -> Numbers:
        """One more negative at the top and positive at the bottom, or the other way round."""
        more, half = list(numbers), self.buckets
        for first in range(0, self.size, 2 * half):
            more[first + (half - 1 if worst else 0)] += share
            more[first + (half if worst else 2 * half - 1)] += share
        return tuple(more)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OneVersusRest:
    """One class against the rest: its ranking over the mix, its share of the labels, and where its variance is.

    ``masses``: per bucket, positives' part in the variance of a sum over them, (weight / labels)² n over the strata.
    """

    ranking: Ranking
    support: float
    masses: tuple[float, ...]
    of_negatives: float

    def of_positives(self, scale: float, shift: float) -> float:
        """Variance from the positives of ``scale`` × this ranking, plus ``shift`` per positive."""
        return sum(
            mass * (scale * g + shift) ** 2 for mass, g in zip(self.masses, self.ranking.by_positive, strict=True)
        )


def _one_versus_rest(ranking: RankingMetric, parts: Strata) -> _OneVersusRest | None:
    half = len(parts[0][1]) // 2
    shares, masses = [0.0] * (2 * half), [0.0] * (2 * half)
    zeros = ones = 0.0
    for weight, numbers in parts:
        total = sum(numbers)
        if total <= 0:
            return None
        positives = sum(numbers[half:])
        zeros, ones = zeros + total - positives, ones + positives
        scale = weight / total
        square = scale * scale
        for b, n in enumerate(numbers):
            if n:
                shares[b] += scale * n
                masses[b] += square * n
    found = ranking(shares[half:], shares[:half])
    if found is None or ones <= 1 or zeros <= 1:
        return None
    # A sample's variance, not a population's: DeLong divides by n - 1.
    return _OneVersusRest(
        ranking=found,
        support=sum(shares[half:]),
        masses=tuple(mass * ones / (ones - 1) for mass in masses[half:]),
        of_negatives=sum(m * g * g for m, g in zip(masses, found.by_negative, strict=False)) * zeros / (zeros - 1),
    )
