"""The report is one file that loads nothing, shows every figure with its interval, and escapes what data says."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pilotage_server.train.cli import app
from pilotage_server.train.report.card import render_card
from pilotage_server.train.report.page import render_report
from pilotage_server.train.report.style import CSS
from pilotage_server.train.report.svg import SERIES, ticks
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
        assert f">{heading}</h2>" in page
    for text in ("Would more rows help?", "Permutation importance", "What each threshold would cost", "in use: "):
        assert text in page
    assert "Decides who is called first." in page


def test_it_begins_with_what_needs_no_statistics(run: Path) -> None:
    page = (run / "report.html").read_text()
    short = page[page.index(">In short</h2>") : page.index(">The problem</h2>")]

    assert re.search(r"Of 100 rows it has never seen it gets <b>\d+ \(\d+ to \d+\)</b> right\.", short)
    assert re.search(r"Of 100 that are <b>yes</b> it finds \d+ \(\d+ to \d+\); of 100 it calls <b>yes</b>,", short)
    assert re.search(r"Its expected cost is \d+ % (lower|higher) than without a model", short)


def test_costs_are_held_against_the_cheapest_single_answer_not_the_commonest(run: Path) -> None:
    document = json.loads((run / "result.json").read_text())
    counts = {label: one["support"] for label, one in document["metrics"]["perClass"].items()}
    rows = document["metrics"]["rows"]

    assert counts["no"] > counts["yes"]
    assert document["dummy"]["expectedCost"]["value"] == pytest.approx(min(5 * counts["yes"], counts["no"]) / rows)


def test_tables_and_charts_are_there_for_those_who_do_not_see_them(run: Path) -> None:
    page = (run / "report.html").read_text()

    assert page.count("<svg ") == page.count('role="img" aria-label="') == page.count("<figcaption>") > 8
    assert page.count("<table") == page.count("<caption>") > 4
    assert not re.search(r"<th(?! scope=)(?!ead)", page)
    assert page.count("<section aria-labelledby=") == page.count("<h2 id=")


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_keeps_its_contrast(theme: int) -> None:
    """WCAG 2.2 AA: 4.5 for text; 3 for lines of charts."""
    variables = re.findall(r":root\{(--ink.*?)\}", CSS, flags=re.DOTALL)[theme]
    colours = dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})", variables))
    colours = {k: v if len(v) == 7 else "#" + "".join(2 * c for c in v[1:]) for k, v in colours.items()}

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(colours[one]), luminance(colours[other])))
        return (high + 0.05) / (low + 0.05)

    for name in ("ink", "soft", "sea", "good", "bad", "warn"):
        assert min(contrast(name, "paper"), contrast(name, "wash")) >= 4.5, name
    for series in range(SERIES):
        assert contrast(f"s{series}", "paper") >= 3, series


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-6, 1e6))
def test_ticks_are_round_and_cover_what_they_mark(low: float, span: float) -> None:
    high = low + span
    found = ticks(low, high)

    step = found[1] - found[0]
    assert 2 <= len(found) <= 8
    assert found[0] <= low + 1e-6 * step
    assert found[-1] >= high - 1e-6 * step
    assert np.allclose(np.diff(found), step, rtol=1e-3, atol=1e-9)


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
    for name in ("D² ", "calibration error ", "Matthews' correlation ", "Cohen's kappa ", "expected cost "):
        assert re.search(rf"{name}-?\d\.\d+ \[", card), name


def test_the_card_says_what_people_wrote_about_the_rows_and_what_they_did_not(run: Path) -> None:
    document = json.loads((run / "result.json").read_text())
    silent = render_card(document)
    document["data"] |= {"about": {"retention": "90 days", "contact": "risk@example.org", "source": "the till"}}
    document["data"]["personal"] = ["age"]
    told = render_card(document)

    assert "- Retention of the rows: not stated." in silent
    assert "## Contact" not in silent
    assert "- Retention of the rows: 90 days" in told
    assert "- Personal data among the features: age." in told
    assert "- source: the till" in told
    assert told.endswith("## Contact\n\nrisk@example.org\n")


def test_shap_says_what_to_install(run: Path, tmp_path: Path) -> None:
    path = a_credit_file(tmp_path / "credit.csv")
    config: dict[str, Any] = a_credit_config(path, report={"shap": True})
    (tmp_path / "credit.yaml").write_text(yaml.safe_dump(config))

    ended = CliRunner().invoke(app, ["train", str(tmp_path / "credit.yaml"), "--out", str(tmp_path / "run")])

    assert ended.exit_code == 2
    assert "report.shap: needs shap; install pilotage-server[train,shap]" in ended.stderr
