"""How many labels a gate will need: the answer to "when will this be decided?" before a rollout starts.

From expected confusion rates the exact information per canary label follows (the projection of the test at those
rates); Wald's limit times a simulated price gives the labels. A plan, not a promise: means, not quantiles.
Knows no time and no evidence. Source: statistics.md §8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Final

from pilotage.gate.analysis import Analysis
from pilotage.gate.contrast import projection
from pilotage.gate.counts import rows
from pilotage.gate.hypotheses import Hypothesis, Kind, hypotheses_of
from pilotage.gate.opening import normalised
from pilotage.gate.spec import AnalysisSpec, GateSpec, Metric
from pilotage.gate.verdict import Outcome

_PRICE_PASS: Final = 1.2  # simulated mean labels over Wald's limit
_PRICE_FAIL: Final = 1.5
_EDGE: Final = 1e-4

Rates = Mapping[str, Mapping[str, float]]
"""``{actual: {predicted: weight}}`` of one arm's labels, in any scale: counts of a test set will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One test's expectation. ``canary`` and ``stable``: the metric's expected values; ``verdict``: what the test would
    say in the end. ``labels``: canary labels in the gate's own denominator until then; ``all_labels``: canary labels of
    any class that it takes to get them. Both are infinite exactly on the boundary.
    """

    gate: str
    kind: Kind
    canary: float
    stable: float | None
    verdict: Outcome
    labels: float
    all_labels: float


def label_budget(
    analysis: Analysis,
    *,
    classes: Sequence[str],
    shares: Mapping[str, float],
    canary: Rates,
    stable: Rates,
    canary_weight: float,
    waves: int = 1,
) -> tuple[Need, ...]:
    """What each test of each gate needs over the mix, if labels come as ``shares`` of the traffic do.

    ``canary_weight``: the canary's share of the labels, in (0, 1). Raises as ``start`` does.
    """
    analysis.start(classes, shares)
    mix = normalised(shares)
    hypotheses = hypotheses_of(analysis.gates, classes, mix)
    found: list[Need] = []
    for gate in analysis.gates:
        expected = _Expected(
            ours=_rates(gate, classes, canary),
            theirs=_rates(gate, classes, stable),
            ratio=(1 - canary_weight) / canary_weight,
            traffic=tuple(mix.values()),
        )
        found += [_need(gate, test, expected, analysis.settings, waves) for test in hypotheses[gate.name]]
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expected:
    """Per row (share of all labels, rate) of canary and stable; ``ratio``: stable labels per canary label."""

    ours: Sequence[tuple[float, float]]
    theirs: Sequence[tuple[float, float]]
    ratio: float
    traffic: Sequence[float]

    def strata(self) -> list[tuple[float, float]]:
        """In the layout of a gate's vector, per canary label."""
        found: list[tuple[float, float]] = []
        for share in self.traffic:
            found += [(share * per_label, rate) for per_label, rate in self.ours]
            found += [(share * per_label * self.ratio, rate) for per_label, rate in self.theirs]
        return found


def _need(gate: GateSpec, test: Hypothesis, expected: _Expected, settings: AnalysisSpec, waves: int) -> Need:
    value = sum(rate for _, rate in expected.ours) / len(expected.ours)
    other = sum(rate for _, rate in expected.theirs) / len(expected.theirs) if test.kind is Kind.MARGIN else None
    passes = value - (other or 0.0) > test.bound
    if passes:
        needed = _PRICE_PASS * log(1 / settings.alpha)
    else:  # the first fail start of the mix has to reach the threshold alone
        needed = _PRICE_FAIL * log(1 / settings.beta / (test.scopes[0].fail_share / waves / 2))
    information = _information(test, expected.strata())
    everything = needed / information if information > 0 else inf
    return Need(
        gate=gate.name,
        kind=test.kind,
        canary=value,
        stable=other,
        verdict=Outcome.PASS if passes else Outcome.FAIL,
        labels=everything * sum(per_label for per_label, _ in expected.ours),
        all_labels=everything,
    )


def _rates(gate: GateSpec, classes: Sequence[str], rates: Rates) -> list[tuple[float, float]]:
    """Per row: (its share of all labels, its rate of success)."""
    total = sum(sum(row.values()) for row in rates.values())
    found = []
    for name in rows(gate, classes):
        if name is None:
            hits, trials = sum(row.get(actual, 0.0) for actual, row in rates.items()), total
        elif gate.metric is Metric.RECALL:
            hits, trials = rates[name].get(name, 0.0), sum(rates[name].values())
        else:
            hits, trials = rates[name].get(name, 0.0), sum(row.get(name, 0.0) for row in rates.values())
        found.append((trials / total, hits / trials))
    return found


def _information(test: Hypothesis, strata: Sequence[tuple[float, float]]) -> float:
    """Nats per canary label in favour of the truth, against the nearest rates on the boundary."""
    scope = test.scopes[0]
    n = [strata[index][0] for index in scope.strata]
    t = [min(max(strata[index][1], _EDGE), 1 - _EDGE) for index in scope.strata]
    q, _ = projection(n, t, scope.coefficients, test.bound)
    return sum(m * (x * log(x / y) + (1 - x) * log((1 - x) / (1 - y))) for m, x, y in zip(n, t, q, strict=True))
