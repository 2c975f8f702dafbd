"""One exact test through time: pending counts become blocks, blocks become log e-values. Implements ``engine.Test``.

Invariants: a block closes by its numbers of trials only, never by successes; alternatives are set from counts before
the block; log e-values are rounded down, so storing them never adds evidence. Fail processes opened at different
starts share every later factor, so per alternative one number carries all of them: ``ln sum_i w_i exp(L_ij)``.
Knows no clock, no gate name, no guard. Source: statistics.md §2.1–2.7, §5.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any, Final

from pilotage.gate.clumps import NO_CLUMPS, Clumps
from pilotage.gate.counts import Counts
from pilotage.gate.engine import Arms, Kind, Look, Opening, Scope, start_share
from pilotage.gate.families import Bursts, Family, Part
from pilotage.gate.grids import Grid
from pilotage.gate.logsum import down, log_sum
from pilotage.gate.seeding import base_rates, divided, seed_of
from pilotage.gate.tallies import Row, Rows, tally

CLOSES_AT: Final = 5
_CLEAN_PAIRS: Final = 30  # pairs of blocks believed to be without clumps: with 30 clean data hardly pay


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeState:
    """``pending``: counts not yet in a block. ``fail``: per alternative, log of the weighted sum over starts.

    ``blocks``: closed so far.
    """

    pending: Counts
    fail: tuple[float, ...]
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactState:
    """``scale``: the first effect bet on. ``seed``: stable's history. ``passing``: log e-value per alternative.
    ``step_blocks``: closed by the mix since the last change of weight. ``clumps``: what closed blocks say of them.
    """

    scale: float
    bursts: Bursts
    clumps: Clumps = NO_CLUMPS
    seed: Counts
    passing: tuple[float, ...]
    step_blocks: int
    scopes: tuple[ScopeState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactTest:
    """One boundary. ``question``: its words, which seed the division of a first block; ``clusters``: in the vector's
    order; ``parts``: where each scope finds its strata; ``default_scale``: the effect to look for without history.
    """

    kind: Kind
    question: str
    family: Family
    clusters: tuple[str, ...]
    scopes: tuple[Scope, ...]
    parts: tuple[Part, ...]

    def opened(self, opening: Opening) -> ExactState:
        """Before the first block; an earlier attempt's pass side goes on."""
        start = seed_of(self.family, self.clusters, self.scopes[0], opening.history)
        scale, passing = start.scale, None
        if isinstance(opening.earlier, ExactState):
            scale, passing = opening.earlier.scale, opening.earlier.passing
        fail = (down(log(start_share(1))),) * len(self.family.stakes(scale, -1))
        width = self.family.tally.width
        return ExactState(
            scale=scale,
            bursts=start.bursts,
            seed=start.counts,
            passing=passing or (0.0,) * len(self.family.stakes(scale, 1)),
            step_blocks=0,
            scopes=tuple(
                ScopeState(pending=Counts.zero(len(part.strata), width), fail=fail, blocks=0) for part in self.parts
            ),
        )

    def absorb(self, state: ExactState, look: Look) -> ExactState:
        """Add increments; close the block of every scope in which each stratum has reached its five trials."""
        added = self._vector(look.added)
        if not added:
            return state
        before: Counts | None = None
        factor = state.clumps.factor(_CLEAN_PAIRS)  # as it stood before this look: all scopes bet by it
        for index, part in enumerate(self.parts):
            news = added.at(part.strata)
            if not news:
                continue
            held = state.scopes[index]
            pending = held.pending + news
            if min(pending.n) < CLOSES_AT:
                state = _with_scope(state, index, replace(held, pending=pending))
                continue
            before = before or self._vector(look.before)
            state = self._close(state, index, pending, before.at(part.strata) - held.pending, factor)
        return state

    def turn(self, state: ExactState, look: Look, start: int) -> ExactState:
        """The weight changed: close what is pending, open another fail start.

        A pending block with a stratum never tried says nothing about the boundary; it only teaches the base rates.
        """
        total, factor = self._vector(look.after), state.clumps.factor(_CLEAN_PAIRS)
        opens = down(log(start_share(start)))
        for index, part in enumerate(self.parts):
            pending = state.scopes[index].pending
            if min(pending.n) >= 1:
                state = self._close(state, index, pending, total.at(part.strata) - pending, factor)
            held = state.scopes[index]
            fail = tuple(down(log_sum([value, opens])) for value in held.fail)
            zero = Counts.zero(len(part.strata), pending.width)
            state = _with_scope(state, index, replace(held, pending=zero, fail=fail))
        return replace(state, step_blocks=0)

    def log_e_pass(self, state: ExactState) -> float:
        """Log e-value against "violates the gate"; 0.0 before the first bet."""
        stakes = self.family.stakes(state.scale, 1)
        return log_sum([log(share) + value for (_, share), value in zip(stakes, state.passing, strict=True)])

    def log_e_fail(self, state: ExactState, scope: int) -> float:
        """Log of the stakes' mean over alternatives in one scope, all starts with their weights."""
        stakes = self.family.stakes(state.scale, -1)
        fail = state.scopes[scope].fail
        return log_sum([log(share) + value for (_, share), value in zip(stakes, fail, strict=True)])

    def bets(self, state: ExactState) -> int:
        """Blocks closed in all scopes."""
        return sum(scope.blocks for scope in state.scopes)

    def step_bets(self, state: ExactState) -> int:
        """Blocks of the mix since the weight changed."""
        return state.step_blocks

    def encode(self, state: ExactState) -> Mapping[str, Any]:
        """JSON; a cluster's pending counts are written once while they are the mix's own."""
        mix, *clusters = state.scopes
        written: dict[str, Any] = {
            "scale": state.scale,
            "seed": state.seed.to_json(),
            "pass": state.passing,
            "stepBlocks": state.step_blocks,
            "scopes": [_encode_scope(mix, None)]
            + [_encode_scope(scope, part) for scope, part in zip(clusters, self._shares_of(mix), strict=True)],
        }
        if state.clumps != NO_CLUMPS:
            written["clumps"] = state.clumps.to_list()
        return written if state.bursts == Bursts() else written | {"bursts": [state.bursts.factor, state.bursts.size]}

    def decode(self, raw: Mapping[str, Any]) -> ExactState:
        """Inverse of ``encode``."""
        mix, *clusters = raw["scopes"]
        first = _decode_scope(mix, None)
        factor, size = raw.get("bursts", (1.0, 1.0))
        return ExactState(
            scale=raw["scale"],
            bursts=Bursts(factor=factor, size=size),
            clumps=Clumps.from_list(raw["clumps"]) if "clumps" in raw else NO_CLUMPS,
            seed=Counts.from_json(raw["seed"]),
            passing=tuple(raw["pass"]),
            step_blocks=raw["stepBlocks"],
            scopes=(
                first,
                *(_decode_scope(scope, part) for scope, part in zip(clusters, self._shares_of(first), strict=True)),
            ),
        )

    def _close(self, state: ExactState, index: int, block: Counts, past: Counts, factor: float) -> ExactState:
        part, held = self.parts[index], state.scopes[index]
        known = past.at(part.teachers) + state.seed.at(part.seeds)
        base = base_rates(known)
        bets = [(base, block)]
        if base is None and self.family.needs_past:
            draws = divided(block, part.teachers, f"{self.question}/{self.scopes[index].name}/{held.blocks}")
            bets = [(base_rates(known + taught), rest) for taught, rest in draws]
        gains = {}
        for side in (1, -1) if index == 0 else (-1,):
            effects = self.family.stakes(state.scale, side)
            gains[side] = [gain / factor for gain in self._gains(part, bets, effects, side, state.bursts)]
        if index == 0:
            passing, clumps = _multiplied(state.passing, gains[1]), self._clumps(state.clumps, block, base)
            state = replace(state, passing=passing, step_blocks=state.step_blocks + 1, clumps=clumps)
        zero = Counts.zero(block.strata, block.width)
        closed = ScopeState(pending=zero, fail=_multiplied(held.fail, gains[-1]), blocks=held.blocks + 1)
        return _with_scope(state, index, closed)

    def _clumps(self, clumps: Clumps, block: Counts, base: Sequence[float] | None) -> Clumps:
        """Where the arm that sets base rates stood in a block of labels; requests have their bursts from history."""
        part, tallied = self.parts[0], self.family.tally
        if base is None or not isinstance(tallied, Rows) or tallied.row is Row.REQUESTS:
            return clumps
        s, n, level, variance = block.s, block.n, 0.0, 0.0
        for place, rate in zip(part.teachers, base, strict=True):
            a = part.coefficients[place]
            level += a * s[place] / n[place]
            variance += a * a * rate * (1 - rate) / n[place]
        return clumps.after(level, variance)

    def _gains(
        self,
        part: Part,
        bets: Sequence[tuple[Sequence[float] | None, Counts]],
        effects: Grid,
        side: int,
        bursts: Bursts,
    ) -> list[float]:
        """Per alternative, the log of the mean over bets; nothing is bet on base rates that are not known."""
        if self.family.needs_past and bets[0][0] is None:
            return [0.0] * len(effects)
        found = [self.family.gains(part, block, base, effects, side, bursts) for base, block in bets]
        if len(found) == 1:
            return found[0]
        return [log_sum(values) - log(len(values)) for values in zip(*found, strict=True)]

    def _vector(self, arms: Arms) -> Counts:
        return tally(self.family.tally, self.clusters, arms)

    def _shares_of(self, mix: ScopeState) -> list[Counts]:
        """The mix's pending counts, cluster by cluster; what is no cluster's own has another length."""
        places = {stratum: place for place, stratum in enumerate(self.parts[0].strata)}
        return [
            mix.pending.at([places[stratum] for stratum in part.strata if stratum in places]) for part in self.parts[1:]
        ]


def _encode_scope(scope: ScopeState, part: Counts | None) -> dict[str, Any]:
    # Until a cluster closes a block before the mix does, its pending counts are the mix's own: written once.
    told = {"fail": scope.fail, "blocks": scope.blocks}
    return told if scope.pending == part else told | {"pending": scope.pending.to_json()}


def _decode_scope(raw: Mapping[str, Any], part: Counts | None) -> ScopeState:
    pending = Counts.from_json(raw["pending"]) if "pending" in raw or part is None else part
    return ScopeState(pending=pending, fail=tuple(raw["fail"]), blocks=raw["blocks"])


def _with_scope(state: ExactState, index: int, scope: ScopeState) -> ExactState:
    return replace(state, scopes=(*state.scopes[:index], scope, *state.scopes[index + 1 :]))


def _multiplied(values: Sequence[float], gains: Sequence[float]) -> tuple[float, ...]:
    return tuple(down(value + gain) for value, gain in zip(values, gains, strict=True))
