"""What the gate commands print, as whole texts: tables, and the words of every number."""

import json
import xml.etree.ElementTree as ET

import pytest

from pilotage.cli import gate_plan_views, gate_replay_views, gate_simulate_views
from pilotage.cli.gate_words import amount, clock, percent
from pilotage.gate import Analysis
from pilotage.trials import (
    Campaign,
    Forecast,
    Rate,
    Row,
    Scenario,
    Setting,
    Standing,
    Tally,
    decode_recording,
    from_recalls,
    replayed,
)

SPEC = {"gates": [{"name": "quality", "metric": "accuracy", "margin": 0.02}], "analysis": {}}
ANALYSIS = Analysis.from_spec(SPEC)
SETTING = Setting(stable=from_recalls(("no", "yes"), {"no": 0.9, "yes": 0.9}), shares={"no": 0.5, "yes": 0.5})
EQUAL = Scenario(name="equal", about="the canary equals stable", off=0.0)
BOUNDARY = Scenario(name="boundary", about="exactly at the margin")


def counted(passed: int, failed: int, runs: int = 100, why: str = "") -> Tally:
    return Tally(
        passed=Rate(hits=passed, runs=runs),
        failed=Rate(hits=failed, runs=runs),
        expired=Rate(hits=runs - passed - failed, runs=runs),
        labels=1600.0,
        requests=16_000.0,
        seconds=3360.0,
        mean_labels=1700.5,
        why_undecided=why,
    )


def a_row(scenario: Scenario, ours: Tally, excess: float) -> Row:
    standing = Standing(title="accuracy", canary=0.88 + excess, stable=0.9, least=excess, greatest=excess)
    peers = {"Argo-style": counted(72, 28), "Flagger-style": counted(60, 40)}
    return Row(scenario=scenario, standings={"quality": standing}, about="quality", ours=ours, peers=peers)


ROWS = (
    a_row(EQUAL, counted(97, 0), 0.02),
    a_row(BOUNDARY, counted(20, 2, why="quality: enough labels, not decided yet"), 0.0),
)
CAMPAIGN = Campaign(spec=SPEC, setting=SETTING, about="quality", scenarios=(EQUAL, BOUNDARY), runs=100, seed=1)


def test_a_simulation_as_a_table():
    assert gate_simulate_views.table(CAMPAIGN, ANALYSIS, ROWS) == (
        "quality: accuracy, margin 0.02; alpha 0.05, beta 0.05; 100 rollouts each, seed 1\n"
        "3000 requests/min, 10 % labelled; canary at 10, 50 %; 360 looks in 6h00m\n"
        "\n"
        "SCENARIO  CANARY  STABLE  FALSE PASS %  FALSE FAIL %  EXPIRED %  LABELS  TIME  ARGO PASS  ARGO FAIL"
        "  FLAGGER PASS  FLAGGER FAIL\n"
        "equal     0.9000  0.9000             –      0.0 <3.6   3.0 ±1.7   1 600   56m        72         28!"
        "           60            40!\n"
        "boundary  0.8800  0.9000     20.0 ±4.0      2.0 ±1.4  78.0 ±4.1   1 600   56m        72!        28!"
        "           60!           40!\n"
        "\n"
        "± one standard error; < and > exact 95 % bounds. LABELS (the canary's, as the gate counts) and TIME: medians\n"
        "of the decided rollouts. Peers: % of rollouts that pass or fail, ! = wrongly. Scenarios:\n"
        "  equal            the canary equals stable\n"
        "  boundary         exactly at the margin\n"
        "  boundary         undecided, mostly: quality: enough labels, not decided yet\n"
        "alpha and beta are NOT kept in: boundary (within 3 standard errors).\n"
    )


def test_a_simulation_as_json_tells_counts_and_exact_bounds():
    told = json.loads(gate_simulate_views.document(CAMPAIGN, ANALYSIS, ROWS))

    equal, boundary = told["scenarios"]
    assert equal["gate"]["falsePass"] is None
    assert equal["truth"]["quality"] == {"canary": 0.9, "stable": 0.9, "holds": True, "broken": False}
    assert boundary["gate"]["falsePass"]["hits"] == 20
    assert boundary["gate"]["falsePass"]["low"] == pytest.approx(0.1267, abs=1e-4)
    assert (equal["keepsAlphaAndBeta"], boundary["keepsAlphaAndBeta"]) == (True, False)


@pytest.mark.parametrize(
    "picture",
    [
        gate_simulate_views.picture(CAMPAIGN, ANALYSIS, ROWS),
        gate_plan_views.picture(CAMPAIGN, ROWS),
    ],
    ids=["simulation", "plan"],
)
def test_a_picture_is_small_and_whole(picture):
    assert ET.fromstring(picture).tag.endswith("svg")
    assert len(picture) < 20_000


