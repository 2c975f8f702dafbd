"""Labels until a decision, measured: on blocks of a fixed size as the specification has them, or on simulated traffic.

Undecided rollouts count with the labels they had, so a mean is never too small for want of patience.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from random import Random
from statistics import fmean, median, stdev
from typing import Any, Protocol

from pilotage.gate import Analysis, Outcome
from pilotage.gate.planning import label_budget
from pilotage.trials import End, Model, Scenario, Setting, build, questions_of, trial
from pilotage.trials.draws import binomial

_PRICES = {Outcome.PASS: 1.2, Outcome.FAIL: 1.5}
"""What `label_budget` multiplies the limit by; divided out again."""


class Asked(Protocol):
    """What the command line says about the work."""

    @property
    def jobs(self) -> int:
        """Processes; 0: one per core."""

    @property
    def seed(self) -> int:
        """The campaign's seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Every look brings the same numbers of labels; the arms are right with these chances."""

    stable: float
    canary: float
    canary_labels: int
    stable_labels: int
    looks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One case: fixed `blocks`, or `traffic` with a `scenario`. `expected` labels; None: Wald's limit. `bar`: how many
    times the expected it may take.
    """

    name: str
    spec: Mapping[str, Any]
    expected: float | None
    bar: float
    blocks: Blocks | None = None
    traffic: Setting | None = None
    scenario: Scenario | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`labels`: mean for fixed blocks and shapes, median for the main table's rows, which gives medians."""

    labels: float
    standard_error: float
    decided: float
    expected: float


def measured(case: Measured, runs: int, asked: Asked) -> Found:
    """Play a case so many times on all cores."""
    jobs = asked.jobs or len(os.sched_getaffinity(0))
    size = max(1, -(-runs // (4 * jobs)))
    ranges = [(first, min(first + size, runs)) for first in range(0, runs, size)]
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_played, case, asked.seed, first, last) for first, last in ranges]
        results = [each for future in futures for each in future.result()]
    counts = [labels for labels, decided in results if decided or case.blocks is not None or case.expected is None]
    is_median = case.traffic is not None and case.expected is not None
    spread = stdev(counts) / math.sqrt(len(counts)) if len(counts) > 1 else 0.0
    return Found(
        labels=(median(counts) if is_median else fmean(counts)) if counts else math.inf,
        standard_error=spread * (1.2533 if is_median else 1.0),  # of a median: √(π/2) times the mean's
        decided=sum(decided for _, decided in results) / len(results),
        expected=case.expected if case.expected is not None else _limit(case),
    )


def _played(case: Measured, seed: int, first: int, last: int) -> list[tuple[int, bool]]:
    analysis = Analysis.from_spec(case.spec)
    seeds = [f"{seed}/{case.name}/{number}" for number in range(first, last)]
    if case.blocks is not None:
        return [_on_blocks(analysis, case.blocks, Random(each)) for each in seeds]
    assert case.traffic is not None
    assert case.scenario is not None
    questions = questions_of(case.spec)
    world = build(case.traffic, questions, questions[0], case.scenario)
    found = [trial(analysis, world, each) for each in seeds]
    return [(each.labels, each.end is not End.EXPIRED) for each in found]


def _on_blocks(analysis: Analysis, blocks: Blocks, rng: Random) -> tuple[int, bool]:
    def arm(labels: int, right: float) -> dict[str, Any]:
        hits = binomial(rng, labels, right)
        first, misses = binomial(rng, hits, 0.5), labels - hits
        second = binomial(rng, misses, 0.5)
        return {"confusion": {"a": {"a": first, "b": second}, "b": {"b": hits - first, "a": misses - second}}}

    state = analysis.start(("a", "b"), {"main": 1.0}, history={"main": [arm(500, blocks.stable)]})
    for look in range(blocks.looks):
        arms = {
            "canary": arm(blocks.canary_labels, blocks.canary),
            "stable": arm(blocks.stable_labels, blocks.stable),
        }
        state = analysis.update(state, {"at": 60.0 * look, "clusters": {"main": arms}})
        if analysis.verdict(state).state in (Outcome.PASS, Outcome.FAIL):
            return blocks.canary_labels * (look + 1), True
    return blocks.canary_labels * blocks.looks, False


def _limit(case: Measured) -> float:
    """Wald's limit at the case's own threshold, in canary labels of the gate's denominator."""
    assert case.traffic is not None
    assert case.scenario is not None
    questions, traffic = questions_of(case.spec), case.traffic
    arms = build(traffic, questions, questions[0], case.scenario).laws[0]
    models = next(iter(arms.values()))
    needs = label_budget(
        Analysis.from_spec(case.spec),
        classes=traffic.stable.classes,
        shares=traffic.clusters,
        canary=_rates(models["canary"].model, traffic),
        stable=_rates(models["stable"].model, traffic),
        canary_weight=traffic.weights[0],
    )
    slowest = max(needs, key=lambda need: need.labels)
    return slowest.labels / _PRICES[slowest.verdict]


def _rates(model: Model, traffic: Setting) -> dict[str, dict[str, float]]:
    return {
        actual: {predicted: traffic.shares[actual] * p for predicted, p in zip(model.classes, row, strict=True)}
        for actual, row in zip(model.classes, model.rows, strict=True)
    }
