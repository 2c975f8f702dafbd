"""What a plan says about gates before a rollout: labels and time to each decision, chances, the least provable margin.

Built from campaigns that others play. Each gate is played alone for what *it* needs, all together for what the rollout
will come to. The least provable margin follows from the gate's own need: labels grow with 1/distance² (Wald).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import Any

from pilotage.trials.campaign import Campaign, Row
from pilotage.trials.questions import Question, questions_of
from pilotage.trials.scenarios import Scenario
from pilotage.trials.settings import Pace, Setting
from pilotage.trials.tally import Tally
from pilotage.trials.truth import value

_PATIENCE = 8
"""A gate that is undecided at the deadline is played on, for so many times longer, to learn what it needs."""

_EXACT = 1e-9

EQUAL = Scenario(name="equal", about="the canary equals stable", off=0.0)
TWICE = Scenario(name="2x off", about="twice as far off as the gate allows", off=2.0)
FIVE = Scenario(name="5x off", about="five times as far off as the gate allows", off=5.0)
OUTLOOK = (EQUAL, TWICE, FIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One gate. `needs`: scenario → the gate alone, with patience; `provable`: the least distance from stable that an
    equal canary can be proved within by the deadline, in the metric's units, infinite if it never is; `asked`: the
    distance the gate asks for, not above 0 if stable itself is not within its limit. `gate_labels`: canary labels in
    its denominator until the deadline.
    """

    name: str
    title: str
    stable: float
    asked: float
    needs: Mapping[str, Tally]
    gate_labels: float
    provable: float

    @property
    def is_provable(self) -> bool:
        """An equal canary will probably be proved good enough before the deadline."""
        return self.is_met_by_stable and self.provable <= self.asked

    @property
    def is_met_by_stable(self) -> bool:
        """Stable is on the right side of the limit, so that an equal canary can be proved to be."""
        return self.asked > _EXACT


def alone(spec: Mapping[str, Any], setting: Setting, question: Question, runs: int, seed: int) -> Campaign:
    """The campaign that tells what one gate needs by itself; the deadline is far off."""
    gates = [gate for gate in spec["gates"] if gate["name"] == question.name]
    steps = setting.weights[-1:] if setting.pace is Pace.READY else setting.weights
    patient = replace(
        setting,
        duration_s=setting.duration_s * _PATIENCE,
        looks=setting.looks * _PATIENCE,
        weights=(*steps, *steps[-1:] * (len(steps) * (_PATIENCE - 1))),
        pace=Pace.EVEN,
    )
    return Campaign(
        spec={**spec, "gates": gates},
        setting=patient,
        about=question.name,
        scenarios=OUTLOOK[:2],
        runs=runs,
        seed=seed,
        peers=False,
    )


def together(spec: Mapping[str, Any], setting: Setting, question: Question, runs: int, seed: int) -> Campaign:
    """The campaign that tells what the rollout comes to when the canary is off in this gate's metric."""
    return Campaign(
        spec=spec, setting=setting, about=question.name, scenarios=OUTLOOK, runs=runs, seed=seed, peers=False
    )


def forecast(campaign: Campaign, setting: Setting, rows: Sequence[Row]) -> Forecast:
    """What the rows of `alone` mean under the real deadline."""
    question = questions_of(campaign.spec)[0]
    stable = value(question, setting.stable, setting.shares) or 0.0
    needs = {row.scenario.name: row.ours for row in rows}
    equal = needs[EQUAL.name]
    told = next((need for need in needs.values() if need.labels and need.requests), None)
    per_request = told.labels / told.requests if told is not None and told.labels and told.requests else 0.0
    seconds = setting.duration_s - setting.label_delay_s
    gate_labels = per_request * setting.requests_per_s * seconds * mean_weight(setting)
    asked = question.excess(stable, stable)
    provable = asked * sqrt(equal.labels / gate_labels) if asked > 0 and equal.labels and gate_labels > 0 else inf
    return Forecast(
        name=question.name,
        title=question.title,
        stable=stable,
        asked=asked,
        needs=needs,
        gate_labels=gate_labels,
        provable=provable,
    )


def mean_weight(setting: Setting) -> float:
    """The canary's share of the traffic over the whole time; with the operator's pace the last weight counts."""
    weights = setting.weights[-1:] if setting.pace is Pace.READY else setting.weights
    return sum(weights) / len(weights)


def power_curve(campaign: Campaign, points: int = 13) -> Campaign:
    """The same rollout for canaries from better than stable to far beyond the boundary, for a curve of chances."""
    offs = [-1 + n / 3 for n in range(points)]  # 0 and 1, stable and the boundary, are among them
    scenarios = tuple(Scenario(name=f"off {off:+.2f}", about="", off=off) for off in offs)
    return replace(campaign, scenarios=scenarios)
