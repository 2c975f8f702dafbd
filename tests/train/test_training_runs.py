"""A run is reproducible to the last byte, keeps its parts apart, and makes a bundle that serves."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from pilotage_server.bundle import load, open_source, read_trusted_keys
from pilotage_server.train.cli import app
from pilotage_server.train.config import ConfigError, Data, Relabel, SplitShares, Subsample, read_config
from pilotage_server.train.data import Table
from pilotage_server.train.data import load as load_table
from pilotage_server.train.data.split import split
from support.serving import DIGITS, IRIS, TRAINER, Keys, a_config, train_config
from support.tables import a_credit_config, a_credit_file

EXAMPLES = Path(__file__).parents[2] / "examples" / "train"
FOREST = {"estimator": "random-forest", "params": {"n_estimators": 8, "max_depth": 4}}


def train_in_a_process(config: Path, out: Path, hash_seed: str, *extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TRAINER), "train", config.name, "--out", str(out), *extra],
        cwd=config.parent,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_other_processes_folders_and_numbers_of_jobs_write_equal_bytes(tmp_path: Path, keys: Keys) -> None:
    config = a_credit_config(
        Path("credit.csv"),
        candidates=[{"name": "forest", **FOREST}, {"name": "softmax", "estimator": "logistic-regression"}],
        search={"folds": 2, "outer": 2},
        features={"select": ["none", "k-best"], "score": "mutual-information"},
    )
    del config["model"]
    for name in ("here", "moved"):
        (tmp_path / name).mkdir()
        a_credit_file(tmp_path / name / "credit.csv")
        (tmp_path / name / "credit.yaml").write_text(yaml.safe_dump(config))
    key = ["--signing-key", str(keys.private)]
    here, there = tmp_path / "here" / "run", tmp_path / "moved" / "run"

    run = CliRunner().invoke(app, ["train", str(tmp_path / "here" / "credit.yaml"), "--out", str(here), *key])
    moved = train_in_a_process(
        tmp_path / "moved" / "credit.yaml", there, "2", *key, "--backend", "processes", "--jobs", "2"
    )

    assert (run.exit_code, moved.returncode) == (0, 0), run.stderr + moved.stderr
    assert run.stdout == moved.stdout
    assert run.stdout.startswith("pilotage.dev/models/credit@sha256:")
    assert files_of(here) == files_of(there)


def test_another_seed_or_key_gives_another_digest(tmp_path: Path, keys: Keys) -> None:
    digests = {
        str(train_config(IRIS, tmp_path / "a", keys).document["digest"]),
        str(train_config(IRIS, tmp_path / "b").document["digest"]),
        str(train_config(a_config(IRIS, split={"seed": 8, "test": 0.3}), tmp_path / "c", keys).document["digest"]),
    }

    assert len(digests) == 3


@pytest.mark.parametrize("estimator", ["one-vs-rest-logistic-regression", "svm", "mlp", "extra-trees"])
def test_what_is_trained_passes_every_check_of_a_server(estimator: str, tmp_path: Path, keys: Keys) -> None:
    train_config(a_config(IRIS, model={"estimator": estimator}), tmp_path / "run", keys)

    loaded = load(open_source(tmp_path / "run" / "oci"), trust=read_trusted_keys(keys.public_dir))

    assert loaded.signer == "release"
    assert {entry.name for entry in loaded.manifest.files} >= {"model.skops", "model_card.md"}
    assert loaded.manifest.training["config"]["model"]["estimator"] == estimator


def test_result_tells_what_a_deployment_and_a_load_generator_need(tmp_path: Path) -> None:
    result = train_config(DIGITS, tmp_path / "run")
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    held_back = json.loads((tmp_path / "run" / "holdback.json").read_text())

    assert written["reference"] == result.reference == f"pilotage.dev/models/digits@{written['digest']}"
    assert written["rows"] == {"training": 898, "test": 180, "held back": 719}
    assert len(held_back["rows"]) == len(held_back["labels"]) == 719
    assert np.array(written["holdback"]["confusion"]).sum() == 719
    assert [sum(row) for row in written["holdback"]["confusion"]] == [
        held_back["labels"].count(str(d)) for d in range(10)
    ]
    assert written["metrics"]["perClass"]["8"]["recall"]["low"] < written["metrics"]["perClass"]["8"]["recall"]["high"]


def test_a_folder_that_no_run_made_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")

    with pytest.raises(ConfigError, match=r"holds thesis\.txt, which no training run made; use an empty folder"):
        train_config(IRIS, tmp_path / "run")

    assert (tmp_path / "run" / "thesis.txt").read_text() == "years of work"


@pytest.fixture(scope="module")
def digits_table() -> Table:
    return load_table("digits")


SHARES = SplitShares(seed=7, test=0.1, holdback=0.4)


def keys_of(rows: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> set[bytes]:
    return {row.tobytes() for row in rows}


def test_no_row_is_in_two_parts(digits_table: Table) -> None:
    parts = split(digits_table, SHARES, Data(source="digits"))

    train, test, held = (keys_of(part.rows) for part in (parts.train, parts.test, parts.holdback))
    assert len(train | test | held) == len(train) + len(test) + len(held) == len(keys_of(digits_table.rows))


def test_held_back_rows_are_the_same_whatever_is_done_to_training(digits_table: Table) -> None:
    plain = split(digits_table, SHARES, Data(source="digits"))
    altered = split(
        digits_table,
        SHARES,
        Data(
            source="digits",
            subsample=(Subsample(label="8", keep=0.2), Subsample(label=None, keep=0.5)),
            relabel=(Relabel(label="3", to="5", share=0.5),),
        ),
    )

    assert np.array_equal(plain.holdback.rows, altered.holdback.rows)
    assert np.array_equal(plain.test.rows, altered.test.rows)
    assert np.array_equal(plain.test.labels, altered.test.labels)


def test_subsampling_and_relabelling_touch_only_their_classes(digits_table: Table) -> None:
    plain = np.bincount(split(digits_table, SHARES, Data(source="digits")).train.labels)
    rules = Data(
        source="digits",
        subsample=(Subsample(label="8", keep=0.2),),
        relabel=(Relabel(label="3", to="5", share=0.5),),
    )

    found = np.bincount(split(digits_table, SHARES, rules).train.labels)

    assert found[8] == round(plain[8] * 0.2)
    assert found[3] == plain[3] - round(plain[3] * 0.5)
    assert found[5] == plain[5] + round(plain[3] * 0.5)
    assert [found[i] for i in (0, 1, 2, 4, 6, 7, 9)] == [plain[i] for i in (0, 1, 2, 4, 6, 7, 9)]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_valid_configuration(path: Path) -> None:
    config = read_config(path)

    assert split(load_table(config.data.source), config.split, config.data).train.rows.size


def test_the_demos_models_hold_back_the_same_rows(digits_table: Table) -> None:
    configs = [read_config(EXAMPLES / f"digits-{version}.yaml") for version in ("v1", "v2", "v3")]

    parts = [split(digits_table, config.split, config.data).holdback for config in configs]

    assert len(parts[0].rows) > 500
    assert all(np.array_equal(part.rows, parts[0].rows) for part in parts)


def test_a_csv_file_trains_like_a_data_set(tmp_path: Path) -> None:
    table = load_table("iris")
    lines = ["a,b,species,c,d"]
    for row, label in zip(table.rows.tolist(), table.labels, strict=True):
        lines.append(f"{row[0]},{row[1]},{table.classes[label]},{row[2]},{row[3]}")
    (tmp_path / "iris.csv").write_text("\n".join(lines))
    csv = a_config(IRIS, data={"csv": {"path": "iris.csv", "target": "species"}})

    from_csv = train_config(csv, tmp_path / "csv").document
    built_in = train_config(IRIS, tmp_path / "built-in").document

    assert from_csv["classes"] == ["setosa", "versicolor", "virginica"]
    assert from_csv["metrics"] == built_in["metrics"]
