"""Can these gates be decided in time? Told when a wave starts, from the labels that stable got lately.

For an equal canary: how many labels each gate needs, when they will have come, and the smallest margin (or the nearest
floor) that the deadline allows. Every test is asked itself: what it says of the counts that are to be expected, divided
by their number, is what a label is worth; so exact and Gaussian engines need no formulas here. A step before the last
lasts until its minSamples have come. A mean, not a promise: many equal canaries take longer.
Knows no clock and no rollout. Source: statistics.md §8.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, log, sqrt
from typing import Final

from pilotage.gate.analysis import Analysis
from pilotage.gate.arm import ArmCounts, Confusion, Moments, Proportion, Scores
from pilotage.gate.denominators import labels_of
from pilotage.gate.engine import Arms, History, Kind, Look, Opening
from pilotage.gate.estimates import estimate
from pilotage.gate.hypotheses import tests_of
from pilotage.gate.opening import decode_history, normalised
from pilotage.gate.outlook import Outlook
from pilotage.gate.spec import AnalysisSpec, GateSpec, Metric

_PRICE: Final = 1.2  # simulated mean labels over what the evidence per label promises (statistics.md §8)
_MANY: Final = 10**7  # expected counts are made of so many labels that rounding and guards of small counts vanish
_LEAST: Final = 1e-3
_DOUBLINGS: Final = 16
_HALVINGS: Final = 12
_UNBOUNDED: Final = frozenset({Metric.LOG_LOSS, Metric.EXPECTED_COST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a wave will go. ``history_s``: seconds in which stable's history was counted. ``weights``: the canary's share
    of the requests in every step, in (0, 1]. Seconds for times; ``label_delay_s`` passes before the first label counts.
    """

    history_s: float
    weights: Sequence[float]
    max_duration_s: float
    label_delay_s: float = 0.0


def outlooks(
    analysis: Analysis,
    *,
    classes: Sequence[str],
    shares: Mapping[str, float],
    history: Mapping[str, Sequence[Mapping[str, object]]],
    pace: Pace,
) -> tuple[Outlook, ...]:
    """The slowest test of every gate that is needed for a pass. Arguments and errors are as for ``Analysis.start``."""
    analysis.start(classes, shares, history)
    mix = normalised(shares)
    names = [gate.name for gate in analysis.gates]
    past = decode_history(history, classes=classes, clusters=tuple(mix), gates=names)
    found = []
    for gate in analysis.gates:
        if gate.needed_for_pass:
            view = _View(gate=gate, classes=tuple(classes), mix=mix, past=past, pace=pace, settings=analysis.settings)
            found.append(max(view.outlooks(), key=lambda outlook: outlook.takes_s))
    return tuple(found)


def unprovable(found: Sequence[Outlook]) -> str:
    """What to tell when a wave starts: every gate that an equal canary will not pass in time; "" if there is none."""
    return "; ".join(str(outlook) for outlook in found if not outlook.in_time)


