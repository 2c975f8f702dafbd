"""A test of a smooth metric: cumulative counts in, Gaussian log e-values out; implements ``engine.Test``.

Counts are compared within a *stratum*: what was counted since the weight last changed. Inside it both arms lived
through the same times in the same proportion, so a drifting base rate cancels; over its clusters counts are mixed by
the frozen shares; strata are never pooled, their evidence adds up. A canary against a fixed value is compared with
nothing, so its pass side reads all strata as one. A stratum is weighed anew when it has grown by five labels and one
part in 64 (a rule on numbers of labels only), and two numbers per side are kept of it. One that never ripens says
nothing. Labels that come in bursts say less than independent ones: ``clumps`` sees by how much.
Knows no gate, no threshold and no clock. Source: statistics.md §3, §5.3, §6.3.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pilotage.gate.arm import ArmCounts
from pilotage.gate.composite_state import CompositeState, FailSide, Sums
from pilotage.gate.engine import Arms, History, Kind, Look, Opening, Scope, start_share
from pilotage.gate.gaussian import (
    NOTHING_WEIGHED,
    Weighed,
    grid,
    joined,
    log_e_fail,
    log_e_pass,
    multiplied,
)
from pilotage.gate.grids import Grid
from pilotage.gate.smooth import Distance, Numbers, Statistic, Strata, against_limit, against_stable
from pilotage.gate.smooth import Look as Distances
from pilotage.gate.split import NOTHING_SPLIT, has_moved, watched

_LEAST_GROWTH: Final = 5
_GROWTH: Final = 64
_CANARY, _STABLE = "canary", "stable"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeTest:
    """``bound``: of the statistic, or of canary − stable, in the statistic's sign (losses negative). ``first_effect``:
    what to look for first, from stable's metric before the rollout if that is known; ``reach``: the largest effect.
    """

    kind: Kind
    scopes: tuple[Scope, ...]
    statistic: Statistic
    bound: float
    reach: float
    first_effect: Callable[[float | None], float]

    @property
    def compares(self) -> bool:
        """Against stable, not against a fixed value."""
        return self.kind is Kind.MARGIN

    def opened(self, opening: Opening) -> CompositeState:
        """Before the first block; an earlier attempt's pass side goes on, closed and open strata alike."""
        earlier = opening.earlier if isinstance(opening.earlier, CompositeState) else None
        scale = self.first_effect(self._past(opening.history)) if earlier is None else earlier.scale
        starts = joined((float("-inf"),) * len(grid(scale, self.reach, passing=False)), start_share(1))
        return CompositeState(
            scale=scale,
            settled=NOTHING_WEIGHED if earlier is None else earlier.passing,
            fails=(FailSide(starts=starts),) * len(self.scopes),
        )

    def absorb(self, state: CompositeState, look: Look) -> CompositeState:
        """Weigh the stratum again if it has grown enough."""
        if not any(self._labels(self._sums(look.added)).values()):
            return state
        stratum = self._stratum(state, look)
        labels = self._labels(stratum)
        total = sum(labels.values())
        if total - state.labels < max(_LEAST_GROWTH, state.labels // _GROWTH):
            return state
        weighed = self._weighed(state, look, stratum, total)
        if weighed.bets == state.bets:
            return state  # nothing is ripe, and nothing of having looked is remembered
        return self._recut(weighed, look, stratum) if self.compares else weighed

    def turn(self, state: CompositeState, look: Look, start: int) -> CompositeState:
        """Weigh what came since the last weighing, close the stratum, open another fail start."""
        stratum = self._stratum(state, look)
        total = sum(self._labels(stratum).values())
        if total > state.labels:
            state = self._weighed(state, look, stratum, total)
        state = self._closed(state)
        share = start_share(start)
        fails = tuple(replace(fail, starts=joined(fail.starts, share)) for fail in state.fails)
        return replace(state, fails=fails, step_bets=0, base=None)

    def log_e_pass(self, state: CompositeState) -> float:
        """Log e-value against "the gate is violated"."""
        return log_e_pass(state.passing, self.effects(state, passing=True))

    def log_e_fail(self, state: CompositeState, scope: int) -> float:
        """Log of the weighted sum over starts of the e-values against "the gate is kept"."""
        fail = state.fails[scope]
        return log_e_fail(fail.starts, fail.standing.thinned(state.thinning), self.effects(state, passing=False))

    def bets(self, state: CompositeState) -> int:
        """Weighings so far."""
        return state.bets

    def step_bets(self, state: CompositeState) -> int:
        """Weighings of the pass side since the weight changed."""
        return state.step_bets

    def effects(self, state: CompositeState, *, passing: bool) -> Grid:
        """What one side bets on."""
        return grid(state.scale, self.reach, passing=passing)

    def distances(self, scope: Scope, sums: Sums) -> Distances | None:
        """How far and how sure, in one scope; None while too little is counted there."""
        canary = _strata(scope, sums[_CANARY])
        if not self.compares:
            return against_limit(self.statistic, canary, self.bound)
        return against_stable(self.statistic, canary, _strata(scope, sums[_STABLE]), self.bound)

    def encode(self, state: CompositeState) -> Mapping[str, Any]:
        """JSON of the state."""
        return state.to_dict()

    def decode(self, raw: Mapping[str, Any]) -> CompositeState:
        """Inverse of ``encode``."""
        return CompositeState.from_dict(raw)

    def _weighed(self, state: CompositeState, look: Look, stratum: Sums, total: int) -> CompositeState:
        """The standing evidence of every scope, from the stratum as it is now."""
        found = [self.distances(scope, stratum) for scope in self.scopes]
        everything = found[0]
        if not self.compares and look.turned:
            everything = self.distances(self.scopes[0], self._sums(look.after))
        fails = tuple(
            fail if distances is None else replace(fail, standing=Weighed.of(distances.forgiving))
            for fail, distances in zip(state.fails, found, strict=True)
        )
        passes = everything is not None
        mix, stood = found[0], state.fails[0].standing
        clumps = state.clumps
        if mix is not None:
            counted = state.labels if stood.information else 0
            clumps = clumps.after(*_batch(mix.forgiving, total, before=stood.estimate, counted=counted))
        return replace(
            state,
            clumps=clumps,
            standing=state.standing if everything is None else Weighed.of(everything.cautious),
            fails=fails,
            labels=total,
            bets=state.bets + (passes or any(distances is not None for distances in found)),
            step_bets=state.step_bets + passes,
        )

    def _closed(self, state: CompositeState) -> CompositeState:
        """The stratum has ended: what stands is settled, and the next one starts from nothing."""
        effects, factor = self.effects(state, passing=False), state.thinning
        after = replace(
            state,
            fails=tuple(
                FailSide(starts=multiplied(fail.starts, fail.standing.thinned(factor), effects)) for fail in state.fails
            ),
            clumps=state.clumps.paused,
            shown=state.shown + state.fails[0].standing,
            labels=0,
            split=NOTHING_SPLIT,
        )
        if not self.compares:  # the pass side reads all strata as one
            return after
        return replace(after, settled=state.settled + state.standing, standing=NOTHING_WEIGHED)

    def _recut(self, state: CompositeState, look: Look, stratum: Sums) -> CompositeState:
        """Begin another stratum if the split between the arms has moved although nobody said so."""
        counted = {
            name: tuple(self.statistic.labels(stratum[arm][name]) for arm in (_CANARY, _STABLE))
            for name, _ in self.scopes[0].weights
        }
        if state.standing.information and has_moved(state.split, counted):
            return replace(self._closed(state), base=self._sums(look.after))
        return replace(state, split=watched(state.split, counted))

    def _past(self, history: History) -> float | None:
        """Stable's metric over the mix before the rollout: sets a scale, so a wrong one costs power, not validity."""
        strata: list[tuple[float, Numbers]] = []
        for name, weight in self.scopes[0].weights:
            blocks = [self.statistic.numbers(counts) for counts in history.get(name, ())]
            if weight > 0:
                nothing = (0,) * self.statistic.size
                strata.append((weight, tuple(map(sum, zip(*blocks, strict=True))) if blocks else nothing))
        reading = self.statistic.plain(strata) if self.statistic.is_ripe(strata) else None
        return None if reading is None else reading.value

    def _stratum(self, state: CompositeState, look: Look) -> Sums:
        after = self._sums(look.after)
        if state.base is None and not look.turned:
            return after
        base = state.base if state.base is not None else self._sums(look.turned)
        return {
            arm: {name: _minus(numbers, base[arm][name]) for name, numbers in sums.items()}
            for arm, sums in after.items()
        }

    def _sums(self, arms: Arms) -> Sums:
        names = dict.fromkeys(name for scope in self.scopes for name, _ in scope.weights)
        nothing = ArmCounts()
        return {
            arm: {name: self.statistic.numbers(arms.get(name, {}).get(arm, nothing)) for name in names}
            for arm in ((_CANARY, _STABLE) if self.compares else (_CANARY,))
        }

    def _labels(self, sums: Sums) -> Mapping[str, int]:
        return {
            arm: sum(self.statistic.labels(numbers) for numbers in by_cluster.values())
            for arm, by_cluster in sums.items()
        }


def _batch(now: Distance, labels: int, *, before: float, counted: int) -> tuple[float, float]:
    """What came between two weighings: its distance and variance, from those of all ``labels`` and of ``counted``."""
    size = labels - counted
    return (now.value * labels - before * counted) / size, now.variance * labels / size


def _strata(scope: Scope, numbers: Mapping[str, Numbers]) -> Strata:
    return [(weight, numbers[name]) for name, weight in scope.weights if weight > 0]


def _minus(left: Numbers, right: Numbers) -> Numbers:
    return tuple(a - b for a, b in zip(left, right, strict=True))
