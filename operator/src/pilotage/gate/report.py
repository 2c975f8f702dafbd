"""The numbers a verdict shows: estimates, intervals, and the sentence that says why a gate failed. Decides nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pilotage.gate.counts import Counts
from pilotage.gate.grids import fail_grid, floor_scale, margin_scale, pass_grid
from pilotage.gate.hypotheses import MIX, Kind
from pilotage.gate.interval import Interval, interval
from pilotage.gate.spec import AnalysisSpec, GateSpec
from pilotage.gate.state import GateMemory, Memory


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The intervals of one gate, computed when they are first looked at: verdicts are asked for far more often.

    ``passed``: the kinds of test that pass now; an interval never contradicts them.
    """

    gate: GateSpec
    memory: Memory
    held: GateMemory
    settings: AnalysisSpec
    passed: frozenset[Kind]

    @cached_property
    def metric(self) -> Interval | None:
        """The canary's metric over the mix; None while a stratum of it has no label."""
        gate = self.gate
        if Kind.FLOOR.value in self.held.tests:
            scale = self.held.tests[Kind.FLOOR.value].scale
        else:
            scale = floor_scale(gate.floor, None) if gate.floor is not None else margin_scale(gate.margin or 0.0)
        indices, coefficients = _arm(self.memory, self.held, canary=True)
        found = self._interval(indices, coefficients, scale, span=(0.0, 1.0))
        if found is None or gate.floor is None:
            return found
        return found.consistent_with(gate.floor, passed=Kind.FLOOR in self.passed)

    @cached_property
    def difference(self) -> Interval | None:
        """Canary's metric minus stable's over the mix; None without a margin or while a stratum has no label."""
        margin = self.gate.margin
        if margin is None or not self.memory.stable:
            return None
        canary, plus = _arm(self.memory, self.held, canary=True)
        stable, minus = _arm(self.memory, self.held, canary=False)
        coefficients = [*plus, *(-a for a in minus)]
        found = self._interval([*canary, *stable], coefficients, margin_scale(margin), span=(-1.0, 1.0))
        return found and found.consistent_with(-margin, passed=Kind.MARGIN in self.passed)

    def _interval(
        self, indices: Sequence[int], coefficients: Sequence[float], scale: float, *, span: tuple[float, float]
    ) -> Interval | None:
        return interval(
            self.held.total.at(indices),
            coefficients,
            below=pass_grid(scale),
            above=fail_grid(scale),
            alpha=self.settings.alpha,
            beta=self.settings.beta,
            span=span,
        )


def canary_value(memory: Memory, held: GateMemory) -> float | None:
    """The canary's metric over the mix; None while a stratum of it has no label."""
    indices, coefficients = _arm(memory, held, canary=True)
    return _value(held.total.at(indices), coefficients)


def stable_value(memory: Memory, held: GateMemory) -> float | None:
    """Stable's metric over the mix; None while a stratum of it has no label."""
    indices, coefficients = _arm(memory, held, canary=False)
    return _value(held.total.at(indices), coefficients)


def reason_of_failure(gate: GateSpec, memory: Memory, held: GateMemory, *, kind: Kind, scope: str) -> str:
    """Value, bound, labels and place, as one sentence; ``scope`` is the mix or a cluster."""
    only = None if scope == MIX else scope
    where = f"in {next(iter(memory.shares)) if len(memory.shares) == 1 else only}"
    if len(memory.shares) > 1 and only is None:
        where = "over all clusters"
    indices, coefficients = _arm(memory, held, canary=True, only=only)
    counts = held.total.at(indices)
    said = f"{gate.title} {_shown(_value(counts, coefficients))} {where}"
    labels = f"({sum(counts.n)} labels)"
    if kind is Kind.FLOOR:
        return f"{said} is below the floor {gate.floor:g} {labels}"
    indices, coefficients = _arm(memory, held, canary=False, only=only)
    against = _shown(_value(held.total.at(indices), coefficients))
    return f"{said} is more than {gate.margin:g} below stable's {against} {labels}"


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _arm(memory: Memory, held: GateMemory, *, canary: bool, only: str | None = None) -> tuple[list[int], list[float]]:
    rows = len(held.total.n) // len(memory.shares) // 2
    indices: list[int] = []
    coefficients: list[float] = []
    for k, (name, share) in enumerate(memory.shares.items()):
        weight = share if only is None else float(name == only)
        if weight > 0:
            first = 2 * rows * k + (0 if canary else rows)
            indices += range(first, first + rows)
            coefficients += [weight / rows] * rows
    return indices, coefficients


def _value(counts: Counts, coefficients: list[float]) -> float | None:
    if min(counts.n) == 0:
        return None
    return sum(a * s / n for a, s, n in zip(coefficients, counts.s, counts.n, strict=True))
