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
from support.tables import write_csv

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
    ],
)
def test_what_cannot_be_learned_in_pieces_says_so(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    config = streamed(a_long_file(tmp_path / "long.csv", rows=50), **changes)
    if "by" in config["split"]:
        config["data"]["columns"] = {"time": "a"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))

    with pytest.raises(ConfigError, match=message):
        fit_stream(read_config(tmp_path / "run.yaml"), chunk_rows=10)
