"""The numbers a verdict shows: estimates, intervals, and the sentence that says why a gate failed. Decides nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from pilotage.gate.arm import ArmCounts
from pilotage.gate.composite import CompositeTest
from pilotage.gate.composite_interval import metric_interval, pooled_difference, weighed_difference
from pilotage.gate.composites import reach_of
from pilotage.gate.denominators import labels_in
from pilotage.gate.engine import Kind, Scope, Test
from pilotage.gate.estimates import Mix, binning, estimate
from pilotage.gate.grids import fail_grid, floor_scale, margin_scale, pass_grid
from pilotage.gate.guards import guard_test
from pilotage.gate.interval import Interval, interval
from pilotage.gate.jaccard import f1_of
from pilotage.gate.memory import Memory
from pilotage.gate.metrics import can_pair, jaccard_rows, proportions_of
from pilotage.gate.spec import AnalysisSpec, GateSpec, Metric
from pilotage.gate.tallies import Rows, tally

_NOTHING = ArmCounts()


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The intervals of one gate, computed when they are first looked at: verdicts are asked for far more often.

    ``passed``: the kinds of test that pass now; an interval never contradicts them.
    """

    gate: GateSpec
    tests: Sequence[Test]
    memory: Memory
    settings: AnalysisSpec
    passed: frozenset[Kind]

    @cached_property
    def metric(self) -> Interval | None:
        """The canary's metric over the mix; None while it is undefined."""
        gate, value = self.gate, canary_value(self.gate, self.memory)
        if value is None:
            return None
        found = (self._metric() or Interval(estimate=value, lower=0.0, upper=self._reach)).around(value)
        if gate.limit is None:
            return found
        kind = Kind.CEILING if gate.is_loss else Kind.FLOOR
        return found.consistent_with(gate.limit, passed=kind in self.passed, below=gate.is_loss)

    @cached_property
    def difference(self) -> Interval | None:
        """Canary's metric minus stable's over the mix; None without a margin or while either is undefined."""
        gate, margin = self.gate, self.gate.margin
        ours, theirs = canary_value(gate, self.memory), stable_value(gate, self.memory)
        if margin is None or not self.memory.stable or ours is None or theirs is None:
            return None
        bound = margin if gate.is_loss else -margin
        whole = Interval(estimate=ours - theirs, lower=-self._reach, upper=self._reach)
        found = (self._difference() or whole).around(ours - theirs)
        return found.consistent_with(bound, passed=Kind.MARGIN in self.passed, below=gate.is_loss)

    @cached_property
    def binning(self) -> float | None:
        """How far a ROC-AUC may be off because scores are known to a bucket only; None for other metrics."""
        return binning(self.gate, self.memory.classes, self._mix("canary"))

    @property
    def _reach(self) -> float:
        """Where too little is counted for an interval, nothing that the metric can be is ruled out."""
        return reach_of(self.gate, self.memory.classes)

    def _metric(self) -> Interval | None:
        gate, classes = self.gate, self.memory.classes
        found = proportions_of(gate, classes)
        if found is not None:
            limit = None if gate.limit is None else found.bound_of(gate.limit)
            scale = margin_scale(found.margin_of(gate.margin or 0.0)) if limit is None else floor_scale(limit, None)
            inner = self._contrast(found.rows, scale, (1.0, 0.0))
            return inner and inner.mapped(lambda p: found.offset + found.factor * p)
        rows = jaccard_rows(gate)
        if rows is not None and len(self.memory.shares) == 1:
            inner = self._contrast(rows, 0.02, (1.0, 0.0))
            return inner and inner.mapped(f1_of)
        return metric_interval(gate, classes, self._mix("canary"), alpha=self.settings.alpha, beta=self.settings.beta)

    def _difference(self) -> Interval | None:
        gate = self.gate
        found = proportions_of(gate, self.memory.classes)
        if found is None:
            return self._smooth_difference()
        inner = self._contrast(found.rows, margin_scale(found.margin_of(gate.margin or 0.0)), (1.0, -1.0))
        return inner and inner.mapped(lambda d: found.factor * d)

    def _smooth_difference(self) -> Interval | None:
        gate, memory, settings = self.gate, self.memory, self.settings
        test = next(test for test in self.tests if test.kind is Kind.MARGIN)
        if isinstance(test, CompositeTest):
            state = memory.gates[gate.name].tests[test.kind.value]
            return weighed_difference(gate, test, state, alpha=settings.alpha, beta=settings.beta)
        canary, stable = self._mix("canary"), self._mix("stable")
        return pooled_difference(gate, memory.classes, canary, stable, alpha=settings.alpha, beta=settings.beta)

    def _mix(self, arm: str) -> Mix:
        return _mix(self.memory.shares.items(), self.memory, arm)

    def _contrast(self, rows: Rows, scale: float, arms: tuple[float, float]) -> Interval | None:
        """Over the mix, of canary's and stable's rows with these signs."""
        served = {name: share for name, share in self.memory.shares.items() if share > 0}
        size = len(rows.about)
        strata: list[int] = []
        coefficients: list[float] = []
        for k, share in enumerate(served.values()):
            for arm, sign in enumerate(arms):
                if sign:
                    first = (2 * k + arm) * size
                    strata += range(first, first + size)
                    coefficients += [sign * share / size] * size
        return interval(
            tally(rows, list(served), self.memory.sums).at(strata),
            coefficients,
            below=pass_grid(scale),
            above=fail_grid(scale),
            alpha=self.settings.alpha,
            beta=self.settings.beta,
            span=(-1.0 if arms[1] else 0.0, 1.0),
        )


