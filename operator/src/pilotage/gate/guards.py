"""Guards without labels: may fail a rollout, are never asked for a pass. Implements ``engine.Test``.

``predictionShift``: some set of classes is predicted more often by the canary than by stable, by more than the margin:
the total variation distance of the predicted classes. ``confidenceShift``: the accuracy that the models' own
probabilities promise (the mean of the largest one, by bucket) falls by more than the margin.

Both give every served row a value x in [0, 1] and bet against "the mean of x over the mix is at most ``margin`` greater
for the canary". For the shift x says whether the row's class is in the set that the canary has predicted more often
*so far*: under the null no set is off by more than the margin, so any set chosen beforehand may be bet on. A row
multiplies the evidence by x t/q + (1 − x)(1 − t)/(1 − q), linear in x, with t the alternative's rates and q the nearest
of the null: the expectation over a block is at most 1 as for proportions (statistics.md §2.1, §2.5), which are the case
of x in {0, 1}. The promise is what the literature calls confidence-based performance estimation (CBPE).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Any, Final

from pilotage.gate.arm import ArmCounts
from pilotage.gate.blocks import CONFIDENCE_BUCKETS
from pilotage.gate.contrast import projection
from pilotage.gate.counts import Counts
from pilotage.gate.engine import Arms, Kind, Look, Opening, Scope, start_share
from pilotage.gate.families import inside
from pilotage.gate.grids import Grid, fail_grid, margin_scale
from pilotage.gate.logsum import down, log_sum
from pilotage.gate.packing import pack, unpack
from pilotage.gate.spec import GateSpec, Metric

CLOSES_AT: Final = 20
_LEAST_LOG_ODDS: Final = -1.75
_LOG_ODDS_STEP: Final = 0.5
_NOTHING: Final = ArmCounts()

CONFIDENCES: Final = tuple(
    1 / (1 + exp(-(_LEAST_LOG_ODDS + _LOG_ODDS_STEP * bucket))) for bucket in range(CONFIDENCE_BUCKETS)
)
"""The largest probability in the middle of every bucket: edges lie at log-odds −1.5, −1.0, …, 7.5."""

Cells = Callable[[ArmCounts], Sequence[int]]
"""Rows of one arm by predicted class, or by bucket of confidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardScope:
    """``pending``: rows not yet in a block, canary's and stable's cells cluster by cluster. ``fail``: per alternative,
    log of the weighted sum over starts. ``blocks``: closed so far.
    """

    pending: Counts
    fail: tuple[float, ...]
    blocks: int


