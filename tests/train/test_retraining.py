"""A challenger is written only if rows later than all training prove it better."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from pilotage_server.bundle import AnySigner, load, open_source
from pilotage_server.bundle.manifest import Feature
from pilotage_server.feedback.labels import Columns
from pilotage_server.train.cli import app
from pilotage_server.train.config import ConfigError, File
from pilotage_server.train.data import load as load_table
from pilotage_server.train.evaluate.metrics import Answers
from pilotage_server.train.evaluate.paired import improvement
from pilotage_server.train.retrain.join import REASONS, Feedback, join
from pilotage_server.train.retrain.run import unseen
from support.serving import train_config
from support.tables import write_csv

ROWS = 600
CONFIG: dict[str, Any] = {
    "name": "shapes",
    "split": {"seed": 1, "test": 0.25},
    "model": {"estimator": "logistic-regression", "params": {"C": 100.0}},  # no shrinkage for more rows to undo
    "data": {"csv": {"path": "shapes.csv", "target": "kind"}, "quality": {"duplicates": 1.0}},
}
Draw = Callable[[int], tuple[np.ndarray[Any, Any], list[str]]]


def drawn(seed: int, slope: float, shift: float = 0.0) -> Draw:
    """Rows of two numbers; which of them matters is the world's affair."""
    rng = np.random.default_rng(seed)

    def draw(count: int) -> tuple[np.ndarray[Any, Any], list[str]]:
        rows = (rng.normal(size=(count, 2)) + shift).round(4)
        score = slope * (rows[:, 0] - shift) + (1 - slope) * (rows[:, 1] - shift) + rng.normal(0, 0.3, count)
        return rows, ["round" if value > 0 else "square" for value in score]

    return draw


@pytest.fixture
def champion(tmp_path: Path) -> Path:
    rows, labels = drawn(9, slope=1.0)(ROWS)
    write_csv(tmp_path / "shapes.csv", {"x": rows[:, 0], "y": rows[:, 1], "kind": labels})
    train_config(CONFIG, tmp_path / "champion")
    (tmp_path / "shapes.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path / "champion" / "bundle"


def some_feedback(folder: Path, draw: Draw, requests: int = 150) -> None:
    """Write a payload log of two rows a request, and labels for all of them."""
    with (folder / "payload.jsonl").open("w") as log, (folder / "labels.csv").open("w", newline="") as file:
        labels = csv.writer(file)
        labels.writerow(["token", "row", "label"])
        for i in range(requests):
            rows, truth = draw(2)
            log.write(json.dumps({"token": f"t{i}", "time": 1_000.0 + i, "rows": rows.tolist()}) + "\n")
            labels.writerows([f"t{i}", j, label] for j, label in enumerate(truth))


def retrained(folder: Path, champion: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        app,
        [
            "retrain",
            str(folder / "shapes.yaml"),
            f"--champion={champion}",
            f"--from-feedback={folder / 'payload.jsonl'}",
            f"--labels={folder / 'labels.csv'}",
            f"--out={folder / 'next'}",
            *arguments,
        ],
    )


def test_when_the_world_has_changed_the_challenger_wins_and_is_written(tmp_path: Path, champion: Path) -> None:
    some_feedback(tmp_path, drawn(2, slope=-0.5))

    ended = retrained(tmp_path, champion)

    assert ended.exit_code == 0, ended.stderr
    assert ended.stdout.startswith("pilotage.dev/models/shapes@sha256:")
    assert "logLoss improves by" in ended.stderr
    assert load(open_source(tmp_path / "next" / "oci"), trust=AnySigner()).manifest.data["rows"] > ROWS


def test_when_nothing_has_changed_no_bundle_is_written(tmp_path: Path, champion: Path) -> None:
    some_feedback(tmp_path, drawn(2, slope=1.0))

    ended = retrained(tmp_path, champion)

    assert ended.exit_code == 5
    assert "the lower end must be above 0" in ended.stderr
    assert [path.name for path in (tmp_path / "next").iterdir()] == ["refused.json"]
    kept = json.loads((tmp_path / "next" / "refused.json").read_text())["retraining"]["improvement"]
    assert kept["low"] <= 0
    assert kept["rows"] == 120


def test_the_trigger_trains_for_a_reason_only(tmp_path: Path, champion: Path) -> None:
    some_feedback(tmp_path, drawn(2, slope=1.0))
    calm = retrained(tmp_path, champion, "--only-if", "drift,quality")
    some_feedback(tmp_path, drawn(2, slope=1.0, shift=2.0))
    drifted = retrained(tmp_path, champion, "--only-if", "drift")
    some_feedback(tmp_path, drawn(2, slope=-0.5))
    worse = retrained(tmp_path, champion, "--only-if", "quality")

    assert (calm.exit_code, calm.stdout) == (0, "")
    assert "no reason to retrain: 300 labelled rows" in calm.stderr
    assert "drift: x has a stability index of" in drifted.stderr
    assert "quality: accuracy" in worse.stderr


def test_rows_without_truth_or_truth_without_rows_are_counted_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "payload.jsonl").write_text(
        "\n".join(
            [
                '{"token": "a", "time": 2, "rows": [[1, 2], [3, 4], [5]]}',
                '{"token": "b", "time": 1, "rows": [[5, null]]}',
                '{"token": "a", "time": 3, "rows": [[1, 2]]}',
                '{"token": "a", "ti',
            ]
        )
    )
    (tmp_path / "labels.csv").write_text(
        "token,row,label\na,0,square\na,0,round\na,2,round\nb,0,square\nc,0,round\nb,1,oval\n"
    )

    x, y = Feature(name="x", low=0, high=9), Feature(name="y", low=0, high=9, missing=True)
    found = join(tmp_path / "payload.jsonl", tmp_path / "labels.csv", (x, y), ("round", "square"))

    assert found.times.tolist() == [1.0, 2.0]
    assert found.labels.tolist() == [1, 0]
    assert np.isnan(found.rows[0, 1])
    assert found.left_out == {
        "unlabelled": 1,
        "wrongWidth": 1,
        "loggedTwice": 1,
        "unknownLabel": 1,
        "badLabelLine": 0,
        "halfLogLine": 1,
        "unlogged": 2,
        "unknownValue": 0,
        "gap": 0,
    }


