"""What is fitted is what serves: every estimator, with gaps, categories, samplers and calibration."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pilotage_server.bundle import load, open_source, read_trusted_keys
from pilotage_server.bundle.predictor import SklearnPredictor
from pilotage_server.train.config import (
    Calibration,
    Candidate,
    ConfigError,
    FeatureSelection,
    Imbalance,
    Preparation,
)
from pilotage_server.train.data import load as load_table
from pilotage_server.train.deploy import skops_file
from pilotage_server.train.deploy.convert import to_onnx
from pilotage_server.train.models.catalogue import PARAMETERS
from pilotage_server.train.models.fitting import Variant, fit
from pilotage_server.train.models.folds import Rows
from pilotage_server.train.models.pipeline import Blueprint, Columns
from pilotage_server.train.models.recipes import RECIPES
from pilotage_server.train.models.serving import serving_form
from support.serving import Keys, a_config, train_config
from support.tables import a_credit_config, a_credit_file

FAST: dict[str, dict[str, Any]] = {
    "random-forest": {"n_estimators": 5},
    "extra-trees": {"n_estimators": 5},
    "hist-gradient-boosting": {"max_iter": 5},
    "mlp": {"hidden_layer_sizes": [4], "max_iter": 2_000},
    "naive-bayes": {},
}


def a_variant(estimator: str = "logistic-regression", **parts: Any) -> Variant:
    """A variant for the wine table."""
    candidate = Candidate(name="it", estimator=estimator, params=FAST.get(estimator, {}), scale="standard", seed=3)
    blueprint = Blueprint(
        candidate=candidate,
        columns=Columns(numeric=tuple(range(13)), categorical=()),
        preparation=Preparation(),
        selections=(parts.get("selection", FeatureSelection()),),
        imbalance=parts.get("imbalance", Imbalance.NONE),
    )
    return Variant(blueprint=blueprint, calibration=parts.get("calibration", Calibration(folds=3)))


@pytest.fixture(scope="module")
def wine() -> Rows:
    table = load_table("wine")
    return Rows(values=table.rows, labels=table.labels)


def test_the_catalogue_and_the_recipes_name_the_same_estimators() -> None:
    assert set(PARAMETERS) == set(RECIPES)


@pytest.mark.parametrize("estimator", sorted(set(PARAMETERS) - {"dummy"}))
def test_every_estimator_gives_probabilities_without_a_warning_of_the_future(estimator: str, wine: Rows) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        fitted = fit(a_variant(estimator), {}, wine)

    probabilities = fitted.predict_proba(wine.values)
    assert probabilities.shape == (178, 3)
    assert np.allclose(probabilities.sum(axis=1), 1.0)
    assert (probabilities.argmax(axis=1) == wine.labels).mean() > 0.8


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
@pytest.mark.parametrize("imbalance", [Imbalance.NONE, Imbalance.SMOTE, Imbalance.UNDERSAMPLE], ids=str)
def test_the_serving_form_answers_as_the_fitted_estimator_does(method: str, imbalance: Imbalance, wine: Rows) -> None:
    fitted = fit(a_variant(imbalance=imbalance, calibration=Calibration(method=method, folds=3)), {}, wine)

    served = serving_form(fitted)

    assert [name for name, _ in served.steps] == ["scale", "classify"]
    assert np.allclose(served.predict_proba(wine.values), fitted.predict_proba(wine.values), atol=1e-12)


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        (FeatureSelection(method="variance"), 13),
        (FeatureSelection(method="k-best", keep=0.4), 5),
        (FeatureSelection(method="k-best", keep=4, score="mutual-information"), 4),
        (FeatureSelection(method="k-best", keep=50), 13),
        (FeatureSelection(method="k-best", keep=1), 1),
        (FeatureSelection(method="rfe", keep=0.4), 5),
        (FeatureSelection(method="rfe-cv"), 12),
        (FeatureSelection(method="from-model", keep=3), 3),
    ],
    ids=lambda one: one.name if isinstance(one, FeatureSelection) else "",
)
def test_selection_happens_inside_the_pipeline_and_serves(selection: FeatureSelection, kept: int, wine: Rows) -> None:
    fitted = fit(a_variant(selection=selection), {}, wine)

    served = serving_form(fitted)

    assert fitted[:-1].transform(wine.values).shape[1] == pytest.approx(kept, abs=1 if kept > 1 else 0)
    assert SklearnPredictor(skops_file.dumps(served), name="it").probabilities(wine.values).shape == (178, 3)
    again = fit(a_variant(selection=selection), {}, wine)
    assert skops_file.dumps(served) == skops_file.dumps(serving_form(again))


def test_a_balanced_forest_serves_as_a_forest(wine: Rows) -> None:
    """Trees that each saw as many rows of every class: rare classes get more of the votes than their share."""
    few = wine.take(np.sort(np.r_[np.flatnonzero(wine.labels == 0)[:10], np.flatnonzero(wine.labels == 1)]))
    variant = a_variant("random-forest", imbalance=Imbalance.BALANCED_FOREST, calibration=Calibration(method="none"))
    fitted = fit(variant, {}, few)

    served = serving_form(fitted)

    assert type(served[-1]).__name__ == "RandomForestClassifier"
    assert np.array_equal(served.predict_proba(few.values), fitted.predict_proba(few.values))
    plain = fit(a_variant("random-forest"), {}, few)
    assert fitted.predict_proba(few.values)[:, 0].mean() > plain.predict_proba(few.values)[:, 0].mean() + 0.05
    SklearnPredictor(skops_file.dumps(served), name="it").probabilities(few.values)
    to_onnx(served, 13)


@pytest.mark.parametrize(("rows", "method"), [(3, "none"), (5, "sigmoid")])
def test_smote_says_how_many_rows_it_needs(rows: int, method: str, wine: Rows) -> None:
    few = wine.take(np.sort(np.r_[np.flatnonzero(wine.labels == 0)[:rows], np.flatnonzero(wine.labels == 1)]))

    with pytest.raises(ConfigError, match=r"imbalance\.compare: smote needs 4 rows of every class .* one has 3; leave"):
        fit(a_variant(imbalance=Imbalance.SMOTE, calibration=Calibration(method=method, folds=3)), {}, few)


def test_only_what_a_fold_trains_on_is_resampled(wine: Rows) -> None:
    """A sampler that saw validation rows would leak them; a calibrated one must see each row's own class share."""
    few = wine.take(np.sort(np.r_[np.flatnonzero(wine.labels == 0)[:12], np.flatnonzero(wine.labels == 1)]))
    plain = fit(a_variant(), {}, few).predict_proba(few.values)[:, 0].mean()
    sampled = fit(
        a_variant(imbalance=Imbalance.OVERSAMPLE, calibration=Calibration(method="sigmoid", folds=3)), {}, few
    )

    share = float((few.labels == 0).mean())
    assert sampled.predict_proba(few.values)[:, 0].mean() == pytest.approx(share, abs=0.05)
    assert plain == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("encode", ["one-hot", "target"])
