"""The commands on docs/gate.md run as printed, and the timeline printed there is what the gate says."""

import re
import sys
from pathlib import Path

import pytest

from pilotage.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
QUICK = {
    "plan": ("--runs", "1", "--looks", "8", "-j1"),
    "simulate": ("--runs", "1", "--looks", "8", "-j1"),
    "replay": (),
}


def shown(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("command", shown("sh"))
def test_a_command_runs_as_printed(command, monkeypatch, capsys):
    words = command.split()
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [*words, *QUICK[words[2]]])

    with pytest.raises(SystemExit) as ended:
        main()

    said = capsys.readouterr()
    assert ended.value.code in (None, 0, 1), said.err
    assert said.out.count("\n") > 4


def test_the_timeline_is_what_the_gate_says(monkeypatch, capsys):
    (printed,) = shown("text")
    (command,) = (each for each in shown("sh") if " replay " in each)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", command.split())

    with pytest.raises(SystemExit):
        main()

    said = capsys.readouterr().out
    assert [line.split()[:3] for line in said.splitlines()] == [line.split()[:3] for line in printed.splitlines()]


def test_every_picture_is_there_and_drawn_by_the_script():
    drawn = set(re.findall(r'"(\w+\.svg)": \(', (ROOT / "docs" / "pictures.py").read_text(encoding="utf-8")))

    assert set(re.findall(r"\]\(gate/(\w+\.svg)\)", PAGE)) == drawn
    assert all((ROOT / "docs" / "gate" / name).stat().st_size < 20_000 for name in drawn)


def test_the_guarantee_stands_word_for_word():
    said = " ".join(line.removeprefix("> ") for line in PAGE.splitlines() if line.startswith("> "))

    assert said == (
        "If a model violates a gate in every block, requests are assigned to arms at random, outcomes are independent "
        "given the arm, and labelling ignores the arm and the truth given the prediction, then P(promoted) ≤ alpha at "
        "any polling, pause, extension or retry; P(Fail | good) ≤ beta. Deadline rollbacks are counted apart "
        "(`Expired`)."
    )
