"""`pilotage-model sign` and `export`: a bundle gets its signature elsewhere, and its model leaves as a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pilotage_server.bundle import AnySigner, load, open_source, read_trusted_keys
from pilotage_server.bundle.predictor import OnnxPredictor
from pilotage_server.train.cli import app
from support.serving import IRIS, Keys, train_config


@pytest.fixture
def unsigned(tmp_path: Path) -> Path:
    train_config(IRIS, tmp_path / "run")
    return tmp_path / "run"


def test_a_bundle_signed_later_is_the_one_signed_at_once(unsigned: Path, tmp_path: Path, keys: Keys) -> None:
    at_once = train_config(IRIS, tmp_path / "at-once", keys)

    ended = CliRunner().invoke(app, ["sign", str(unsigned), "--signing-key", str(keys.private)])

    assert ended.exit_code == 0, ended.stderr
    assert ended.stdout.strip() == at_once.reference
    assert json.loads((unsigned / "result.json").read_text())["signed"]
    assert load(open_source(unsigned / "oci"), trust=read_trusted_keys(keys.public_dir)).signer == "release"


def test_a_bundle_that_would_not_serve_is_not_signed(unsigned: Path, keys: Keys) -> None:
    model = unsigned / "bundle" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")

    ended = CliRunner().invoke(app, ["sign", str(unsigned), "--signing-key", str(keys.private)])

    assert ended.exit_code == 1
    assert "its SHA-256 is not the one in manifest.json" in ended.stderr
    assert not (unsigned / "bundle" / "signature").exists()


def test_the_exported_model_gives_the_bundles_probabilities(unsigned: Path, tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["export", str(unsigned / "bundle"), "--to", str(tmp_path / "iris.onnx")])

    assert ended.stdout.strip() == str(tmp_path / "iris.onnx")
    bundle = load(open_source(unsigned / "bundle"), trust=AnySigner())
    rows = np.array(bundle.manifest.golden.rows, dtype=np.float64)
    alone = OnnxPredictor((tmp_path / "iris.onnx").read_bytes(), name="x", width=4, classes=3, threads=1)
    assert np.array_equal(alone.probabilities(rows), bundle.predictor.probabilities(rows))


def test_a_format_that_is_not_there_is_refused_with_the_one_that_is(unsigned: Path, tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["export", str(unsigned / "bundle"), "--to", str(tmp_path / "iris.pkl")])

    assert ended.exit_code == 2
    assert "ends in neither .onnx nor .skops" in ended.stderr
