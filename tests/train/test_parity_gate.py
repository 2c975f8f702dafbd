"""ONNX serves only if it gives scikit-learn's probabilities and decisions; otherwise scikit-learn serves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from pilotage_server.bundle import BackendKind, load, open_source, read_trusted_keys
from pilotage_server.bundle.decision import Argmax, Threshold
from pilotage_server.bundle.predictor import OnnxPredictor
from pilotage_server.train.data import load as load_table
from pilotage_server.train.deploy.export import compare, to_onnx
from pilotage_server.train.models.recipes import make_classifier
from support.serving import DIGITS, IRIS, Keys, a_config, train_config

Rows = NDArray[np.float64]


@pytest.fixture(scope="module")
def cancer() -> tuple[Pipeline, Rows]:
    """A fitted binary classifier, and rows."""
    table = load_table("breast_cancer")
    pipeline = make_pipeline(StandardScaler(), make_classifier("logistic-regression", {}, seed=1))
    return pipeline.fit(table.rows, table.labels), table.rows


class Bent:
    """A converter's mistake: one row's probabilities are those of another class."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def probabilities(self, rows: Rows) -> Rows:
        found: Rows = self._pipeline.predict_proba(rows)
        found[3] = found[3][::-1]
        return found


def test_a_faithful_conversion_is_equal_in_both_precisions(cancer: tuple[Pipeline, Rows]) -> None:
    pipeline, rows = cancer
    for kind, bound in ((BackendKind.ONNX_F64, 1e-12), (BackendKind.ONNX_F32, 1e-5)):
        predictor = OnnxPredictor(to_onnx(pipeline, kind, 30), name="model.onnx", width=30, classes=2, threads=1)

        difference, changed = compare(pipeline, predictor, rows, Argmax())

        assert difference <= bound
        assert changed == 0


def test_one_changed_decision_is_seen(cancer: tuple[Pipeline, Rows]) -> None:
    pipeline, rows = cancer

    difference, changed = compare(pipeline, Bent(pipeline), rows, Argmax())

    assert difference > 0.5
    assert changed == 1


def test_decisions_are_compared_by_the_rule_that_will_serve(cancer: tuple[Pipeline, Rows]) -> None:
    pipeline, rows = cancer
    strict = Threshold(positive=1, value=0.999)
    honest = OnnxPredictor(
        to_onnx(pipeline, BackendKind.ONNX_F64, 30), name="model.onnx", width=30, classes=2, threads=1
    )

    assert compare(pipeline, honest, rows, strict)[1] == 0
    assert np.sum(strict.decide(pipeline.predict_proba(rows)) != pipeline.predict(rows)) > 10


@pytest.mark.parametrize(
    ("base", "model", "backend", "problem"),
    [
        (
            {**IRIS, "calibration": {"method": "temperature"}},
            {"estimator": "logistic-regression"},
            "sklearn",
            "'_TemperatureScaling' object has no attribute",
        ),
        (
            DIGITS,
            {"estimator": "random-forest", "params": {"n_estimators": 50}},
            "sklearn",
            "probabilities differ by up to",
        ),
        (IRIS, {"estimator": "extra-trees", "params": {"n_estimators": 5}}, "onnx-f32", "ONNX Runtime cannot load it"),
    ],
    ids=["fails to convert", "converts to other numbers", "only single precision"],
)
def test_falls_back_and_says_why(
    base: dict[str, object], model: dict[str, object], backend: str, problem: str, tmp_path: Path, keys: Keys
) -> None:
    result = train_config(a_config(base, model=model), tmp_path / "run", keys).document

    assert result["backend"] == backend
    assert problem in result["parity"][0]["problem"]
    loaded = load(open_source(tmp_path / "run" / "bundle"), trust=read_trusted_keys(keys.public_dir))
    assert loaded.manifest.backend == backend
    assert backend in (tmp_path / "run" / "bundle" / "model_card.md").read_text()


def test_a_threshold_belongs_to_the_manifest(tmp_path: Path) -> None:
    base = {"name": "cancer", "data": {"dataset": "breast_cancer"}, "model": {"estimator": "logistic-regression"}}
    rule = {"rule": "threshold", "class": "malignant", "value": 0.1, "abstainBelow": 0.05}

    plain = train_config(base, tmp_path / "plain").document["metrics"]
    careful = train_config(a_config(base, decision=rule), tmp_path / "careful").document["metrics"]

    assert careful["perClass"]["malignant"]["recall"]["value"] >= plain["perClass"]["malignant"]["recall"]["value"]
    assert careful["confusion"] != plain["confusion"]
    manifest = json.loads((tmp_path / "careful" / "bundle" / "manifest.json").read_text())
    assert manifest["decision"] == rule
