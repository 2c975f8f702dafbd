"""Data that would make every figure lie ends the run, with an exit code of its own and a report of what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from pilotage_server.train.cli import app
from pilotage_server.train.config import ConfigError
from pilotage_server.train.data import load as load_table
from pilotage_server.train.data.leakage import column_power
from pilotage_server.train.refusals import QualityFailed
from support.serving import train_config
from support.tables import a_credit_config, a_credit_file

ROWS = 240


def labels_of(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    at = lines[0].split(",").index("defaulted")
    return [line.split(",")[at] for line in lines[1:]]


def noisy_copy(path: Path) -> list[float]:
    rng = np.random.default_rng(1)
    return [round((label == "yes") * 1.0 + rng.normal(0, 0.05), 4) for label in labels_of(path)]


PLANTED: dict[str, tuple[str, Any, str]] = {
    "a noisy copy of the label": ("score", noisy_copy, "fails: leakage 'score': tells the classes almost alone"),
    "named after the target": (
        "defaulted_on",
        lambda _: [i % 7 for i in range(ROWS)],
        "fails: target-time 'defaulted_on': is named after the target 'defaulted'",
    ),
    "dates": (
        "closed",
        lambda _: [f"2025-0{i % 9 + 1}-1{i % 3}" for i in range(ROWS)],
        "fails: target-time 'closed': holds dates",
    ),
    "a category of few values": (
        "desk",
        lambda path: [
            f"{'collections' if label == 'yes' else 'sales'} {i % 3}" for i, label in enumerate(labels_of(path))
        ],
        "fails: leakage 'desk'",
    ),
    "dates nobody can order": (
        "closed",
        lambda _: [f"{i % 12 + 1:02}/0{i % 9 + 1}/2025" for i in range(ROWS)],
        "fails: target-time 'closed': holds dates",
    ),
    "an identifier": ("customer", lambda _: list(range(1000, 1000 + ROWS)), "fails: id-like 'customer'"),
    "missing only where the label is yes": (
        "reason",
        lambda path: ["" if label == "yes" else 1.5 + i % 3 for i, label in enumerate(labels_of(path))],
        "fails: leakage 'reason'",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_column_ends_the_run_with_its_own_exit_code(name: str, tmp_path: Path) -> None:
    column, make, message = PLANTED[name]
    values: dict[str, Any] = {column: make(a_credit_file(tmp_path / "plain.csv"))}
    config = tmp_path / "credit.yaml"
    config.write_text(yaml.safe_dump(a_credit_config(a_credit_file(tmp_path / "credit.csv", **values))))

    ended = CliRunner().invoke(app, ["train", str(config), "--out", str(tmp_path / "run")])

    assert ended.exit_code == 3
    assert message in ended.stderr
    refused = json.loads((tmp_path / "run" / "refused.json").read_text())
    assert refused["reason"] == "data"
    assert [finding["column"] for finding in refused["quality"]["findings"] if finding["fails"]] == [column]
    assert not (tmp_path / "run" / "bundle").exists()


def test_a_finding_can_be_allowed_by_name_and_stays_in_the_record(tmp_path: Path) -> None:
    path = a_credit_file(tmp_path / "credit.csv", score=noisy_copy(a_credit_file(tmp_path / "plain.csv")))
    data = {"csv": {"path": str(path), "target": "defaulted"}, "quality": {"allow": ["leakage:score"]}}

    result = train_config(a_credit_config(path, data=data), tmp_path / "run").document

    assert [finding["check"] for finding in result["quality"]["allowed"]] == ["leakage"]
    assert result["quality"]["passed"]
    assert "leakage score" in (tmp_path / "run" / "model_card.md").read_text()


def test_columns_known_only_afterwards_are_left_out_by_name(tmp_path: Path) -> None:
    path = a_credit_file(tmp_path / "credit.csv", score=noisy_copy(a_credit_file(tmp_path / "plain.csv")))
    data = {"csv": {"path": str(path), "target": "defaulted"}, "columns": {"after": ["score"]}}

    result = train_config(a_credit_config(path, data=data), tmp_path / "run").document

    assert result["features"] == ["income", "debt", "job"]


def test_groups_on_both_sides_of_the_split_end_the_run_and_a_group_split_keeps_them_apart(tmp_path: Path) -> None:
    path = a_credit_file(tmp_path / "credit.csv", household=[i // 4 for i in range(ROWS)])
    data = {"csv": {"path": str(path), "target": "defaulted"}, "columns": {"group": "household"}}

    with pytest.raises(QualityFailed, match=r"group-overlap: .* test rows belong to groups that are also in training"):
        train_config(a_credit_config(path, data=data), tmp_path / "random")
    grouped = train_config(
        a_credit_config(path, data=data, split={"seed": 3, "test": 0.25, "by": "group"}), tmp_path / "grouped"
    ).document

    assert grouped["data"]["groups"] == 60
    assert grouped["quality"]["findings"][0]["check"] != "group-overlap"


def test_many_repeated_rows_and_settled_conflicts_are_told(tmp_path: Path) -> None:
    path = a_credit_file(tmp_path / "credit.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, *lines[1:41]]) + "\n")

    with pytest.raises(
        QualityFailed, match=r"duplicates: 40 rows \(14.3%\) repeat an earlier one; \d+ test rows are also"
    ):
        train_config(a_credit_config(path), tmp_path / "run")

    flipped = [line.replace(",no", ",maybe").replace(",yes", ",no").replace(",maybe", ",yes") for line in lines[1:31]]
    path.write_text("\n".join([*lines, *flipped]) + "\n")
    with pytest.raises(QualityFailed, match=r"label-conflicts: 60 rows \(22.2%\) share all features with a row"):
        train_config(a_credit_config(path), tmp_path / "run")


def test_a_column_that_is_mostly_empty_fails_and_a_constant_one_is_noted(tmp_path: Path) -> None:
    path = a_credit_file(
        tmp_path / "credit.csv", note=["" if i % 20 else i % 3 for i in range(ROWS)], branch=[7] * ROWS
    )

    with pytest.raises(QualityFailed, match=r"missing 'note': 95.0% of its values are missing") as failed:
        train_config(a_credit_config(path), tmp_path / "run")

    assert len(failed.value.findings) == 1
    refused = json.loads((tmp_path / "run" / "refused.json").read_text())
    assert ("constant", "branch", False) in [
        (f["check"], f["column"], f["fails"]) for f in refused["quality"]["findings"]
    ]


def test_an_unknown_column_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    path = a_credit_file(tmp_path / "credit.csv")
    data = {"csv": {"path": str(path), "target": "defaulted"}, "columns": {"ignore": ["incom"]}}

    with pytest.raises(ConfigError, match=r"data\.columns\.ignore: 'incom' is no column .*did you mean 'income'\?"):
        train_config(a_credit_config(path, data=data), tmp_path / "run")


def test_noise_has_no_power_whatever_its_shape() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 600)
    for noise in (rng.normal(size=600), rng.integers(0, 4, 600).astype(float), np.arange(600.0)):
        assert column_power(noise, labels, 3, seed=1).auc == pytest.approx(0.5, abs=0.08)


def test_a_power_that_is_not_monotone_is_seen() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 600)
    middle = np.where(labels == 1, rng.uniform(-1, 1, 600), rng.choice([-3, 3], 600) + rng.uniform(-1, 1, 600))

    assert column_power(middle, labels, 2, seed=1).auc > 0.99


def test_a_good_feature_of_few_rows_is_no_leak() -> None:
    """A petal's length tells three kinds of iris with an AUC of 0.99: by its nature, not by a label inside."""
    iris = load_table("iris")
    petal_length = column_power(iris.rows[:, 2], iris.labels, 3, seed=7)

    assert petal_length.auc > 0.98
    assert petal_length.low < 0.99