def test_gaps_and_categories_serve_through_the_parity_gate(encode: str, tmp_path: Path, keys: Keys) -> None:
    path = a_credit_file(tmp_path / "credit.csv")

    result = train_config(a_credit_config(path, prepare={"encode": encode}), tmp_path / "run", keys).document

    loaded = load(open_source(tmp_path / "run" / "oci"), trust=read_trusted_keys(keys.public_dir))
    features = {feature.name: feature for feature in loaded.manifest.features}
    assert features["job"].categories == ("clerk", "driver", "nurse")
    assert [name for name, feature in features.items() if feature.missing] == ["income"]
    assert any(row[0] is None for row in loaded.manifest.golden.rows)
    assert result["metrics"]["rocAuc"]["macro"]["value"] > 0.7
    with_gap = np.array([[np.nan, 30.0, 1.0], [50.0, 20.0, 0.0]])
    assert np.isfinite(loaded.predictor.probabilities(with_gap)).all()


def test_the_reference_bins_and_slices_are_in_the_manifest(tmp_path: Path) -> None:
    path = a_credit_file(tmp_path / "credit.csv", region=["north", "south"] * 120)
    data = {"csv": {"path": str(path), "target": "defaulted"}, "columns": {"attributes": ["region"]}}

    train_config(a_credit_config(path, data=data), tmp_path / "run")

    manifest = load(open_source(tmp_path / "run" / "bundle"), trust=_anyone()).manifest
    assert {bins.feature for bins in manifest.reference} == {"income", "debt", "job"}
    assert all(sum(bins.counts) == 180 for bins in manifest.reference)
    assert [(one.name, one.values) for one in manifest.slices] == [("region", ("north", "south"))]


def test_parquet_trains_like_csv(tmp_path: Path) -> None:
    from arro3.core import Array, DataType, Table
    from arro3.io import write_parquet

    path = a_credit_file(tmp_path / "credit.csv")
    heads, *lines = [line.split(",") for line in path.read_text().splitlines()]
    columns: dict[str, Any] = {}
    for name, cells in zip(heads, zip(*lines, strict=True), strict=True):
        if name in ("income", "debt"):
            columns[name] = Array([float(cell) if cell else None for cell in cells], type=DataType.float64())
        else:
            columns[name] = Array(list(cells), type=DataType.string())
    write_parquet(Table.from_pydict(columns), str(tmp_path / "credit.parquet"))
    parquet = {"parquet": {"path": str(tmp_path / "credit.parquet"), "target": "defaulted"}}

    from_parquet = train_config(a_credit_config(path, data=parquet), tmp_path / "parquet").document
    from_csv = train_config(a_credit_config(path), tmp_path / "csv").document

    assert from_parquet["metrics"] == from_csv["metrics"]


def test_a_cost_rule_of_three_classes_serves(tmp_path: Path, keys: Keys) -> None:
    config = a_config(
        {"name": "iris", "data": {"dataset": "iris"}, "model": {"estimator": "logistic-regression"}},
        costs={"virginica": {"versicolor": 10, "setosa": 10}, "versicolor": {"virginica": 1, "setosa": 1}},
        decision={"rule": "least-cost"},
    )

    train_config(config, tmp_path / "run", keys)

    manifest = load(open_source(tmp_path / "run" / "oci"), trust=read_trusted_keys(keys.public_dir)).manifest
    unsure = np.array([[0.0, 0.8, 0.2]])
    assert manifest.classes[int(manifest.decision.decide(unsure)[0])] == "virginica"


def _anyone() -> Any:
    from pilotage_server.bundle import AnySigner

    return AnySigner()