def a_forecast(**other) -> Forecast:
    needs = {"equal": counted(100, 0), "2x off": counted(0, 100)}
    told = {"name": "quality", "title": "accuracy", "stable": 0.9, "asked": 0.02, "needs": needs}
    return Forecast(**{**told, "gate_labels": 32_400.0, "provable": 0.0045, **other})


def test_a_plan_as_a_table():
    plan = gate_plan_views.Plan(
        setting=SETTING, runs=100, seed=1, forecasts=(a_forecast(),), outlook=[(a_forecast(), ROWS)]
    )

    assert gate_plan_views.table(plan) == (
        "3000 requests/min, 10 % labelled; canary at 10, 50 %; 360 looks in 6h00m; 100 rollouts each, seed 1\n"
        "\n"
        "What each gate needs by itself (canary labels in its denominator, medians):\n"
        "GATE     METRIC    STABLE   ASKED  PROVABLE     LABELS UNTIL DEADLINE  TO PASS IF EQUAL  TO FAIL IF 2X OFF\n"
        "quality  accuracy  0.9000  0.0200    0.0045  ✔                 32 400      1 600 in 56m       1 600 in 56m\n"
        "\n"
        "What the rollout comes to, all gates together:\n"
        "CANARY                  PASS %    FAIL %  EXPIRED %  TIME\n"
        "equals stable        97.0 ±1.7  0.0 <3.6   3.0 ±1.7   56m\n"
        "boundary in quality  20.0 ±4.0  2.0 ±1.4  78.0 ±4.1   56m\n"
        "\n"
        "ASKED: the distance from stable to the gate's boundary; PROVABLE: the least one that an equal canary can be\n"
        "proved within by the deadline. Half a margin takes four times the labels.\n"
    )


def test_a_plan_that_cannot_be_kept_says_what_can():
    plan = gate_plan_views.Plan(
        setting=SETTING,
        runs=100,
        seed=1,
        forecasts=(
            a_forecast(provable=0.04),
            a_forecast(name="rare", provable=float("inf"), gate_labels=0.0),
            a_forecast(name="strict", asked=-0.01, provable=float("inf")),
        ),
        outlook=[],
    )

    assert not plan.is_provable
    assert gate_plan_views.table(plan).splitlines()[-3:] == [
        "quality: 0.0200 takes 4.0 times the labels there will be; ask for 0.0400, label more, raise the canary's "
        "weight or maxDuration.",
        "rare: no label of its denominator comes; label rows of that class, or gate on another metric.",
        "strict: stable's own accuracy, 0.9000, is not within the limit, so an equal canary never passes; move the "
        "limit, or tell stable's true rates (--confusion, --recall).",
    ]


def test_a_replay_as_a_timeline():
    good = '{"confusion": {"a": {"a": 50}, "b": {"b": 40, "a": 10}}}'
    lines = [f'{{"at": {60 * n}, "clusters": {{"aws": {{"stable": {good}, "canary": {good}}}}}}}' for n in (1, 2)]
    recording = decode_recording(lines)
    analysis = Analysis.from_spec({"gates": [{"name": "g", "metric": "accuracy", "floor": 0.5}], "analysis": {}})
    replay = replayed(analysis, recording)
    opinion = gate_replay_views.Opinion(name="gates.yaml", analysis=analysis, replay=replay)

    text = gate_replay_views.table(recording, [opinion])

    passing, failing = (f"{number:+.2f}" for number in (replay.turns[0].log_e_pass, replay.turns[0].log_e_fail))
    assert text == (
        "2 blocks in 60s; aws 100 %\n"
        "\n"
        "gates.yaml: Pass after 0s\n"
        "AT  GATE   SAYS  LOG E PASS  LOG E FAIL  LABELS  WHY\n"
        f"0s  g      Pass  {passing:>10}  {failing:>10}     100  the evidence rules out that the gate is violated\n"
        "0s  (all)  Pass           –           –       –  every gate passes\n"
    )
    assert ET.fromstring(gate_replay_views.picture(recording, [opinion])).tag.endswith("svg")
    assert json.loads(gate_replay_views.document(recording, [opinion]))["opinions"][0]["decided"]["state"] == "Pass"


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (None, "–"),
        (Rate(hits=0, runs=0), "–"),
        (Rate(hits=0, runs=200), "0.0 <1.8"),
        (Rate(hits=200, runs=200), "100 >98.2"),
        (Rate(hits=7, runs=200), "3.5 ±1.3"),
    ],
)
def test_a_rate_tells_its_uncertainty(rate, text):
    assert percent(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (42, "42s"), (420, "7m"), (7500, "2h05m"), (300_000, "3d11h"), (float("inf"), "never")],
)
def test_times_are_short(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(("labels", "text"), [(None, "–"), (12_345.4, "12 345"), (float("inf"), "never")])
def test_amounts_are_grouped(labels, text):
    assert amount(labels) == text
