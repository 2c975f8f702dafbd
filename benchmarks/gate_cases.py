"""What `benchmarks.gate` plays: gates with their traffic, the specification's figures, other shapes. Only data.

The reference traffic is that of the specification's main table: stable right in 90 %, 3,000 requests a minute, a tenth
labelled, six hours, the canary at 5, 10, 25 and 50 %.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.gate_labels import Blocks, Measured
from pilotage.trials import (
    Campaign,
    Question,
    Scenario,
    Setting,
    catalogue,
    from_recalls,
    questions_of,
    value,
    world_of,
)
from pilotage.trials.models import Model, Unreachable

CLASSES = ("a", "b", "c")
SHARES = {"a": 0.5, "b": 0.3, "c": 0.2}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGate:
    """One gate of the `errors` part; `looks` at which it is played when none is asked for by name."""

    name: str
    gate: dict[str, Any]
    looks: tuple[int, ...] = (24,)
    clusters: dict[str, float] = field(default_factory=lambda: {"main": 1.0})


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCase:
    """One gate, one number of looks, one scenario."""

    gate: str
    looks: int
    campaign: Campaign
    scenario: Scenario

    @property
    def key(self) -> str:
        """What its result is kept under."""
        return f"errors/{self.gate}/{self.looks}/{self.scenario.name}/{self.campaign.runs}/{self.campaign.seed}"

    @property
    def alone(self) -> Campaign:
        """The campaign of this scenario only."""
        return replace(self.campaign, scenarios=(self.scenario,))


ERRORS = (
    ErrorGate(name="accuracy", gate={"metric": "accuracy", "margin": 0.01}, looks=(24, 360, 4320)),
    ErrorGate(name="recall-floor", gate={"metric": "recall", "class": "b", "floor": 0.87}),
    ErrorGate(
        name="precision-macro",
        gate={"metric": "precision", "average": "macro", "margin": 0.02},
        clusters={"aws": 0.6, "gcp": 0.4},
    ),
    ErrorGate(name="f1", gate={"metric": "f1", "class": "b", "margin": 0.03}),
    ErrorGate(name="f1-macro", gate={"metric": "f1", "average": "macro", "margin": 0.02}),
    ErrorGate(name="roc-auc", gate={"metric": "rocAuc", "class": "b", "margin": 0.02}),
    ErrorGate(name="pr-auc", gate={"metric": "prAuc", "class": "b", "margin": 0.03}),
    ErrorGate(name="log-loss", gate={"metric": "logLoss", "margin": 0.04}),
    ErrorGate(name="cost", gate={"metric": "expectedCost", "ceiling": 0.25, "costs": {"b": {"a": 4}, "a": {"b": 1}}}),
    ErrorGate(name="error-rate", gate={"metric": "errorRate", "margin": 0.005}),
)


def model() -> Model:
    """Stable: right in 90 % of each class, scores of AUC .90, 1 % of errors."""
    return replace(
        from_recalls(CLASSES, dict.fromkeys(CLASSES, 0.9)),
        separation=dict.fromkeys(("", *CLASSES), 1.8),
        good={"g": 0.99},
    )


def setting(looks: int, clusters: dict[str, float] | None = None) -> Setting:
    """The reference traffic."""
    return Setting(
        stable=model(),
        shares=SHARES,
        clusters=clusters or {"main": 1.0},
        weights=(0.05, 0.10, 0.25, 0.50),
        looks=looks,
        history=500,
    )


def campaign_of(gate: ErrorGate, *, looks: int, runs: int, seed: int) -> Campaign:
    """Every scenario of the gate that a model can stand in."""
    spec = {"gates": [{"name": "g", **gate.gate}], "analysis": {"minSamples": 0}}
    (question,) = questions_of(spec)
    traffic = setting(looks, gate.clusters)
    stable = value(question, traffic.stable, traffic.shares)
    assert stable is not None
    campaign = Campaign(
        spec=spec, setting=traffic, about="g", scenarios=catalogue(question, stable), runs=runs, seed=seed
    )
    return replace(campaign, scenarios=tuple(each for each in campaign.scenarios if _stands(campaign, each)))


def _stands(campaign: Campaign, scenario: Scenario) -> bool:
    try:
        world_of(campaign, scenario)
    except Unreachable:
        return False
    return True


def _fixed(p: float, ratio: str, case: str, off: float, figure: float, canary: int, stable: int) -> Measured:
    """A row of the specification's table 8: mean labels to the decision, blocks of at least five."""
    return Measured(
        name=f"§8 p={p} {ratio} {case}",
        spec=_accuracy(0.01),
        blocks=Blocks(stable=p, canary=p + off, canary_labels=canary, stable_labels=stable, looks=8000),
        expected=figure,
        bar=1.25,
    )


