"""One simulated rollout through the gate: how it ended, when, on how many labels. A pure function of its seed.

The gate is asked as the operator asks it: every block, in order, a verdict after each; the first Pass or Fail ends the
attempt, the deadline ends it as Expired. A retry carries the pass evidence over and is one more attempt of one rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

from pilotage.gate import Analysis, Outcome, Verdict
from pilotage.trials.delivery import Delivery
from pilotage.trials.settings import Pace
from pilotage.trials.traffic import Cohort, Stream
from pilotage.trials.worlds import World


class End(StrEnum):
    """How a rollout ended. Expired: undecided at the deadline."""

    PASSED = "Pass"
    FAILED = "Fail"
    EXPIRED = "Expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """`labels`: matured canary labels in the gate's own denominator until the end; `requests`: what the canary served;
    `seconds` since the rollout began. `reason`: the verdict's own sentence. `attempts` it took.
    """

    end: End
    labels: int
    requests: int
    seconds: float
    reason: str
    attempts: int = 1


def trial(analysis: Analysis, world: World, seed: str) -> Trial:
    """Play one rollout. With several attempts: Pass if one of them passed, else as the first one ended."""
    first: Trial | None = None
    state: Mapping[str, Any] | None = None
    seconds, labels, requests = 0.0, 0, 0
    for attempt in range(world.scenario.attempts):
        played, state = _attempt(analysis, world, Random(f"{seed}/{attempt}"), resume=state)  # noqa: S311 (a simulation)
        seconds, labels, requests = seconds + played.seconds, labels + played.labels, requests + played.requests
        so_far = Trial(
            end=played.end,
            labels=labels,
            requests=requests,
            seconds=seconds,
            reason=played.reason,
            attempts=attempt + 1,
        )
        if played.end is End.PASSED:
            return so_far
        first = first or so_far
    assert first is not None
    return first


def _attempt(
    analysis: Analysis, world: World, rng: Random, resume: Mapping[str, Any] | None
) -> tuple[Trial, Mapping[str, Any]]:
    setting, stream = world.setting, Stream(world, rng)
    delivery = Delivery(world)
    state = analysis.start(setting.stable.classes, world.clusters, history=stream.history(), resume=resume)
    verdict, step, requests = analysis.verdict(state), 0, 0
    for look in range(setting.looks):
        at = setting.interval_s * (look + 1)
        step = setting.step_of(look) if setting.pace is Pace.EVEN else step
        cohort = stream.cohort(look, step)
        requests += _served(cohort)
        for block in delivery.told(at, step, cohort):
            after = analysis.update(state, block)
            if after is not state:
                state, verdict = after, analysis.verdict(after)
            if verdict.state in (Outcome.PASS, Outcome.FAIL):
                end = End.PASSED if verdict.state is Outcome.PASS else End.FAILED
                return _ended(end, world, verdict, at, requests), state
            if setting.pace is Pace.READY and verdict.step_ready and block["step"] == step < len(setting.weights) - 1:
                step += 1
    return _ended(End.EXPIRED, world, verdict, setting.duration_s, requests), state


def _ended(end: End, world: World, verdict: Verdict, at: float, requests: int) -> Trial:
    labels = sum(verdict.gates[world.about.name].labels["canary"].values())
    return Trial(end=end, labels=labels, requests=requests, seconds=at, reason=verdict.reason)


def _served(cohort: Cohort) -> int:
    return sum(sum(arms["canary"]["served"].values()) for arms in cohort.values())
