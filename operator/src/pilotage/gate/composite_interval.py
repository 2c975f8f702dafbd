"""The intervals to show for smooth metrics: the Gaussian mixture turned round, valid at any look.

For display only; verdicts come from the e-processes. The lower end is read as cautiously as the pass side reads, the
upper end as plainly as the fail side; for a loss it is the other way round. Asymptotic: simulated any-time miss rates
are those of the engine, below 4 % at alpha = beta = 5 %. Too little counted: the whole span.
Knows no verdict. Source: statistics.md §2.8, §3.
"""

from collections.abc import Sequence
from math import log

from pilotage.gate.composite import CompositeState, CompositeTest
from pilotage.gate.composites import reach_of, statistic_of
from pilotage.gate.estimates import Mix, estimate
from pilotage.gate.gaussian import Weighed, grid, reach_below
from pilotage.gate.interval import Interval
from pilotage.gate.smooth import Distance, Reading
from pilotage.gate.spec import GateSpec


def metric_interval(
    gate: GateSpec, classes: Sequence[str], mix: Mix, *, scale: float, alpha: float, beta: float
) -> Interval | None:
    """One arm's metric over the mix, in its own units; None where it is undefined. ``scale``: the first effect."""
    value = estimate(gate, classes, mix)
    if value is None:
        return None
    reach = reach_of(gate, classes)
    statistic = statistic_of(gate, classes, clusters=len(mix))
    strata = [(share, statistic.numbers(counts)) for share, counts in mix if share > 0]
    if not statistic.is_ripe(strata):
        return Interval(estimate=value, lower=0.0, upper=reach)
    plain, cautious = statistic.plain(strata), statistic.as_if_at(strata, None)
    lower = -reach if cautious is None else _below(cautious, scale, reach, alpha, passing=True)
    upper = reach if plain is None else -_below(_turned(plain), scale, reach, beta, passing=False)
    return _interval(value, lower, upper, span=(0.0, reach), is_loss=gate.is_loss)


def difference_interval(
    gate: GateSpec, test: CompositeTest, state: CompositeState, *, alpha: float, beta: float
) -> Interval | None:
    """Canary − stable over the mix, in the metric's units, strata weighted by what they know; None before any is ripe.

    The lower end counts what an earlier attempt has shown, as the verdict does.
    """
    shown = state.shown + state.fails[0].standing
    passing = state.settled + state.standing
    if shown.information <= 0 or passing.information <= 0:
        return None
    value = shown.distance / shown.information + test.bound
    lower = test.bound + reach_below(passing, test.effects(state, passing=True), log(1 / alpha))
    mirrored = Weighed(distance=-shown.distance, information=shown.information)
    upper = test.bound - reach_below(mirrored, test.effects(state, passing=False), log(1 / beta))
    sign = -1.0 if gate.is_loss else 1.0
    return _interval(sign * value, lower, upper, span=(-test.reach, test.reach), is_loss=gate.is_loss)


def _below(reading: Reading, scale: float, reach: float, error: float, *, passing: bool) -> float:
    weighed = Weighed.of(Distance(value=reading.value, variance=max(reading.variance, 1e-10)))
    return reach_below(weighed, grid(scale, reach, passing=passing), log(1 / error))


def _turned(reading: Reading) -> Reading:
    return Reading(value=-reading.value, variance=reading.variance)


def _interval(value: float, lower: float, upper: float, *, span: tuple[float, float], is_loss: bool) -> Interval:
    """``lower`` and ``upper`` of the statistic, in which losses are negative, as bounds of the metric."""
    if is_loss:
        lower, upper = -upper, -lower
    least, most = span
    return Interval(estimate=value, lower=max(least, min(lower, value)), upper=min(most, max(upper, value)))
