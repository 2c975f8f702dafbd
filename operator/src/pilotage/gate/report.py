"""The numbers a verdict shows: estimates, intervals, and the sentence that says why a gate failed. Decides nothing."""

from collections.abc import Mapping
from typing import Any

from pilotage.gate.counts import Counts
from pilotage.gate.grids import fail_grid, floor_scale, margin_scale, pass_grid
from pilotage.gate.hypotheses import MIX, Kind
from pilotage.gate.interval import Interval, interval
from pilotage.gate.spec import AnalysisSpec, GateSpec
from pilotage.gate.state import GateMemory, Memory


def metric_interval(gate: GateSpec, memory: Memory, held: GateMemory, settings: AnalysisSpec) -> Interval | None:
    """The canary's metric over the mix; None while a stratum of it has no label."""
    floor_test = held.tests.get(Kind.FLOOR.value)
    if floor_test is not None:
        scale = floor_test.scale
    elif gate.floor is not None:
        scale = floor_scale(gate.floor, None)
    else:
        scale = margin_scale(gate.margin or 0.0)
    indices, coefficients = _arm(memory, held, canary=True)
    return _interval(held.total.at(indices), coefficients, scale, settings, span=(0.0, 1.0))


def difference_interval(gate: GateSpec, memory: Memory, held: GateMemory, settings: AnalysisSpec) -> Interval | None:
    """Canary's metric minus stable's over the mix; None without a margin or while a stratum has no label."""
    if gate.margin is None or not memory.stable:
        return None
    canary, plus = _arm(memory, held, canary=True)
    stable, minus = _arm(memory, held, canary=False)
    return _interval(
        held.total.at([*canary, *stable]),
        [*plus, *(-a for a in minus)],
        margin_scale(gate.margin),
        settings,
        span=(-1.0, 1.0),
    )


def stable_value(memory: Memory, held: GateMemory) -> float | None:
    """Stable's metric over the mix; None while a stratum of it has no label."""
    indices, coefficients = _arm(memory, held, canary=False)
    return _value(held.total.at(indices), coefficients)


def reason_of_failure(gate: GateSpec, memory: Memory, held: GateMemory, failed: Mapping[str, Any]) -> str:
    """Value, bound, labels and place of the test that failed the gate."""
    scope = failed["scope"] if failed["gate"] == gate.name else MIX
    kind = failed["test"] if failed["gate"] == gate.name else next(iter(held.tests))
    where = "over all clusters" if scope == MIX else f"in {scope}"
    if len(memory.shares) == 1:
        where = f"in {next(iter(memory.shares))}"
    indices, coefficients = _arm(memory, held, canary=True, only=None if scope == MIX else scope)
    counts = held.total.at(indices)
    value = _value(counts, coefficients)
    shown = f"{gate.title} {value:.3f}" if value is not None else gate.title
    labels = f"{sum(counts.n)} labels"
    if kind == Kind.FLOOR.value:
        return f"{shown} {where} is below the floor {gate.floor:g} ({labels})"
    indices, coefficients = _arm(memory, held, canary=False, only=None if scope == MIX else scope)
    other = _value(held.total.at(indices), coefficients)
    against = f"stable's {other:.3f}" if other is not None else "stable"
    return f"{shown} {where} is more than {gate.margin:g} below {against} ({labels})"


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


def _interval(
    counts: Counts, coefficients: list[float], scale: float, settings: AnalysisSpec, *, span: tuple[float, float]
) -> Interval | None:
    return interval(
        counts,
        coefficients,
        below=pass_grid(scale),
        above=fail_grid(scale),
        alpha=settings.alpha,
        beta=settings.beta,
        span=span,
    )
