"""Many seeded rollouts of many scenarios, cut into pieces that any number of processes can play, and put together.

The seed of a rollout is made of the campaign's seed, the scenario's name and the rollout's number, so results are the
same however the work is divided. Starts no process itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pilotage.gate import Analysis
from pilotage.trials.peers import PEERS, peer_trials
from pilotage.trials.questions import Question, questions_of
from pilotage.trials.rollouts import Trial, trial
from pilotage.trials.scenarios import Scenario
from pilotage.trials.settings import Setting
from pilotage.trials.tally import Rate, Tally, tally
from pilotage.trials.worlds import Values, World, build

_EXACT = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """`spec`: `{"gates", "analysis"}`; `about`: the gate by which canaries are placed; `peers`: also play theirs."""

    spec: Mapping[str, Any]
    setting: Setting
    about: str
    scenarios: tuple[Scenario, ...]
    runs: int
    seed: int
    peers: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Rollouts `first` to `last` (excluded) of one scenario."""

    scenario: Scenario
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A piece with its rollouts, in order."""

    piece: Piece
    ours: tuple[Trial, ...]
    peers: tuple[Mapping[str, Trial], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a gate truly stands in a scenario: means over time of the mix. `least`: its smallest excess over the
    boundary, in the mix or a cluster, at any time (negative: violated there); `greatest`: the mix's largest.
    """

    title: str
    canary: float
    stable: float
    least: float
    greatest: float

    @property
    def holds(self) -> bool:
        """Nowhere and never violated, so a Fail would be wrong. The boundary itself holds."""
        return self.least >= -_EXACT

    @property
    def is_broken(self) -> bool:
        """The mix, which is promoted on, never meets it, so a Pass would be wrong. The boundary is broken too."""
        return self.greatest <= _EXACT


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scenario's results. A Pass is wrong if some gate is broken, a Fail if every gate holds."""

    scenario: Scenario
    standings: Mapping[str, Standing]
    about: str
    ours: Tally
    peers: Mapping[str, Tally]

    @property
    def is_bad(self) -> bool:
        """No rollout of this may pass."""
        return any(each.is_broken for each in self.standings.values())

    @property
    def is_good(self) -> bool:
        """No rollout of this may fail."""
        return all(each.holds for each in self.standings.values())

    def false_pass(self, counted: Tally) -> Rate | None:
        """Rate of wrong passes, None where a pass would be right."""
        return counted.passed if self.is_bad else None

    def false_fail(self, counted: Tally) -> Rate | None:
        """Rate of wrong fails, None where a fail would be right."""
        return counted.failed if self.is_good else None

    def keeps(self, alpha: float, beta: float) -> bool:
        """Both error rates are within their bounds, give or take three standard errors."""
        wrong = ((self.false_pass(self.ours), alpha), (self.false_fail(self.ours), beta))
        return all(rate is None or rate.is_within(bound) for rate, bound in wrong)


def pieces(campaign: Campaign, size: int) -> list[Piece]:
    """The whole work in pieces of at most `size` rollouts."""
    return [
        Piece(scenario=scenario, first=first, last=min(first + size, campaign.runs))
        for scenario in campaign.scenarios
        for first in range(0, campaign.runs, size)
    ]


def play(campaign: Campaign, piece: Piece) -> Played:
    """Play one piece. Raises what `Analysis.from_spec` and `build` raise."""
    analysis, world = Analysis.from_spec(campaign.spec), world_of(campaign, piece.scenario)
    seeds = [f"{campaign.seed}/{piece.scenario.name}/{number}" for number in range(piece.first, piece.last)]
    return Played(
        piece=piece,
        ours=tuple(trial(analysis, world, seed) for seed in seeds),
        peers=tuple(peer_trials(world, seed) for seed in seeds) if campaign.peers else (),
    )


def world_of(campaign: Campaign, scenario: Scenario) -> World:
    """The scenario in the campaign's setting; Unreachable where no canary can stand there."""
    questions = questions_of(campaign.spec)
    about = next(question for question in questions if question.name == campaign.about)
    return build(campaign.setting, questions, about, scenario)


def gathered(campaign: Campaign, played: Iterable[Played]) -> tuple[Row, ...]:
    """Rows in the campaign's order, whatever order the pieces came in."""
    found = list(played)
    rows = []
    for scenario in campaign.scenarios:
        own = sorted((p for p in found if p.piece.scenario.name == scenario.name), key=lambda p: p.piece.first)
        rivals = [each for piece in own for each in piece.peers]
        rows.append(
            Row(
                scenario=scenario,
                standings=standings(world_of(campaign, scenario)),
                about=campaign.about,
                ours=tally([each for piece in own for each in piece.ours]),
                peers={p.name: tally([each[p.name] for each in rivals]) for p in PEERS} if rivals else {},
            )
        )
    return tuple(rows)


def standings(world: World) -> dict[str, Standing]:
    """Every gate that decides and has a value, by name."""
    return {
        question.name: standing
        for question in world.questions
        if not question.is_guard and not question.advisory and (standing := _standing(question, world.values(question)))
    }


def _standing(question: Question, values: Sequence[Values]) -> Standing | None:
    if not values:
        return None
    of_mix = [question.excess(*each.mix) for each in values]
    of_clusters = [question.excess(*pair) for each in values for pair in each.clusters]
    return Standing(
        title=question.title,
        canary=sum(each.mix[0] for each in values) / len(values),
        stable=sum(each.mix[1] for each in values) / len(values),
        least=min(of_mix + of_clusters),
        greatest=max(of_mix),
    )
