"""The page people read says what the code does."""

import re
from pathlib import Path
from typing import Any

import yaml

from pilotage.gate import Analysis, Outcome

PAGE = (Path(__file__).parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")


def blocks_of(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_example_of_gates_decodes():
    (example,) = blocks_of("yaml")
    analysis = Analysis.from_spec(yaml.safe_load(example))
    assert [gate.title for gate in analysis.gates] == ["recall[8]", "precision[macro]"]


def test_the_programme_runs_as_printed(capsys):
    (programme,) = blocks_of("python")
    exec(compile(programme, "docs/gate.md", "exec"), {})
    told: Any = capsys.readouterr().out
    assert told.strip() == "InsufficientData {'stable': {'aws': 400, 'gcp': 0}, 'canary': {'aws': 400, 'gcp': 0}}"


def test_every_verdict_is_explained():
    for outcome in Outcome:
        assert f"| `{outcome}` |" in PAGE
