"""More than one process, and more rows than memory: the same model to the byte, or the same rows in pieces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from pilotage_server.bundle import AnySigner, load, open_source
from pilotage_server.train.cli import app
from pilotage_server.train.config import ConfigError, read_config
from pilotage_server.train.scale.streaming import fit_stream
from support.serving import TRAINER
from support.tables import a_credit_file, write_csv

COMPARED: dict[str, Any] = {
    "name": "iris",
    "data": {"dataset": "iris"},
    "split": {"seed": 7, "test": 0.3},
    "candidates": [
        {"name": "softmax", "estimator": "logistic-regression", "search": {"C": [0.1, 1.0]}},
        {"name": "bayes", "estimator": "naive-bayes"},
    ],
    "search": {"folds": 2, "outer": 2},
}
CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, host="127.0.0.1",
                      protocol="tcp") as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


def train(folder: Path, config: dict[str, Any], name: str, *arguments: str) -> Result:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    return CliRunner().invoke(app, ["train", str(folder / f"{name}.yaml"), "--out", str(folder / name), *arguments])


def test_a_dask_cluster_chooses_and_writes_the_same_model(tmp_path: Path) -> None:
    here = train(tmp_path, COMPARED, "here")
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        there = subprocess.run(
            [
                str(TRAINER), "train", str(tmp_path / "here.yaml"), "--out", str(tmp_path / "there"),
                "--backend", "dask", "--scheduler", address,
            ],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )  # fmt: skip
    finally:
        cluster.communicate("", timeout=30)

    assert there.returncode == 0, there.stderr
    assert there.stdout == here.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "spark"], "--backend spark: unknown; one of local, processes, dask, ray"),
        (["--backend", "dask"], "--backend dask: needs --scheduler"),
        (["--backend", "processes", "--chunk-rows", "9"], "--chunk-rows: a file in pieces is learned in this process"),
        (["--backend", "ray"], "--backend ray: needs ray; install pilotage-server[train,ray]"),
    ],
)
def test_a_backend_that_is_not_there_is_a_usage_error(arguments: list[str], message: str, tmp_path: Path) -> None:
    ended = train(tmp_path, COMPARED, "run", *arguments)

    assert ended.exit_code == 2
    assert message in ended.stderr


def a_long_file(path: Path, rows: int = 4_000) -> Path:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(rows, 3)).round(5) * [1.0, 10.0, 0.1]
    score = values @ [1.5, -0.2, 5.0] + rng.normal(0, 0.5, rows)
    kind = np.where(score > 1, "high", np.where(score < -1, "low", "middle"))
    return write_csv(path, {"a": values[:, 0], "b": values[:, 1], "c": values[:, 2], "kind": kind})


def streamed(path: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "stream",
        "data": {"csv": {"path": str(path), "target": "kind"}},
        "split": {"seed": 2, "test": 0.2, "holdback": 0.1},
        "model": {"estimator": "sgd-logistic-regression"},
        **changes,
    }


def test_rows_in_pieces_give_a_bundle_that_serves(tmp_path: Path) -> None:
    path = a_long_file(tmp_path / "long.csv")

    ended = train(tmp_path, streamed(path), "run", "--chunk-rows", "500")

    assert ended.exit_code == 0, ended.stderr
    assert "rows in pieces" in ended.stderr
    manifest = load(open_source(tmp_path / "run" / "oci"), trust=AnySigner()).manifest
    assert manifest.baseline["accuracy"]["value"] > 0.8
    assert manifest.baseline["rows"] == pytest.approx(800, abs=80)


def test_the_parts_do_not_depend_on_the_pieces_and_a_repeated_row_is_on_one_side(tmp_path: Path) -> None:
    path = a_long_file(tmp_path / "long.csv", rows=600)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, *lines[1:200]]) + "\n")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(streamed(path)))
    config = read_config(tmp_path / "run.yaml")

    few, many = fit_stream(config, chunk_rows=1_000), fit_stream(config, chunk_rows=64)

    def rows_of(part: Any) -> set[bytes]:
        return {row.tobytes() for row in part.rows}

    for one, other in zip(
        (few.parts.train, few.parts.test, few.parts.holdback),
        (many.parts.train, many.parts.test, many.parts.holdback),
        strict=True,
    ):
        assert rows_of(one) == rows_of(other)
    assert not rows_of(few.parts.train) & rows_of(few.parts.test)
    assert few.learned == many.learned == len(few.parts.train)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"estimator": "svm"}}, "model.estimator: rows in pieces need sgd-logistic-regression"),
        ({"data": {"dataset": "iris"}}, "data.csv: rows in pieces need a CSV file"),
        ({"split": {"seed": 1, "by": "time"}}, "split.by: rows in pieces are split by their hash"),
        ({"imbalance": {"compare": ["smote"]}}, "imbalance.compare: rows in pieces take none or class-weight"),
        ({"prepare": {"encode": "target"}}, "prepare.encode: rows in pieces take one-hot"),
    ],
)
def test_what_cannot_be_learned_in_pieces_says_so(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    config = streamed(a_long_file(tmp_path / "long.csv", rows=50), **changes)
    if "by" in config["split"]:
        config["data"]["columns"] = {"time": "a"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))

    with pytest.raises(ConfigError, match=message):
        fit_stream(read_config(tmp_path / "run.yaml"), chunk_rows=10)


def fitted_stream(folder: Path, document: dict[str, Any], chunk_rows: int = 500) -> Any:
    (folder / "run.yaml").write_text(yaml.safe_dump(document))
    return fit_stream(read_config(folder / "run.yaml"), chunk_rows=chunk_rows)


def test_rows_in_pieces_may_hold_gaps_and_categories(tmp_path: Path) -> None:
    path = a_credit_file(tmp_path / "credit.csv", rows=3_000, member=["true", "false", ""] * 1_000)
    data = {"csv": {"path": str(path), "target": "defaulted"}}

    streamed_pieces = fitted_stream(tmp_path, streamed(path, data=data, features={"select": "k-best", "keep": 5}))

    table, parts = streamed_pieces.table, streamed_pieces.parts
    assert [(column.name, column.categories) for column in table.columns] == [
        ("income", ()),
        ("debt", ()),
        ("job", ("clerk", "driver", "nurse")),
        ("member", ()),
    ]
    found = streamed_pieces.pipeline.predict(parts.test.rows)
    assert (found == parts.test.labels).mean() > 0.75
    assert np.isnan(parts.test.rows[:, [0, 3]]).any(axis=0).all()


def test_rows_that_judge_calibrate_and_never_teach(tmp_path: Path) -> None:
    path = a_credit_file(tmp_path / "credit.csv", rows=4_000)
    data = {"csv": {"path": str(path), "target": "defaulted"}}
    plain = fitted_stream(tmp_path, streamed(path, data=data))

    judged = fitted_stream(
        tmp_path,
        streamed(path, data=data, calibration={"method": "isotonic"}, imbalance={"compare": ["class-weight"]}),
    )

    assert judged.scores is not None
    labels, probabilities = judged.scores
    assert len(labels) == pytest.approx(0.1 * plain.learned, rel=0.25)
    assert judged.learned + len(labels) == plain.learned
    assert type(judged.pipeline[-1]).__name__ == "CalibratedClassifierCV"
    assert np.abs(probabilities.mean(axis=0) - np.bincount(labels) / len(labels)).max() < 0.02


def test_learning_stops_when_more_rows_help_no_more(tmp_path: Path) -> None:
    path = a_long_file(tmp_path / "long.csv", rows=20_000)
    config = streamed(path, search={"enough": 0.05})

    ended = fitted_stream(tmp_path, config, chunk_rows=1_000)

    assert ended.learned < 10_000
    assert [point["rows"] for point in ended.curve] == sorted(point["rows"] for point in ended.curve)
    last, before = ended.curve[-1]["validation"], ended.curve[-2]["validation"]
    assert last > 0.95 * before


def test_a_threshold_found_on_rows_in_pieces_is_in_the_bundle(tmp_path: Path) -> None:
    path = a_credit_file(tmp_path / "credit.csv", rows=3_000)
    config = streamed(
        path,
        data={"csv": {"path": str(path), "target": "defaulted"}},
        decision={"rule": "threshold", "class": "yes", "minRecall": 0.9},
        report={"learningCurve": True},
    )

    ended = train(tmp_path, config, "run", "--chunk-rows", "500")

    assert ended.exit_code == 0, ended.stderr
    manifest = load(open_source(tmp_path / "run" / "oci"), trust=AnySigner()).manifest
    assert manifest.baseline["perClass"]["yes"]["recall"]["value"] > 0.8
    assert "training rows" in (tmp_path / "run" / "report.html").read_text()
