"""`pilotage gate …` as users run it: results, exit codes, errors that name field, value and remedy; no cluster."""

import json
import sys
from pathlib import Path

import pytest

from pilotage.cli.main import main

GATES = "gates:\n- {name: quality, metric: accuracy, margin: 0.05}\nanalysis: {minSamples: 0}\n"
DEPLOYMENT = """
kind: ModelDeployment
spec:
  rollout: {steps: [{weight: 20}, {weight: 60}], maxDuration: 1h}
  feedback: {labelDelay: 5m}
  gates: [{name: found, metric: recall, class: spam, floor: 0.8}]
"""
QUICK = ("--looks", "12", "--duration", "1h", "--jobs", "1")


@pytest.fixture
def gates(tmp_path: Path) -> str:
    path = tmp_path / "gates.yaml"
    path.write_text(GATES)
    return str(path)


@pytest.fixture
def counts(tmp_path: Path) -> str:
    arm = {"confusion": {"a": {"a": 80, "b": 20}, "b": {"b": 80, "a": 20}}}
    bad = {"confusion": {"a": {"a": 50, "b": 50}, "b": {"b": 50, "a": 50}}}
    lines = [{"at": 60 * n, "clusters": {"aws": {"stable": arm, "canary": bad}}} for n in range(4)]
    path = tmp_path / "counts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.fixture
def pilotage(monkeypatch, capsys):
    """Run the command; (exit code, stdout, stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pilotage", "gate", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_simulate_tells_the_same_for_a_seed_whatever_the_number_of_jobs(pilotage, gates):
    asked = (
        "simulate",
        gates,
        "--runs",
        "4",
        "--scenario",
        "boundary",
        "--looks",
        "6",
        "--duration",
        "1h",
        "-o",
        "json",
    )

    one = pilotage(*asked, "--jobs", "1")
    two = pilotage(*asked, "--jobs", "2")
    other = pilotage(*asked, "--jobs", "1", "--seed", "2")

    assert one == two
    assert one[1] != other[1]
    assert json.loads(one[1])["scenarios"][0]["gate"]["passed"]["runs"] == 4


def test_simulate_takes_steps_deadline_and_delay_from_a_deployment(pilotage, tmp_path):
    path = tmp_path / "rollout.yaml"
    path.write_text(DEPLOYMENT)

    code, out, _ = pilotage(
        "simulate", str(path), "--runs", "1", "--scenario", "equal", "--no-peers", *QUICK[:2], "-j1"
    )

    assert code == 0
    assert out.splitlines()[:2] == [
        "found: recall[spam], floor 0.8; alpha 0.05, beta 0.05; 1 rollouts each, seed 1",
        "3000 requests/min, 10 % labelled, told 5m later; canary at 20, 60 %; 12 looks in 1h00m",
    ]


def test_simulate_draws_a_page(pilotage, gates):
    code, out, _ = pilotage("simulate", gates, "--runs", "1", "--scenario", "equal", *QUICK, "-o", "html")

    assert code == 0
    assert out.startswith("<!doctype html>")
    assert "<svg" in out


def test_plan_exits_with_one_when_a_margin_cannot_be_proved(pilotage, gates):
    tight = ("--requests-per-minute", "60", "--runs", "2", *QUICK)

    code, out, _ = pilotage("plan", gates, *tight)

    assert code == 1
    assert "takes" in out.splitlines()[-1]


def test_plan_reads_a_test_set_as_the_trainer_writes_it(pilotage, gates, tmp_path):
    result = {"metrics": {"confusion": [[90, 10], [5, 95]], "perClass": {"no": {}, "yes": {}}}}
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result))

    code, out, _ = pilotage("plan", gates, "--confusion", str(path), "--runs", "2", *QUICK, "-o", "json")

    told = json.loads(out)
    assert code == 0
    assert told["gates"][0]["stable"] == pytest.approx(0.925)
    assert told["gates"][0]["isProvable"]


def test_replay_exits_with_one_when_a_gate_would_have_failed(pilotage, gates, counts):
    code, out, _ = pilotage("replay", gates, counts)

    assert code == 1
    assert "gates.yaml: Fail after" in out


def test_replay_compares_two_files_of_gates(pilotage, gates, counts, tmp_path):
    lax = tmp_path / "lax.yaml"
    lax.write_text("gates: [{name: lax, metric: accuracy, floor: 0.3}]\nanalysis: {minSamples: 0}\n")

    code, out, _ = pilotage("replay", str(lax), counts, "--against", gates, "-o", "json")

    told = json.loads(out)["opinions"]
    assert code == 0
    assert [(each["gates"], each["decided"]["state"]) for each in told] == [
        ("lax.yaml", "Pass"),
        ("gates.yaml", "Fail"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("simulate", "GATES", "--scenario", "sunny"), "--scenario: 'sunny' is not known; there are equal, better,"),
        (("simulate", "GATES", "--gate", "x"), "--gate: 'x' is not a gate of"),
        (("simulate", "GATES", "--shares", "a"), "--shares: 'a' is not NAME=NUMBER; write for example a=0.7,b=0.3"),
        (("simulate", "GATES", "--shares", "a=1"), "--shares: only a; a classifier has two classes or more"),
        (("simulate", "GATES", "--recall", "1.2"), "--recall: 1.2 is above 1"),
        (("simulate", "GATES", "--recall", "0=0.9"), "--recall: nothing for 1; name every class, or give one number"),
        (("simulate", "GATES", "--weights", "120"), "--weights: 120 is not below 100"),
        (("simulate", "GATES", "--label-delay", "7h"), "--label-delay: 25200 s is not below --duration 21600 s"),
        (("simulate", "GATES", "--worse", "x"), "--worse: 'x' is not a list of numbers"),
        (("simulate", "GATES", "--runs", "0"), "--runs: 0 is not a number of rollouts"),
        (("plan", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
        (("plan", "EMPTY"), "no gates; write gates: [{name: quality, metric: accuracy, margin: 0.02}]"),
        (("plan", "WRONG"), "spec.gates[0].floor: 1.2 is not below 1"),
        (("replay", "GATES"), "give a RECORDING, or --prometheus cluster=URL"),
        (("replay", "GATES", "WRONG"), "line 1: not JSON"),
        (("replay", "GATES", "--prometheus", "aws"), "--model: missing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_mistakes_are_named_with_their_remedy(pilotage, gates, tmp_path, arguments, said):
    files = {"GATES": gates, "EMPTY": str(tmp_path / "empty.yaml"), "WRONG": str(tmp_path / "wrong.yaml")}
    Path(files["EMPTY"]).write_text("analysis: {}\n")
    Path(files["WRONG"]).write_text("gates: [{name: g, metric: accuracy, floor: 1.2}]\n")

    code, out, err = pilotage(*(files.get(each, each) for each in arguments))

    assert (code, out) == (2, "")
    assert said in err
    assert err.startswith("error: ")


@pytest.mark.parametrize("command", ["plan", "simulate", "replay"])
def test_help_teaches_with_examples_and_exit_codes(pilotage, command):
    code, out, _ = pilotage(command, "--help")

    assert code == 0
    assert f"\n    pilotage gate {command} " in out
    assert "\n  Exit codes:\n    0  " in out