def test_texts_become_the_champions_codes_and_what_it_cannot_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "pod-1.jsonl").write_text('{"token": "a", "time": 1, "rows": [["red", 1], ["green", 2]]}\n')
    (tmp_path / "log" / "pod-2.jsonl").write_text(
        '{"token": "b", "time": 2, "rows": [[0, null], [null, 3], ["blue", "many"]]}\n'
    )
    (tmp_path / "labels.csv").write_text("token,row,label\n" + "".join(f"{t},{i},no\n" for t in "ab" for i in range(3)))
    colour = Feature(name="colour", low=0, high=1, categories=("blue", "red"), missing=True)
    size = Feature(name="size", low=0, high=9)

    found = join(tmp_path / "log", tmp_path / "labels.csv", (colour, size), ("no", "yes"))

    np.testing.assert_array_equal(found.rows, [[1.0, 1.0], [np.nan, 3.0]])
    assert found.left_out == dict.fromkeys(REASONS, 0) | {"unknownValue": 2, "gap": 1, "unlogged": 4}


def test_a_later_row_that_repeats_a_training_row_judges_nothing(tmp_path: Path) -> None:
    rows, labels = drawn(9, slope=1.0)(400)
    write_csv(tmp_path / "shapes.csv", {"x": rows[:, 0], "y": rows[:, 1], "kind": labels})
    table = load_table(File(path=tmp_path / "shapes.csv", target="kind"))
    later = Feedback(
        rows=np.vstack([table.rows[:100], table.rows[:100] + 1e-3]),
        labels=np.tile(table.labels[:100], 2),
        times=np.arange(200.0),
        requests=np.arange(200),
        left_out={},
    )

    assert len(unseen(later, table)) == 100
    assert later.left_out == {"seenInTraining": 100}
    with pytest.raises(ConfigError, match=r"0 labelled rows are later than all training rows and repeat none \(100 do"):
        unseen(later.take(np.arange(200) < 100), table)


