"""A scenario of a setting with every law worked out: what both arms are worth, in each cluster, at each time.

The canary is placed by its true metric, so that "exactly on the boundary" is exact in every cluster and at every time.
Draws nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pilotage.trials.models import Model, hardened
from pilotage.trials.questions import Question
from pilotage.trials.scenarios import Scenario, target
from pilotage.trials.settings import Setting
from pilotage.trials.truth import placed, value

PHASES: Final = 12
"""Slices of time with a law of their own while requests drift."""
HARD_CLIENTS: Final = 0.2
"""Share of clients whose requests are hard, where clients stick to an arm."""
_EASY_AND_HARD: Final = {
    "easy": (0.5, 0.5, 0.40),
    "hard": (0.5, 2.5, 0.05),
}  # share of traffic, hardness, canary's share
_HARD_FACTOR: Final = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """One arm in one cluster at one time. `easy`, `hard`: its rows for the two kinds of clients, if clients stick."""

    model: Model
    easy: Model
    hard: Model

    def at(self, hardness: float) -> Sequence[Sequence[float]]:
        """Rows of a crowd in which this share of clients is hard."""
        if self.easy is self.hard:
            return self.model.rows
        return [
            [a * (1 - hardness) + b * hardness for a, b in zip(row, other, strict=True)]
            for row, other in zip(self.easy.rows, self.hard.rows, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """(canary, stable) of one metric at one time: over the mix of all clusters, and in each of them."""

    mix: tuple[float, float]
    clusters: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A scenario of a setting with every law worked out: `laws[phase][cluster][arm]`."""

    setting: Setting
    scenario: Scenario
    questions: tuple[Question, ...]
    about: Question
    clusters: Mapping[str, float]
    laws: tuple[Mapping[str, Mapping[str, Law]], ...]

    @property
    def about_class(self) -> str:
        """The class the scenario's trouble is about: the gate's, or the last one."""
        return self.about.class_name or self.setting.stable.classes[-1]

    def weight(self, cluster: str, step: int) -> float:
        """The canary's share of a cluster's requests."""
        return _EASY_AND_HARD[cluster][2] if self.scenario.uneven_clusters else self.setting.weights[step]

    def values(self, question: Question) -> list[Values]:
        """What a metric is worth in each phase; phases in which it is undefined somewhere are left out."""
        found = []
        for phase in self.laws:
            pairs = {
                name: (
                    _of(question, arms["canary"].model, self.setting),
                    _of(question, arms["stable"].model, self.setting),
                )
                for name, arms in phase.items()
            }
            known = {name: (a, b) for name, (a, b) in pairs.items() if a is not None and b is not None}
            if len(known) == len(pairs):
                mix = (self._mixed(0, known), self._mixed(1, known))
                found.append(Values(mix=mix, clusters=tuple(known.values())))
        return found

    def _mixed(self, arm: int, pairs: Mapping[str, tuple[float, float]]) -> float:
        return sum(share * pairs[name][arm] for name, share in self.clusters.items())


def build(setting: Setting, questions: Sequence[Question], about: Question, scenario: Scenario) -> World:
    """Place the canary where the scenario wants it for the question `about`; Unreachable where no model can be."""
    clusters = (
        {name: entry[0] for name, entry in _EASY_AND_HARD.items()} if scenario.uneven_clusters else setting.clusters
    )
    phases = PHASES if scenario.drift != 1.0 else 1
    laws: list[Mapping[str, Mapping[str, Law]]] = []
    for phase in range(phases):
        factor = 1 + (scenario.drift - 1) * (1 - abs(2 * (phase + 0.5) / phases - 1))
        stables = {}
        for name in clusters:
            hardness = factor * (_EASY_AND_HARD[name][1] if scenario.uneven_clusters else 1.0)
            stables[name] = hardened(setting.stable, hardness) if hardness != 1.0 else setting.stable
        laws.append(_placed(setting, about, scenario, clusters, stables))
    return World(
        setting=setting,
        scenario=scenario,
        questions=tuple(questions),
        about=about,
        clusters=clusters,
        laws=tuple(laws),
    )


def _placed(
    setting: Setting, about: Question, scenario: Scenario, clusters: Mapping[str, float], stables: Mapping[str, Model]
) -> dict[str, dict[str, Law]]:
    """The canary as far off stable in every cluster as puts their mix where the scenario wants it."""
    values = {name: _of(about, model, setting) or 0.0 for name, model in stables.items()}
    mix = sum(share * values[name] for name, share in clusters.items())
    shift = target(scenario, about, mix) - mix
    return {
        name: {
            "stable": _law(model, scenario),
            "canary": _law(placed(about, model, setting.shares, values[name] + shift), scenario),
        }
        for name, model in stables.items()
    }


def _of(question: Question, model: Model, setting: Setting) -> float | None:
    return value(question, model, setting.shares)


def _law(model: Model, scenario: Scenario) -> Law:
    if not scenario.sticky_requests:
        return Law(model=model, easy=model, hard=model)
    hard = hardened(model, _HARD_FACTOR)
    easy_rows = tuple(
        tuple((p - HARD_CLIENTS * q) / (1 - HARD_CLIENTS) for p, q in zip(row, other, strict=True))
        for row, other in zip(model.rows, hard.rows, strict=True)
    )
    return Law(model=model, easy=Model(classes=model.classes, rows=easy_rows), hard=hard)