def canary_value(gate: GateSpec, memory: Memory, scope: Scope | None = None) -> float | None:
    """The canary's metric over the mix (or a scope); None while it is undefined."""
    return _value(gate, memory, "canary", scope)


def stable_value(gate: GateSpec, memory: Memory, scope: Scope | None = None) -> float | None:
    """Stable's metric over the mix (or a scope); None while it is undefined."""
    return _value(gate, memory, "stable", scope)


def reason_of_failure(gate: GateSpec, memory: Memory, *, kind: Kind, scope: Scope) -> str:
    """Value, bound, labels and place, as one sentence.

    A process that was opened by a change of weight may fail although the value over all labels keeps the bound.
    """
    clusters = [name for name, _ in scope.weights]
    everywhere = len(memory.shares) > 1 and scope.name not in memory.shares
    where = "over all clusters" if everywhere else f"in {clusters[0]}"
    n = labels_in(gate, memory.sums, "canary", clusters)
    what = "requests" if gate.metric in (Metric.ERROR_RATE, Metric.LATENCY) else "rows" if gate.is_guard else "labels"
    if kind is Kind.SHIFT:
        moved = guard_test(gate, memory.classes, [scope]).described(scope, memory.sums)
        return f"{gate.title} {where} is more than {gate.margin:g}: {moved} ({n} {what})"
    value, stable = canary_value(gate, memory, scope), stable_value(gate, memory, scope)
    if kind is Kind.FLOOR:
        worse, claim = _exceeds(gate.floor, value), f"below the floor {gate.floor:g}"
    elif kind is Kind.CEILING:
        worse, claim = _exceeds(value, gate.ceiling), f"above the ceiling {gate.ceiling:g}"
    else:
        side, pair = ("above", (value, stable)) if gate.is_loss else ("below", (stable, value))
        worse, claim = (
            _exceeds(*pair, by=gate.margin or 0.0),
            f"more than {gate.margin:g} {side} stable's {_shown(stable)}",
        )
    said = f"{gate.title} {_shown(value)} {where}"
    if worse:
        return f"{said} is {claim} ({n} {what})"
    return f"{said} over all {n} {what}, but since a change of weight it is {claim}"


def _exceeds(one: float | None, other: float | None, *, by: float = 0.0) -> bool:
    return one is None or other is None or one - other >= by


def _value(gate: GateSpec, memory: Memory, arm: str, scope: Scope | None) -> float | None:
    weights = memory.shares.items() if scope is None else scope.weights
    found = estimate(gate, memory.classes, _mix(weights, memory, arm))
    return _paired(gate, memory, arm, list(weights)) if found is None else found


def _mix(weights: Iterable[tuple[str, float]], memory: Memory, arm: str) -> Mix:
    return [(share, memory.sums.get(name, {}).get(arm, _NOTHING)) for name, share in weights]


def _paired(gate: GateSpec, memory: Memory, arm: str, weights: Sequence[tuple[str, float]]) -> float | None:
    """The share of right answers in pairs, where labels came in no other way."""
    if not can_pair(gate):
        return None
    total = 0.0
    for name, share in weights:
        arms = memory.sums.get(name, {})
        found = (arms[known].pairs.get(gate.class_name or "") for known in ("canary", "stable") if known in arms)
        pairs = next((part for part in found if part is not None), None)
        if share > 0:
            if pairs is None or not pairs.total:
                return None
            total += share * (pairs.n11 + (pairs.n10 if arm == "canary" else pairs.n01)) / pairs.total
    return total


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
