"""The report is one file that loads nothing, shows every figure with its interval, and escapes what data says."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pilotage_server.train.cli import app
from pilotage_server.train.report.card import render_card
from pilotage_server.train.report.page import render_report
from support.serving import train_config
from support.tables import a_credit_config, a_credit_file

VOID = {"meta", "line", "circle", "rect", "polyline", "br"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("credit")
    odd_name: dict[str, Any] = {"a<b>&c": [i % 5 + (i % 3) / 7 for i in range(240)]}
    path = a_credit_file(folder / "credit.csv", **odd_name)
    config = a_credit_config(
        path,
        description="Who <pays> back?",
        use="Decides who is called first.",
        costs={"yes": {"no": 5}, "no": {"yes": 1}},
        decision={"rule": "threshold", "class": "yes", "choose": "expectedCost"},
        search={"folds": 2, "outer": 2},
        report={"learningCurve": True, "validationCurve": True},
    )
    config["candidates"] = [
        {"name": "softmax", "estimator": "logistic-regression", "search": {"C": [0.1, 1.0]}},
        {"name": "bayes", "estimator": "naive-bayes"},
    ]
    del config["model"]
    train_config(config, folder / "run")
    return folder / "run"


class Balanced(HTMLParser):
    """Every tag that opens closes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closes itself."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_loads_nothing_and_is_well_formed(run: Path) -> None:
    page = (run / "report.html").read_text()

    assert not re.search(r"https?://|//[a-z]|<script|<link|<img|@import|url\(", page)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []


def test_it_tells_the_whole_story(run: Path) -> None:
    page = (run / "report.html").read_text()

    for heading in (
        "The problem",
        "The data",
        "How the model was chosen",
        "Results on rows never seen",
        "Fairness",
        "Limits",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert "Would more rows help?" in page
    assert "permutation importance" in page
    assert "Decides who is called first." in page


def test_names_from_data_are_escaped(run: Path) -> None:
    page = (run / "report.html").read_text()

    assert "a&lt;b&gt;&amp;c" in page
    assert "a<b>" not in page
    assert "Who &lt;pays&gt; back?" in page


def test_report_and_card_are_made_again_from_the_result_alone(run: Path, tmp_path: Path) -> None:
    document = json.loads((run / "result.json").read_text())

    ended = CliRunner().invoke(app, ["report", str(run), "--out", str(tmp_path)])

    assert ended.exit_code == 0
    assert (tmp_path / "report.html").read_text() == (run / "report.html").read_text() == render_report(document)
    assert (tmp_path / "model_card.md").read_text() == (run / "model_card.md").read_text() == render_card(document)
    assert (run / "bundle" / "report.html").read_text() == (run / "report.html").read_text()


def test_the_card_names_use_comparison_limits_and_dummy(run: Path) -> None:
    card = (run / "model_card.md").read_text()

    for text in ("## Intended use", "## Comparison", "| softmax |", "Class shares alone", "## Limits"):
        assert text in card


def test_shap_says_what_to_install(run: Path, tmp_path: Path) -> None:
    path = a_credit_file(tmp_path / "credit.csv")
    config: dict[str, Any] = a_credit_config(path, report={"shap": True})
    (tmp_path / "credit.yaml").write_text(yaml.safe_dump(config))

    ended = CliRunner().invoke(app, ["train", str(tmp_path / "credit.yaml"), "--out", str(tmp_path / "run")])

    assert ended.exit_code == 2
    assert "report.shap: needs shap; install pilotage-server[train,shap]" in ended.stderr
