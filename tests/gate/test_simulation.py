"""Seeded rollouts: boundary canaries pass rarely, good ones fail rarely, equal ones pass, late damage is caught.

Sizes are small; the tolerances say what luck may do (three standard errors). The guarantee itself is proved by
enumeration (``test_exactness``); these runs would catch a mistake in how looks, steps, clusters and retries combine.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from pilotage.gate import Analysis, Outcome, State, Verdict

CLASSES = ["0", "1"]
ALPHA = BETA = 0.05


def binary(rng: np.random.Generator, labels: int, right: float) -> dict[str, Any]:
    hits = int(rng.binomial(labels, right))
    return {"confusion": {"1": {"1": hits, "0": labels - hits}}}


def drawn(rng: np.random.Generator, labels: int, rights: Sequence[float], classes: Sequence[str]) -> dict[str, Any]:
    """Labels of equally frequent classes with their own recall, errors to the next class."""
    table = {}
    each = rng.multinomial(labels, [1 / len(classes)] * len(classes))
    for index, (name, n, right) in enumerate(zip(classes, each.tolist(), rights, strict=True)):
        hits = int(rng.binomial(n, right))
        table[name] = {name: hits, classes[(index + 1) % len(classes)]: n - hits}
    return {"confusion": table}


def run(
    analysis: Analysis,
    state: State,
    looks: int,
    block: Callable[[int], dict[str, Any]],
    *,
    steps: int = 1,
) -> Verdict:
    for look in range(looks):
        at_step = {"at": 60.0 * look, "step": look * steps // looks, "clusters": block(look)}
        state = analysis.update(state, at_step)
        verdict = analysis.verdict(state)
        if verdict.state in ("Pass", "Fail"):
            break
    return verdict


def share_of(results: Sequence[Outcome], wanted: str) -> float:
    return results.count(Outcome(wanted)) / len(results)


def luck(rate: float, runs: int) -> float:
    return 3 * math.sqrt(rate * (1 - rate) / runs)


MARGIN = {"name": "g", "metric": "recall", "class": "1", "margin": 0.05}
FLOOR = {"name": "g", "metric": "recall", "class": "1", "floor": 0.9}


def one_cluster(
    gate: dict[str, Any], seed: int, *, canary: float, stable: float = 0.95, runs: int, min_samples: int = 0
) -> list[Outcome]:
    analysis = Analysis.from_spec({"gates": [gate], "analysis": {"minSamples": min_samples}})
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(runs):
        start = analysis.start(CLASSES, {"aws": 1.0}, {"aws": [binary(rng, 500, stable)]})
        found.append(
            run(
                analysis,
                start,
                30,
                lambda _: {"aws": {"canary": binary(rng, 60, canary), "stable": binary(rng, 140, stable)}},
                steps=3,
            ).state
        )
    return found


@pytest.mark.parametrize(("gate", "boundary"), [(MARGIN, 0.90), (FLOOR, 0.90)], ids=["margin", "floor"])
def test_a_canary_on_the_boundary_rarely_passes_and_rarely_fails(gate, boundary):
    found = one_cluster(gate, 1, canary=boundary, runs=150)
    assert share_of(found, "Pass") <= ALPHA + luck(ALPHA, 150)
    assert share_of(found, "Fail") <= BETA + luck(BETA, 150)


def test_an_equal_canary_passes():
    assert share_of(one_cluster(MARGIN, 2, canary=0.95, runs=60, min_samples=100), "Pass") >= 0.95


def test_a_much_worse_canary_fails():
    assert share_of(one_cluster(MARGIN, 3, canary=0.75, runs=40), "Fail") == 1


def test_unequal_shares_over_clusters_do_not_fool_the_gate():
    """Equal base rates are never pooled: the canary is 6 points worse everywhere but serves mostly the easy cluster."""
    analysis = Analysis.from_spec({"gates": [MARGIN], "analysis": {"minSamples": 0}})
    rng = np.random.default_rng(4)

    def block(_: int) -> dict[str, Any]:
        return {
            "easy": {"canary": binary(rng, 40, 0.92), "stable": binary(rng, 60, 0.98)},
            "hard": {"canary": binary(rng, 10, 0.69), "stable": binary(rng, 90, 0.75)},
        }

    found = []
    for _ in range(60):
        history = {"easy": [binary(rng, 300, 0.98)], "hard": [binary(rng, 300, 0.75)]}
        start = analysis.start(CLASSES, {"easy": 0.5, "hard": 0.5}, history)
        found.append(run(analysis, start, 30, block, steps=2).state)
    assert share_of(found, "Pass") <= ALPHA + luck(ALPHA, 60)


def test_a_cluster_that_breaks_alone_fails_the_wave_and_is_named():
    analysis = Analysis.from_spec({"gates": [MARGIN], "analysis": {}})
    rng = np.random.default_rng(5)
    start = analysis.start(CLASSES, {"aws": 0.95, "gcp": 0.05})
    verdict = run(
        analysis,
        start,
        30,
        lambda _: {
            "aws": {"canary": binary(rng, 20, 0.96), "stable": binary(rng, 60, 0.95)},
            "gcp": {"canary": binary(rng, 20, 0.55), "stable": binary(rng, 60, 0.95)},
        },
    )
    assert verdict.state == "Fail"
    assert "in gcp" in verdict.reason


def test_a_canary_that_turns_bad_at_a_later_step_is_caught_soon():
    analysis = Analysis.from_spec({"gates": [MARGIN | {"margin": 0.01}], "analysis": {}})
    rng = np.random.default_rng(6)
    took = []
    for _ in range(20):
        state = analysis.start(CLASSES, {"aws": 1.0}, {"aws": [binary(rng, 500, 0.9)]})
        for look in range(100):
            right = 0.9 if look < 60 else 0.75
            block = {"aws": {"canary": binary(rng, 20, right), "stable": binary(rng, 80, 0.9)}}
            state = analysis.update(state, {"at": 60.0 * look, "step": int(look >= 60), "clusters": block})
            if analysis.verdict(state).state == "Fail":
                break
        took.append(look - 60)
    assert min(took) >= 0
    assert np.median(took) <= 8


def test_macro_precision_of_three_classes_passes_when_equal_and_not_on_the_boundary():
    classes = ["a", "b", "c"]
    gate = {"name": "g", "metric": "precision", "average": "macro", "margin": 0.05}
    analysis = Analysis.from_spec({"gates": [gate], "analysis": {"minSamples": 0}})
    rng = np.random.default_rng(7)

    def found(rights: Sequence[float], runs: int) -> list[Outcome]:
        results = []
        for _ in range(runs):
            start = analysis.start(classes, {"aws": 1.0}, {"aws": [drawn(rng, 900, [0.95] * 3, classes)]})
            results.append(
                run(
                    analysis,
                    start,
                    25,
                    lambda _: {
                        "aws": {
                            "canary": drawn(rng, 60, rights, classes),
                            "stable": drawn(rng, 90, [0.95] * 3, classes),
                        }
                    },
                ).state
            )
        return results

    # With equal classes and errors to the next class, precision equals recall: 0.95 against 0.90 is the boundary.
    assert share_of(found([0.95] * 3, 20), "Pass") >= 0.95
    assert share_of(found([0.90] * 3, 80), "Pass") <= ALPHA + luck(ALPHA, 80)


def test_retries_do_not_add_chances():
    """A boundary canary is tried five times over, its pass side continued: still one alpha for the revision."""
    analysis = Analysis.from_spec({"gates": [MARGIN], "analysis": {"minSamples": 0}})
    rng = np.random.default_rng(8)
    passed = 0
    for _ in range(80):
        state = None
        for _ in range(5):
            state = analysis.start(CLASSES, {"aws": 1.0}, {"aws": [binary(rng, 500, 0.95)]}, resume=state)
            for look in range(6):
                arms = {"canary": binary(rng, 40, 0.90), "stable": binary(rng, 60, 0.95)}
                state = analysis.update(state, {"at": 60.0 * look, "clusters": {"aws": arms}})
            if analysis.verdict(state).state == "Pass":
                passed += 1
                break
    assert passed / 80 <= ALPHA + luck(ALPHA, 80)


def test_drifting_base_rates_and_a_stepping_split_do_not_help_a_bad_canary():
    analysis = Analysis.from_spec({"gates": [MARGIN], "analysis": {"minSamples": 0}})
    rng = np.random.default_rng(9)

    def block(look: int) -> dict[str, Any]:
        stable = 0.95 - 0.15 * min(look, 30) / 30
        taken = (5, 10, 25, 50)[look * 4 // 40]
        return {"aws": {"canary": binary(rng, taken, stable - 0.06), "stable": binary(rng, 100 - taken, stable)}}

    found = [run(analysis, analysis.start(CLASSES, {"aws": 1.0}), 40, block, steps=4).state for _ in range(80)]
    assert share_of(found, "Pass") <= ALPHA + luck(ALPHA, 80)