@dataclass(frozen=True, kw_only=True)
class _View:
    """One gate, and what its labels are expected to be."""

    gate: GateSpec
    classes: tuple[str, ...]
    mix: Mapping[str, float]
    past: History
    pace: Pace
    settings: AnalysisSpec

    @cached_property
    def pooled(self) -> ArmCounts:
        return sum((counts for parts in self.past.values() for counts in parts), ArmCounts())

    @cached_property
    def labels(self) -> int:
        """Of stable's history, in the gate's own denominator."""
        return labels_of(self.gate, {"stable": self.pooled}, "stable")

    @cached_property
    def stable(self) -> float | None:
        return estimate(self.gate, self.classes, [(1.0, self.pooled)]) if self.labels else None

    def outlooks(self) -> Iterator[Outlook]:
        """One per boundary."""
        if self.gate.limit is not None:
            yield self._outlook(Kind.CEILING if self.gate.is_loss else Kind.FLOOR, self.gate.limit)
        if self.gate.margin is not None:
            yield self._outlook(Kind.MARGIN, self.gate.margin)

    def _outlook(self, kind: Kind, bound: float) -> Outlook:
        seconds, labels = (inf, inf) if self.stable is None else self._takes(self._asking(kind, bound))
        late = seconds > self.pace.max_duration_s
        return Outlook(
            gate=self.gate.name,
            title=self.gate.title,
            kind=kind,
            bound=bound,
            stable=self.stable,
            labels=labels,
            labels_per_hour=3600 * self.labels / self.pace.history_s * self.pace.weights[-1],
            takes_s=seconds,
            deadline_s=self.pace.max_duration_s,
            provable=self._provable(kind, bound) if late and self.stable is not None else None,
        )

    def _asking(self, kind: Kind, bound: float) -> GateSpec:
        """The gate with this bound alone."""
        match kind:
            case Kind.FLOOR:
                return replace(self.gate, floor=bound, margin=None)
            case Kind.CEILING:
                return replace(self.gate, ceiling=bound, margin=None)
        return replace(self.gate, floor=None, ceiling=None, margin=bound)

    def _takes(self, gate: GateSpec) -> tuple[float, float]:
        """Seconds until a pass, and the canary's labels by then."""
        missing, seconds, labels = _PRICE * log(1 / self.settings.alpha), self.pace.label_delay_s, 0.0
        per_second = self.labels / self.pace.history_s
        *before, last = self.pace.weights
        for weight in before:
            worth = self._worth(gate, weight)
            coming = float(self.settings.min_samples)
            if worth * coming >= missing:
                coming = missing / worth
            missing, seconds, labels = (
                missing - worth * coming,
                seconds + coming / (per_second * weight),
                labels + coming,
            )
            if missing <= 0:
                return seconds, labels
        worth = self._worth(gate, last)
        if worth <= 0:
            return inf, inf
        return seconds + missing / worth / (per_second * last), labels + missing / worth

    def _worth(self, gate: GateSpec, weight: float) -> float:
        """Evidence for a pass (nats) that one label of an equal canary brings, with stable's that come with it."""
        (test,) = tests_of([gate], self.classes, self.mix)[gate.name]
        expected: Arms = {
            name: {
                "canary": _scaled(self.pooled, share * _MANY / self.labels),
                "stable": _scaled(self.pooled, share * _MANY / self.labels * (1 - weight) / weight),
            }
            for name, share in self.mix.items()
        }
        opened = test.opened(Opening(history=self.past))
        state = test.absorb(opened, Look(added=expected, before={}, turned={}))
        return max(0.0, test.log_e_pass(state)) / _MANY

    def _provable(self, kind: Kind, bound: float) -> float | None:
        """The bound nearest to stable's value that an equal canary passes by the deadline."""
        assert self.stable is not None
        reach = inf if self.gate.metric in _UNBOUNDED else 1 - self.stable if kind is Kind.CEILING else self.stable
        asked = bound if kind is Kind.MARGIN else abs(self.stable - bound)

        def in_time(distance: float) -> bool:
            nearest = distance if kind is Kind.MARGIN else self._at(kind, distance)
            return self._takes(self._asking(kind, nearest))[0] <= self.pace.max_duration_s

        low = high = max(asked if self._takes(self._asking(kind, bound))[0] < inf else 0.0, _LEAST)
        for _ in range(_DOUBLINGS):
            low, high = high, min(2 * high, reach * (1 - _LEAST))
            if high <= low:
                return None
            if in_time(high):
                break
        else:
            return None
        for _ in range(_HALVINGS):
            middle = sqrt(low * high)
            low, high = (low, middle) if in_time(middle) else (middle, high)
        return high if kind is Kind.MARGIN else self._at(kind, high)

    def _at(self, kind: Kind, distance: float) -> float:
        assert self.stable is not None
        return self.stable + distance if kind is Kind.CEILING else self.stable - distance


def _scaled(counts: ArmCounts, factor: float) -> ArmCounts:
    """As many of each as would be expected of ``factor`` times the labels."""

    def whole(bins: Sequence[int]) -> tuple[int, ...]:
        return tuple(round(n * factor) for n in bins)

    def table(cells: Confusion) -> Confusion:
        return {actual: {k: round(n * factor) for k, n in row.items()} for actual, row in cells.items()}

    return ArmCounts(
        confusion=table(counts.confusion),
        audit=table(counts.audit),
        proportions={
            name: Proportion(successes=round(part.successes * factor), trials=round(part.trials * factor))
            for name, part in counts.proportions.items()
        },
        buckets={
            name: Scores(negatives=whole(part.negatives), positives=whole(part.positives))
            for name, part in counts.buckets.items()
        },
        means={
            name: Moments(count=round(part.count * factor), sum=part.sum * factor, sumsq=part.sumsq * factor)
            for name, part in counts.means.items()
        },
    )
