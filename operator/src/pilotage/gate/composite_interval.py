"""The intervals to show for smooth metrics: the Gaussian mixture turned round, valid at any look.

For display only; verdicts come from the e-processes. The lower end is read as cautiously as the pass side reads, the
upper end as plainly as the fail side; for a loss it is the other way round. Asymptotic: simulated any-time miss rates
are those of the engine, below 4 % at alpha = beta = 5 %. Too little counted: the whole span.
Knows no verdict. Source: statistics.md §2.8, §3.
"""

from collections.abc import Sequence
from math import log

from pilotage.gate.composite import CompositeTest
from pilotage.gate.composite_state import CompositeState
from pilotage.gate.composites import composite_test, reach_of, scale_of, statistic_of
from pilotage.gate.engine import MIX, Kind, Scope
from pilotage.gate.estimates import Mix, estimate
from pilotage.gate.gaussian import Weighed, grid, reach_below
from pilotage.gate.grids import Grid
from pilotage.gate.interval import Interval
from pilotage.gate.smooth import LEAST_VARIANCE, Distance, Reading, Statistic, Strata, against_stable
from pilotage.gate.spec import GateSpec


def metric_interval(gate: GateSpec, classes: Sequence[str], mix: Mix, *, alpha: float, beta: float) -> Interval | None:
    """One arm's metric over the mix, in its own units; None where it is undefined."""
    value = estimate(gate, classes, mix)
    if value is None:
        return None
    reach = reach_of(gate, classes)
    statistic = statistic_of(gate, classes, clusters=len(mix))
    strata = _strata(statistic, mix)
    if not statistic.is_ripe(strata):
        return Interval(estimate=value, lower=0.0, upper=reach)
    plain, cautious = statistic.plain(strata), statistic.as_if_at(strata, None)
    kind = Kind.MARGIN if gate.limit is None else Kind.FLOOR
    scale = scale_of(gate, kind, None, reach)
    lower = -reach if cautious is None else _below(cautious, grid(scale, reach, passing=True), alpha)
    upper = reach if plain is None else -_below(_mirrored(plain), grid(scale, reach, passing=False), beta)
    return _interval(value, lower, upper, span=(0.0, reach), is_loss=gate.is_loss)


def weighed_difference(
    gate: GateSpec, test: CompositeTest, state: CompositeState, *, alpha: float, beta: float
) -> Interval | None:
    """Canary − stable over the mix, in the metric's units, strata weighted by what they know; None before any is ripe.

    The lower end counts what an earlier attempt has shown, as the verdict does.
    """
    effects = test.effects(state, passing=True), test.effects(state, passing=False)
    return _difference(gate, test, state.comparing, state.passing, effects, alpha=alpha, beta=beta)


def pooled_difference(
    gate: GateSpec, classes: Sequence[str], canary: Mix, stable: Mix, *, alpha: float, beta: float
) -> Interval | None:
    """The same for a metric that another engine weighs: all counts as one stratum."""
    scope = Scope(name=MIX, weights=tuple((str(k), share) for k, (share, _) in enumerate(canary)), fail_share=1.0)
    test = composite_test(gate, Kind.MARGIN, classes=classes, scopes=[scope])
    ours, theirs = _strata(test.statistic, canary), _strata(test.statistic, stable)
    look = against_stable(test.statistic, ours, theirs, test.bound)
    if look is None:
        return None
    scale = test.first_effect(None)
    effects = grid(scale, test.reach, passing=True), grid(scale, test.reach, passing=False)
    shown, passing = Weighed.of(look.forgiving), Weighed.of(look.cautious)
    return _difference(gate, test, shown, passing, effects, alpha=alpha, beta=beta)


def _difference(
    gate: GateSpec,
    test: CompositeTest,
    shown: Weighed,
    passing: Weighed,
    effects: tuple[Grid, Grid],
    *,
    alpha: float,
    beta: float,
) -> Interval | None:
    if shown.information <= 0 or passing.information <= 0:
        return None
    value = shown.distance / shown.information + test.bound
    mirrored = Weighed(distance=-shown.distance, information=shown.information)
    lower = test.bound + reach_below(passing, effects[0], log(1 / alpha))
    upper = test.bound - reach_below(mirrored, effects[1], log(1 / beta))
    sign = -1.0 if gate.is_loss else 1.0
    return _interval(sign * value, lower, upper, span=(-test.reach, test.reach), is_loss=gate.is_loss)


def _strata(statistic: Statistic, mix: Mix) -> Strata:
    return [(share, statistic.numbers(counts)) for share, counts in mix if share > 0]


def _below(reading: Reading, effects: Grid, error: float) -> float:
    variance = max(reading.variance, LEAST_VARIANCE)
    return reach_below(Weighed.of(Distance(value=reading.value, variance=variance)), effects, log(1 / error))


def _mirrored(reading: Reading) -> Reading:
    return Reading(value=-reading.value, variance=reading.variance)


def _interval(value: float, lower: float, upper: float, *, span: tuple[float, float], is_loss: bool) -> Interval:
    """``lower`` and ``upper`` of the statistic, in which losses are negative, as bounds of the metric."""
    if is_loss:
        lower, upper = -upper, -lower
    least, most = span
    return Interval(estimate=value, lower=max(least, min(lower, value)), upper=min(most, max(upper, value)))