def _timed(share: float, case: str, off: float, figure: float) -> Measured:
    """A row of the main table: median labels of the decided rollouts, one look a minute, four steps."""
    return Measured(
        name=f"§0/§7 f={share:g} {case}",
        spec=_accuracy(0.01),
        traffic=replace(setting(360), label_share=share),
        scenario=Scenario(name=case, about="", off=0.0, by=-off),
        expected=figure,
        bar=1.25,
    )


def _accuracy(margin: float) -> dict[str, Any]:
    return {"gates": [{"name": "g", "metric": "accuracy", "margin": margin}], "analysis": {"minSamples": 0}}


LABELS = (
    _fixed(0.9, "10:90", "equal", 0.0, 7377, 5, 45),
    _fixed(0.9, "10:90", "+2pp", 0.02, 919, 5, 45),
    _fixed(0.9, "10:90", "-2pp", -0.02, 9940, 5, 45),
    _fixed(0.9, "10:90", "-10pp", -0.10, 153, 5, 45),
    _fixed(0.9, "10:90", "-40pp", -0.40, 15, 5, 45),
    _fixed(0.9, "50:50", "equal", 0.0, 12265, 5, 5),
    _fixed(0.9, "50:50", "-10pp", -0.10, 285, 5, 5),
    _fixed(0.98, "10:90", "equal", 0.0, 1890, 5, 45),
    _fixed(0.98, "10:90", "-10pp", -0.10, 68, 5, 45),
    _timed(1.0, "+2pp", 0.02, 917),
    _timed(1.0, "equal", 0.0, 5799),
    _timed(0.1, "equal", 0.0, 6086),
    _timed(0.1, "-10pp", -0.10, 135),
)


def _shape(name: str, gate: dict[str, Any], *, off: float, clusters: dict[str, float] | None = None) -> Measured:
    """A gate on the reference traffic at 10 %; `off` in distances to the boundary."""
    traffic = replace(setting(360, clusters), weights=(0.1,), duration_s=86_400.0, looks=1440)
    fails = off > 1
    return Measured(
        name=f"{name} {'2x off' if fails else 'equal'}",
        spec={"gates": [{"name": "g", **gate}], "analysis": {"minSamples": 0}},
        traffic=traffic,
        scenario=Scenario(name=f"{off:g}", about="", off=off),
        expected=None,
        bar=1.25 * (1.56 if fails else 1.18),
    )


_TWO = {"aws": 0.6, "gcp": 0.4}
SHAPES = tuple(
    _shape(name, gate, off=off, clusters=clusters)
    for name, gate, clusters in (
        ("accuracy margin, 2 clusters", {"metric": "accuracy", "margin": 0.02}, _TWO),
        ("recall[b] margin", {"metric": "recall", "class": "b", "margin": 0.03}, None),
        ("recall[b] floor", {"metric": "recall", "class": "b", "floor": 0.87}, None),
        ("precision[b] margin", {"metric": "precision", "class": "b", "margin": 0.03}, None),
        ("recall[macro] margin", {"metric": "recall", "average": "macro", "margin": 0.02}, None),
        ("precision[macro] margin, 2 clusters", {"metric": "precision", "average": "macro", "margin": 0.02}, _TWO),
    )
    for off in (0.0, 2.0)
)


def question_of(case: Measured) -> Question:
    """The only gate of a case."""
    return questions_of(case.spec)[0]