GuardState = tuple[GuardScope, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardTest:
    """``names``: of the cells. ``values``: x of every cell, where it is fixed beforehand; None: the set that the canary
    predicts more often.
    """

    margin: float
    scopes: tuple[Scope, ...]
    names: tuple[str, ...]
    cells: Cells
    values: tuple[float, ...] | None

    @property
    def width(self) -> int:
        """How many cells an arm has."""
        return len(self.names)

    @property
    def kind(self) -> Kind:
        """The only test of its gate."""
        return Kind.SHIFT

    @property
    def effects(self) -> Grid:
        """How far beyond the margin the alternatives lie."""
        return fail_grid(margin_scale(self.margin))

    def opened(self, opening: Opening) -> GuardState:
        """Before the first block. History is of no use: what matters is how the arms differ at the same time."""
        fail = (down(log(start_share(1))),) * len(self.effects)
        return tuple(
            GuardScope(pending=Counts.zero(2 * len(scope.weights), self.width), fail=fail, blocks=0)
            for scope in self.scopes
        )

    def absorb(self, state: GuardState, look: Look) -> GuardState:
        """Add increments; close the block of every scope in which each arm has reached its twenty rows."""
        scopes = list(state)
        for index, scope in enumerate(self.scopes):
            news = self._vector(scope, look.added)
            if news:
                held = replace(state[index], pending=state[index].pending + news)
                ripe = min(held.pending.n) >= CLOSES_AT
                scopes[index] = self._closed(scope, held, self._vector(scope, look.after)) if ripe else held
        return tuple(scopes) if any(a is not b for a, b in zip(scopes, state, strict=True)) else state

    def turn(self, state: GuardState, look: Look, start: int) -> GuardState:
        """The weight changed: close what is pending, open another fail start."""
        opens, scopes = down(log(start_share(start))), []
        for scope, held in zip(self.scopes, state, strict=True):
            if min(held.pending.n) >= 1:
                held = self._closed(scope, held, self._vector(scope, look.after))
            fail = tuple(down(log_sum([value, opens])) for value in held.fail)
            scopes.append(replace(held, pending=Counts.zero(held.pending.strata, self.width), fail=fail))
        return tuple(scopes)

    def log_e_pass(self, state: GuardState) -> float:
        """A guard has no pass side."""
        return 0.0

    def log_e_fail(self, state: GuardState, scope: int) -> float:
        """Log of the stakes' mean over alternatives in one scope, all starts with their weights."""
        return log_sum([log(share) + value for (_, share), value in zip(self.effects, state[scope].fail, strict=True)])

    def bets(self, state: GuardState) -> int:
        """Blocks closed in all scopes."""
        return sum(scope.blocks for scope in state)

    def step_bets(self, state: GuardState) -> int:
        """None: there is no pass side."""
        return 0

    def shift(self, scope: Scope, arms: Arms) -> float | None:
        """How much greater the mean of x is for the canary, from sums of counts; None while an arm has none."""
        counts = self._vector(scope, arms)
        if min(counts.n) == 0:
            return None
        means = _means(counts, self.values or self._chosen(scope, counts))
        return sum(w * (means[2 * k] - means[2 * k + 1]) for k, (_, w) in enumerate(scope.weights))

    def described(self, scope: Scope, arms: Arms) -> str:
        """The shift and what moved most, in words; empty while an arm has no rows."""
        found = self.shift(scope, arms)
        if found is None:
            return ""
        counts = self._vector(scope, arms)
        if self.values is not None:
            ours, theirs = self._mixed(scope, _means(counts, self.values))
            return f"promised accuracy {1 - ours:.3f} is {found:.3f} below stable's {1 - theirs:.3f}"
        cells = range(self.width)
        shares = [self._mixed(scope, _means(counts, [float(cell == one) for cell in cells])) for one in cells]
        most = max(cells, key=lambda cell: abs(shares[cell][0] - shares[cell][1]))
        ours, theirs, name = *shares[most], self.names[most]
        return f"{found:.3f} of the predictions moved, most of them {name!r}: {ours:.1%}, stable's {theirs:.1%}"

    def encode(self, state: GuardState) -> Mapping[str, Any]:
        """JSON."""
        return {"scopes": [[scope.blocks, pack(scope.pending.cells), scope.fail] for scope in state]}

    def decode(self, raw: Mapping[str, Any]) -> GuardState:
        """Inverse of ``encode``."""
        return tuple(
            GuardScope(
                pending=Counts(width=self.width, cells=tuple(map(int, unpack(cells)))), fail=tuple(fail), blocks=blocks
            )
            for blocks, cells, fail in raw["scopes"]
        )

    def _vector(self, scope: Scope, arms: Arms) -> Counts:
        cells: list[int] = []
        for name, _ in scope.weights:
            of = arms.get(name, {})
            for arm in ("canary", "stable"):
                found = self.cells(of.get(arm, _NOTHING))
                cells += found or (0,) * self.width
        return Counts(width=self.width, cells=tuple(cells))

    def _closed(self, scope: Scope, held: GuardScope, total: Counts) -> GuardScope:
        past, block = total - held.pending, held.pending
        zero = Counts.zero(block.strata, self.width)
        if min(past.n) < CLOSES_AT:  # it has taught, and that is all
            return GuardScope(pending=zero, fail=held.fail, blocks=held.blocks + 1)
        gains = self._gains(scope, block, past, self.values or self._chosen(scope, past))
        fail = tuple(down(value + gain) for value, gain in zip(held.fail, gains, strict=True))
        return GuardScope(pending=zero, fail=fail, blocks=held.blocks + 1)

    def _chosen(self, scope: Scope, counts: Counts) -> tuple[float, ...]:
        """1 for the classes that the canary has predicted more often over the mix."""
        more = [0.0] * self.width
        for k, (_, weight) in enumerate(scope.weights):
            for sign, stratum in ((weight, 2 * k), (-weight, 2 * k + 1)):
                cells = counts.cells[stratum * self.width : (stratum + 1) * self.width]
                total = sum(cells)
                more = [value + sign * n / total for value, n in zip(more, cells, strict=True)]
        return tuple(1.0 if value > 0 else 0.0 for value in more)

    def _mixed(self, scope: Scope, means: Sequence[float]) -> tuple[float, float]:
        """Canary's and stable's value over the mix."""
        weights = [weight for _, weight in scope.weights]
        ours, theirs = (sum(w * mean for w, mean in zip(weights, means[arm::2], strict=True)) for arm in (0, 1))
        return ours, theirs

    def _gains(self, scope: Scope, block: Counts, past: Counts, values: Sequence[float]) -> list[float]:
        coefficients = [sign * weight for _, weight in scope.weights for sign in (1, -1)]
        stable = [inside(mean) for mean in _means(past, values)[1::2]]
        gains = []
        for effect, _ in self.effects:
            rates = [rate for mean in stable for rate in (inside(mean + self.margin + effect), mean)]
            if sum(a * t for a, t in zip(coefficients, rates, strict=True)) <= self.margin:
                gains.append(0.0)
                continue
            nearest, _ = projection(block.n, rates, coefficients, self.margin)
            gains.append(_log_ratio(block, values, rates, nearest))
        return gains


def guard_test(gate: GateSpec, classes: Sequence[str], scopes: Sequence[Scope]) -> GuardTest:
    """The test of a guard."""
    margin = gate.margin or 0.0
    if gate.metric is Metric.CONFIDENCE_SHIFT:
        doubts = tuple(1 - confidence for confidence in CONFIDENCES)  # more doubt is worse
        buckets = tuple(map(str, range(CONFIDENCE_BUCKETS)))
        return GuardTest(margin=margin, scopes=tuple(scopes), names=buckets, cells=_confidence, values=doubts)
    names = tuple(classes)

    def served(counts: ArmCounts) -> Sequence[int]:
        return tuple(counts.served.get(name, 0) for name in names)

    return GuardTest(margin=margin, scopes=tuple(scopes), names=names, cells=served, values=None)


def _confidence(counts: ArmCounts) -> Sequence[int]:
    return counts.confidence


def _means(counts: Counts, values: Sequence[float]) -> list[float]:
    """Mean value per stratum; every stratum has rows."""
    width = len(values)
    return [
        sum(x * n for x, n in zip(values, counts.cells[at * width : (at + 1) * width], strict=True)) / total
        for at, total in enumerate(counts.n)
    ]


def _log_ratio(block: Counts, values: Sequence[float], rates: Sequence[float], nearest: Sequence[float]) -> float:
    width, total = len(values), 0.0
    for at, (t, q) in enumerate(zip(rates, nearest, strict=True)):
        hit, miss = t / q, (1 - t) / (1 - q)
        for x, n in zip(values, block.cells[at * width : (at + 1) * width], strict=True):
            if n:
                total += n * log(x * hit + (1 - x) * miss)
    return total
