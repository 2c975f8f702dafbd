"""How many labels a gate will need: the answer to "when will this be decided?" before a rollout starts.

From expected confusion rates the exact information per canary label follows (the growth of the test's best bet at
those rates); Wald's limit times a simulated price gives the labels. A plan, not a promise: means, not quantiles.
Knows no time and no evidence. Source: statistics.md §8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Final

from pilotage.gate.analysis import Analysis
from pilotage.gate.arm import ArmCounts, Proportion
from pilotage.gate.contrast import divergence
from pilotage.gate.denominators import labels_of
from pilotage.gate.engine import Kind, start_share
from pilotage.gate.estimates import estimate
from pilotage.gate.exact import ExactTest
from pilotage.gate.families import Bursts, Contrast, inside
from pilotage.gate.functional import Functional
from pilotage.gate.hypotheses import tests_of
from pilotage.gate.jaccard import Jaccard
from pilotage.gate.opening import normalised
from pilotage.gate.pairs import PairedTest
from pilotage.gate.spec import AnalysisSpec, GateSpec
from pilotage.gate.tallies import tally
from pilotage.gate.verdict import Outcome

_PRICE_PASS: Final = 1.2  # simulated mean labels over Wald's limit
_PRICE_FAIL: Final = 1.5
_EXPECTED: Final = 10**9  # expected counts are whole numbers of this many canary labels

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
    requests: Mapping[str, tuple[float, float]] | None = None,
) -> tuple[Need, ...]:
    """What each exact test of each gate needs over the mix, if labels come as ``shares`` of the traffic do.

    ``canary_weight``: the canary's share of the labels, in (0, 1). ``requests``: for gates on error rate and latency,
    the expected shares of good requests of canary and stable; their "labels" are requests. Smooth metrics have no
    entry. Raises as ``start`` does.
    """
    analysis.start(classes, shares)
    mix = normalised(shares)
    ratio = (1 - canary_weight) / canary_weight
    expected = {
        name: {
            "canary": _counts(canary, share, {gate: good for gate, (good, _) in (requests or {}).items()}),
            "stable": _counts(stable, share * ratio, {gate: good for gate, (_, good) in (requests or {}).items()}),
        }
        for name, share in mix.items()
    }
    found: list[Need] = []
    for gate in analysis.gates:
        for test in tests_of(analysis.gates, classes, mix)[gate.name]:
            exact = test.apart if isinstance(test, PairedTest) else test
            values = [
                estimate(gate, classes, [(mix[name], arms[arm]) for name, arms in expected.items()]) for arm in _ARMS
            ]
            if isinstance(exact, ExactTest) and None not in values:
                found.append(
                    _need(gate, exact, expected, (values[0] or 0.0, values[1] or 0.0), analysis.settings, waves)
                )
    return tuple(found)


_ARMS: Final = ("canary", "stable")


def _need(
    gate: GateSpec,
    test: ExactTest,
    expected: Mapping[str, Mapping[str, ArmCounts]],
    values: tuple[float, float],
    settings: AnalysisSpec,
    waves: int,
) -> Need:
    value, other = values
    against = test.kind is Kind.MARGIN
    worse = (value - other if against else value - (gate.limit or 0.0)) * (1 if gate.is_loss else -1)
    passes = worse < (gate.margin or 0.0 if against else 0.0)
    if passes:
        # A functional's stakes are flat, as those of the fail side are: it does not know what a good canary looks like.
        price = _PRICE_FAIL if isinstance(test.family, Functional) else _PRICE_PASS
        needed = price * log(1 / settings.alpha)
    else:  # the first fail start of the mix has to reach the threshold alone
        needed = _PRICE_FAIL * log(1 / settings.beta / (test.scopes[0].fail_share / waves * start_share(1)))
    information = _information(test, expected, side=1 if passes else -1)
    everything = needed / information if information > 0 else inf
    own = sum(labels_of(gate, arms, "canary") for arms in expected.values()) / _EXPECTED
    return Need(
        gate=gate.name,
        kind=test.kind,
        canary=value,
        stable=other if against else None,
        verdict=Outcome.PASS if passes else Outcome.FAIL,
        labels=everything * own,
        all_labels=everything,
    )


def _counts(rates: Rates, share: float, good: Mapping[str, float]) -> ArmCounts:
    total = sum(sum(row.values()) for row in rates.values())
    cells = {
        actual: {predicted: round(_EXPECTED * share * n / total) for predicted, n in row.items()}
        for actual, row in rates.items()
    }
    n = round(_EXPECTED * share)
    proportions = {gate: Proportion(successes=round(n * part), trials=n) for gate, part in good.items()}
    return ArmCounts(confusion=cells, proportions=proportions)


def _information(test: ExactTest, expected: Mapping[str, Mapping[str, ArmCounts]], *, side: int) -> float:
    """Nats per canary label in favour of the truth: against the nearest rates on the boundary, or of the best stake."""
    part, family = test.parts[0], test.family
    block = tally(family.tally, test.clusters, expected).at(part.strata)
    per_label = [n / _EXPECTED for n in block.n]
    if isinstance(family, Functional):
        effects = family.stakes(1.0, side)
        return max(family.gains(part, block, None, effects, side, Bursts())) / _EXPECTED
    assert isinstance(family, Contrast | Jaccard)
    rates = [inside(s / n) if n else 0.5 for s, n in zip(block.s, block.n, strict=True)]
    nearest = family.nearest(part, per_label, rates, side)
    return sum(m * divergence(t, q) for m, t, q in zip(per_label, rates, nearest, strict=True))