def test_a_challengers_successor_is_judged_on_rows_later_than_it_has_learned(tmp_path: Path, champion: Path) -> None:
    some_feedback(tmp_path, drawn(2, slope=-0.5))
    retrained(tmp_path, champion)

    same_folder = retrained(tmp_path, tmp_path / "next" / "bundle")
    again = retrained(tmp_path, tmp_path / "next" / "bundle", "--later-share=0.9", f"--out={tmp_path / 'third'}")

    assert "holds the champion, which must survive; name another folder" in same_folder.stderr
    until = load(open_source(tmp_path / "next" / "bundle"), trust=AnySigner()).manifest.data["until"]
    assert 1_080 < until < 1_090
    later = 2 * (1_149 - until)
    assert f"on {later:.0f} later rows" in again.stderr, (
        "270 are in the last 90 %, but it has learned from most of them"
    )


def test_another_table_than_the_champions_is_refused(tmp_path: Path, champion: Path) -> None:
    some_feedback(tmp_path, drawn(2, slope=-0.5))
    table = (tmp_path / "shapes.csv").read_text()
    (tmp_path / "shapes.csv").write_text(table.replace("x,y,kind", "x,z,kind"))

    ended = retrained(tmp_path, champion)

    assert ended.exit_code == 2
    assert "its features, their categories or its classes are not those of the configuration" in ended.stderr


def test_too_few_later_rows_are_refused(tmp_path: Path, champion: Path) -> None:
    some_feedback(tmp_path, drawn(2, slope=1.0), requests=30)

    ended = retrained(tmp_path, champion)

    assert ended.exit_code == 2
    assert "24 labelled rows are later than all training rows, fewer than 50; collect more labels" in ended.stderr


def test_columns_may_have_other_names_and_nothing_in_common_says_why(tmp_path: Path) -> None:
    (tmp_path / "payload.jsonl").write_text('{"token": "a", "time": 1, "rows": [[1]]}\n')
    (tmp_path / "labels.csv").write_text("id,outcome\na,round\nb,oval\n")
    x = (Feature(name="x", low=0, high=1),)

    found = join(
        tmp_path / "payload.jsonl",
        tmp_path / "labels.csv",
        x,
        ("round", "square"),
        Columns(token="id", row="row", label="outcome"),
    )

    assert found.labels.tolist() == [0]
    (tmp_path / "labels.csv").write_text("token,label\nc,round\n")
    with pytest.raises(
        ConfigError, match=r"\(1 unlabelled, 1 unlogged\); the log and the labels must be of this champion"
    ):
        join(tmp_path / "payload.jsonl", tmp_path / "labels.csv", x, ("round", "square"))


def test_a_line_that_is_no_payload_is_named(tmp_path: Path) -> None:
    (tmp_path / "payload.jsonl").write_text('{"token": "a"}\n')
    (tmp_path / "labels.csv").write_text("token,row,label\na,0,round\n")

    with pytest.raises(ConfigError, match=r"payload\.jsonl, line 1: is not"):
        join(
            tmp_path / "payload.jsonl",
            tmp_path / "labels.csv",
            (Feature(name="x", low=0, high=1),),
            ("round", "square"),
        )


def test_two_equal_models_are_not_proven_different_and_a_better_one_is() -> None:
    rng = np.random.default_rng(1)
    actual = rng.integers(0, 2, 400)

    def answers(noise: float, seed: int) -> Answers:
        chance = np.random.default_rng(seed).normal(0, noise, 400)
        p = 1 / (1 + np.exp(-(2 * (actual - 0.5) * 2 + chance)))
        return Answers(
            actual=actual,
            predicted=(p > 0.5).astype(int),
            probabilities=np.column_stack([1 - p, p]),
            classes=("a", "b"),
        )

    for metric in ("logLoss", "accuracy", "rocAuc", "macroF1", "balancedAccuracy", "brier", "prAuc"):
        same = improvement(metric, answers(2.0, 5), answers(2.0, 6), seed=1, draws=400)
        better = improvement(metric, answers(4.0, 5), answers(0.5, 6), seed=1, draws=400)
        assert better.is_proven, metric
        assert same.low < same.value < same.high, metric
