"""One test through time: pending counts become blocks, blocks become log e-values.

Invariants: a block closes by its numbers of trials only, never by successes; alternatives are set from counts
before the block; log e-values are rounded down, so storing them never adds evidence. Fail processes opened at
different starts share every later factor, so per alternative one number carries all of them:
``ln sum_i w_i exp(L_ij)``. Knows no clock, no gate name, no guard. Source: statistics.md §2.1–2.5, §5.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, floor, inf, log
from typing import Final

from pilotage.gate.contrast import log_ratio, projection
from pilotage.gate.counts import Counts
from pilotage.gate.grids import Grid, fail_grid, pass_grid
from pilotage.gate.hypotheses import Hypothesis, Kind, Scope

CLOSES_AT: Final = 5
_EDGE: Final = 1e-4
_ENOUGH_PAST: Final = 20
_DECIMALS: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeState:
    """``pending``: counts not yet in a block. ``fail``: per alternative, log of the weighted sum over starts.

    ``blocks``: closed so far.
    """

    pending: Counts
    fail: tuple[float, ...]
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """``scale``: the first effect bet on. ``passing``: log e-value per alternative. ``step_blocks``: since the last
    change of weight. ``latched``: the pass side has reached its threshold at some look.
    """

    scale: float
    passing: tuple[float, ...]
    latched: bool
    step_blocks: int
    scopes: tuple[ScopeState, ...]

    @property
    def blocks(self) -> int:
        """Blocks of the mix closed so far: each is a bet of the pass side."""
        return self.scopes[0].blocks

    @property
    def log_e_pass(self) -> float:
        """Log e-value against "violates the gate"; 0.0 before the first bet."""
        return _log_sum(
            [log(share) + value for (_, share), value in zip(pass_grid(self.scale), self.passing, strict=True)]
        )

    def log_e_fail(self, scope: int) -> float:
        """Log of the mean over alternatives of the fail side in one scope, all starts with their weights."""
        values = self.scopes[scope].fail
        return _log_sum([value - log(len(values)) for value in values])


def opened(test: Hypothesis, scale: float, *, passing: tuple[float, ...] | None = None) -> ProcessState:
    """A test before its first block; ``passing`` continues the pass side of an earlier attempt."""
    fail = (_start_weight(1),) * len(fail_grid(scale))
    return ProcessState(
        scale=scale,
        passing=passing or (0.0,) * len(pass_grid(scale)),
        latched=False,
        step_blocks=0,
        scopes=tuple(ScopeState(pending=Counts.zero(len(scope.strata)), fail=fail, blocks=0) for scope in test.scopes),
    )


def absorb(test: Hypothesis, state: ProcessState, added: Counts, before: Counts, seed: Counts) -> ProcessState:
    """Add increments; close the block of every scope in which each stratum has reached its five trials.

    ``added`` and ``before`` are the gate's vectors: this look's increments and the totals before them.
    """
    for index, scope in enumerate(test.scopes):
        news = added.at(scope.strata)
        if not any(news.n):
            continue
        held = state.scopes[index]
        pending = held.pending + news
        if min(pending.n) < CLOSES_AT:
            state = _with_scope(state, index, replace(held, pending=pending))
        else:
            past = before.at(scope.strata) - held.pending
            state = _close(test, state, index, pending, past, seed)
    return state


def turn(test: Hypothesis, state: ProcessState, total: Counts, seed: Counts, start: int) -> ProcessState:
    """The weight changed: close what is pending, open fail start number ``start`` (from 1).

    A pending block with a stratum never tried says nothing about the contrast; it only teaches the base rates.
    """
    for index, scope in enumerate(test.scopes):
        pending = state.scopes[index].pending
        if min(pending.n) >= 1:
            state = _close(test, state, index, pending, total.at(scope.strata) - pending, seed)
        held = state.scopes[index]
        fail = tuple(_down(_log_sum([value, _start_weight(start)])) for value in held.fail)
        state = _with_scope(state, index, replace(held, pending=Counts.zero(len(scope.strata)), fail=fail))
    return replace(state, step_blocks=0)


def _close(
    test: Hypothesis, state: ProcessState, index: int, block: Counts, past: Counts, seed: Counts
) -> ProcessState:
    scope = test.scopes[index]
    base = _base_rates(past.at(scope.teachers) + seed.at(scope.seeds))
    held = state.scopes[index]
    gains = _gains(test, scope, block, base, fail_grid(state.scale), side=-1)
    closed = ScopeState(pending=Counts.zero(len(block.n)), fail=_multiplied(held.fail, gains), blocks=held.blocks + 1)
    if index == 0:
        gains = _gains(test, scope, block, base, pass_grid(state.scale), side=1)
        state = replace(state, passing=_multiplied(state.passing, gains), step_blocks=state.step_blocks + 1)
    return _with_scope(state, index, closed)


def _base_rates(past: Counts) -> list[float] | None:
    """Rates the strata had before this block; thin strata lean on the others. None: too little past to bet on."""
    hits, trials = sum(past.s), sum(past.n)
    if trials < _ENOUGH_PAST:
        return None
    overall = (hits + 0.5) / (trials + 1)
    rates = []
    for s, n in zip(past.s, past.n, strict=True):
        lean = max(0, _ENOUGH_PAST - n)
        rates.append(_inside((s + lean * overall + 0.5) / (n + lean + 1)))
    return rates


def _gains(
    test: Hypothesis, scope: Scope, block: Counts, base: Sequence[float] | None, grid: Grid, *, side: int
) -> list[float]:
    if base is None:
        if test.kind is Kind.MARGIN:
            return [0.0] * len(grid)
        base = [test.bound] * len(scope.strata)
    gains = []
    for effect, _ in grid:
        rates = _alternative(test, scope, base, side * effect)
        distance = sum(a * t for a, t in zip(scope.coefficients, rates, strict=True)) - test.bound
        if distance * side <= 0:
            gains.append(0.0)
            continue
        nearest, _ = projection(block.n, rates, scope.coefficients, test.bound)
        gains.append(log_ratio(block.s, block.n, rates, nearest))
    return gains


def _alternative(test: Hypothesis, scope: Scope, base: Sequence[float], effect: float) -> list[float]:
    """Rates of all strata if the contrast lay ``effect`` away from its bound, base rates as they were."""
    match test.kind:
        case Kind.FLOOR:
            level = sum(a * rate for a, rate in zip(scope.coefficients, base, strict=True))
            shift = test.bound + effect - level
            return [_inside(rate + shift) for rate in base]
        case Kind.MARGIN:
            rates: list[float] = []
            for first in range(0, len(base), test.rows):
                stable = base[first : first + test.rows]
                rates += [_inside(rate + test.bound + effect) for rate in stable]
                rates += stable
            return rates


def _with_scope(state: ProcessState, index: int, scope: ScopeState) -> ProcessState:
    return replace(state, scopes=(*state.scopes[:index], scope, *state.scopes[index + 1 :]))


def _multiplied(values: Sequence[float], gains: Sequence[float]) -> tuple[float, ...]:
    return tuple(_down(value + gain) for value, gain in zip(values, gains, strict=True))


def _start_weight(start: int) -> float:
    return _down(-log(start * (start + 1)))


def _inside(rate: float) -> float:
    return min(max(rate, _EDGE), 1 - _EDGE)


def _down(value: float) -> float:
    return floor(value * _DECIMALS) / _DECIMALS


def _log_sum(values: Sequence[float]) -> float:
    top = max(values)
    # Nine decimals: an untouched mixture is exactly 0, and no threshold lies that near.
    return top if top == -inf else round(top + log(sum(exp(value - top) for value in values)), 9)
