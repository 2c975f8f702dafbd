"""ONNX serves only if it gives scikit-learn's probabilities and decisions; every estimator but one does, to the bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PolynomialFeatures

from pilotage_server.bundle import BackendKind, Refused, load, open_source, read_trusted_keys
from pilotage_server.bundle.decision import Argmax, Threshold
from pilotage_server.bundle.predictor import OnnxPredictor, SklearnPredictor
from pilotage_server.train.config import Calibration, Candidate, FeatureSelection, Imbalance, Preparation
from pilotage_server.train.deploy import skops_file
from pilotage_server.train.deploy.convert import NoOnnx, to_onnx
from pilotage_server.train.deploy.export import ONNX_FILE, SKOPS_FILE, export, judge
from pilotage_server.train.deploy.parity import RANDOM_ROWS, compare, parity_rows
from pilotage_server.train.deploy.split_rows import split_rows
from pilotage_server.train.models.catalogue import PARAMETERS
from pilotage_server.train.models.fitting import Variant, fit
from pilotage_server.train.models.folds import Rows
from pilotage_server.train.models.pipeline import Blueprint, Columns
from pilotage_server.train.models.serving import serving_form
from support.serving import IRIS, Keys, a_config, train_config

Matrix = NDArray[np.float64]

FAST: dict[str, dict[str, Any]] = {
    "random-forest": {"n_estimators": 10},
    "extra-trees": {"n_estimators": 10},
    "hist-gradient-boosting": {"max_iter": 8, "min_samples_leaf": 5},
    "mlp": {"hidden_layer_sizes": [6, 4], "max_iter": 100, "activation": "logistic"},
}
TREES = {"decision-tree", "random-forest", "extra-trees"}
STAYS = "k-nearest-neighbours"

PREPARATIONS: dict[str, dict[str, Any]] = {
    "gaps, one-hot, indicators, the best": {
        "classes": 2,
        "scale": "standard",
        "gaps": True,
        "preparation": Preparation(indicator=True, rare_share=0.1),
        "selection": FeatureSelection(method="k-best", keep=0.7),
    },
    "gaps, target codes, between 0 and 1": {
        "classes": 3,
        "scale": "minmax",
        "gaps": True,
        "preparation": Preparation(impute="mean", encode="target"),
        "selection": FeatureSelection(method="variance"),
    },
    "as they stand, eliminated": {"classes": 2, "scale": "none", "selection": FeatureSelection(method="rfe", keep=3)},
}


def a_table(classes: int, *, gaps: bool = False, seed: int = 0) -> tuple[Matrix, NDArray[np.int64]]:
    """Rows of four numbers on a grid (so that split points and ties are common) and two categories, with labels."""
    rng = np.random.default_rng(seed)
    numbers = np.round(rng.normal(size=(180, 4)) * [1.0, 10.0, 0.3, 2.0], 1)
    kinds = rng.integers(0, [3, 8], size=(180, 2)).astype(np.float64)
    score = numbers[:, 0] + numbers[:, 1] / 8 + kinds[:, 0] + rng.normal(size=180)
    labels = np.digitize(score, np.quantile(score, np.arange(1, classes) / classes)).astype(np.int64)
    rows = np.hstack([numbers, kinds])
    if gaps:
        rows[rng.random(rows.shape) < 0.08] = np.nan
    return rows, labels


def a_pipeline(
    estimator: str,
    *,
    classes: int = 2,
    scale: str = "standard",
    gaps: bool = False,
    preparation: Preparation | None = None,
    selection: FeatureSelection | None = None,
    method: str = "auto",
    imbalance: Imbalance = Imbalance.NONE,
) -> Pipeline:
    """A fitted pipeline as it would serve."""
    rows, labels = a_table(classes, gaps=gaps)
    candidate = Candidate(name="it", estimator=estimator, params=FAST.get(estimator, {}), scale=scale, seed=1)
    blueprint = Blueprint(
        candidate=candidate,
        columns=Columns(numeric=(0, 1, 2, 3), categorical=(4, 5), has_missing=gaps),
        preparation=preparation or Preparation(),
        selections=(selection or FeatureSelection(),),
        imbalance=imbalance,
    )
    variant = Variant(blueprint=blueprint, calibration=Calibration(method=method, folds=3))
    return serving_form(fit(variant, {}, Rows(values=rows, labels=labels)))


def some_rows(*, classes: int = 2, gaps: bool = False) -> Matrix:
    """Rows as the gate judges, with categories that training has never seen."""
    held_out, _ = a_table(classes, gaps=gaps, seed=7)
    held_out[:5, 5] = 40.0
    return parity_rows(a_table(classes, gaps=gaps)[0], held_out, 3, categorical=(4, 5))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("preparation", list(PREPARATIONS))
@pytest.mark.parametrize("estimator", sorted(PARAMETERS))
def test_every_estimator_is_exact_in_onnx_or_stays_with_scikit_learn(estimator: str, preparation: str) -> None:
    wanted = PREPARATIONS[preparation]
    pipeline = a_pipeline(estimator, **wanted)
    rows = some_rows(classes=wanted["classes"], gaps=wanted.get("gaps", False))

    exported = export(pipeline, rows, decision=Argmax(), wanted="auto")

    (attempt,) = exported.attempts
    assert exported.backend == (BackendKind.SKLEARN if estimator == STAYS else BackendKind.ONNX_F64), attempt
    if estimator in TREES:
        assert attempt.max_difference == 0.0
    elif estimator != STAYS:
        assert attempt.max_difference is not None
        assert attempt.max_difference < 1e-11
    again = SklearnPredictor(exported.files[SKOPS_FILE], name=SKOPS_FILE)
    assert np.array_equal(again.probabilities(rows), pipeline.predict_proba(rows))


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
@pytest.mark.parametrize("estimator", ["logistic-regression", "random-forest", "hist-gradient-boosting"])
@pytest.mark.parametrize("classes", [2, 3])
def test_calibration_is_exact_in_onnx(estimator: str, method: str, classes: int) -> None:
    pipeline = a_pipeline(estimator, classes=classes, method=method)

    attempt, predictor = judge(pipeline, to_onnx(pipeline, 6), some_rows(classes=classes), Argmax())

    assert predictor is not None, attempt.problem
    assert attempt.changed_decisions == 0
    rows, _ = a_table(classes)
    again = SklearnPredictor(skops_file.dumps(pipeline), name=SKOPS_FILE)
    assert np.array_equal(again.probabilities(rows), pipeline.predict_proba(rows))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    ("estimator", "params"),
    [
        ("svm", {"kernel": "linear"}),
        ("svm", {"kernel": "poly", "degree": 2, "coef0": 0.5}),
        ("svm", {"kernel": "sigmoid", "gamma": 0.05}),
        ("mlp", {"hidden_layer_sizes": [5], "activation": "tanh", "max_iter": 20}),
        ("mlp", {"hidden_layer_sizes": [5], "activation": "relu", "max_iter": 20, "solver": "sgd"}),
        ("mlp", {"hidden_layer_sizes": [5], "activation": "identity", "max_iter": 20, "solver": "lbfgs"}),
        ("logistic-regression", {"fit_intercept": False, "class_weight": "balanced"}),
        ("decision-tree", {"max_leaf_nodes": 9, "criterion": "entropy"}),
        ("random-forest", {"n_estimators": 5, "bootstrap": False, "max_depth": 1}),
        ("hist-gradient-boosting", {"max_iter": 40, "early_stopping": True, "class_weight": "balanced"}),
    ],
)
def test_parameters_change_nothing_about_that(
    estimator: str, params: dict[str, Any], classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAST, estimator, params)
    pipeline = a_pipeline(estimator, classes=classes)

    exported = export(pipeline, some_rows(classes=classes), decision=Argmax(), wanted="onnx")

    SklearnPredictor(exported.files[SKOPS_FILE], name=SKOPS_FILE)


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree", "brute"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "hamming", "canberra", "cosine"])
def test_neighbours_by_any_distance_load_where_they_serve(metric: str, algorithm: str) -> None:
    rows, labels = a_table(2)
    model = KNeighborsClassifier(metric=metric, algorithm=algorithm)
    try:
        pipeline = Pipeline([("classify", model)]).fit(rows, labels)
    except ValueError:
        return  # a search tree that does not know this distance: training ends before there is a model

    exported = export(pipeline, rows, decision=Argmax(), wanted="auto")

    assert np.array_equal(exported.predictor.probabilities(rows), pipeline.predict_proba(rows))


@pytest.mark.parametrize(
    ("method", "score"), [("k-best", "f"), ("k-best", "mutual-information"), ("rfe-cv", "f"), ("from-model", "f")]
)
def test_every_selection_is_exact_and_loads_in_scikit_learn_too(method: str, score: str) -> None:
    pipeline = a_pipeline("decision-tree", selection=FeatureSelection(method=method, score=score))

    exported = export(pipeline, some_rows(), decision=Argmax(), wanted="auto")

    assert exported.attempts[0].max_difference == 0.0
    again = SklearnPredictor(exported.files[SKOPS_FILE], name=SKOPS_FILE)
    assert np.array_equal(again.probabilities(some_rows()), pipeline.predict_proba(some_rows()))


@pytest.mark.parametrize("imbalance", [Imbalance.BALANCED_FOREST, Imbalance.SMOTE], ids=str)
def test_forests_that_were_taught_on_altered_rows_are_exact(imbalance: Imbalance) -> None:
    pipeline = a_pipeline("random-forest", imbalance=imbalance, method="none")

    attempt, _ = judge(pipeline, to_onnx(pipeline, 6), some_rows(), Argmax())

    assert (attempt.max_difference, attempt.changed_decisions) == (0.0, 0)


def test_votes_that_tie_are_decided_as_scikit_learn_decides_them() -> None:
    pipeline = a_pipeline("random-forest", classes=3)
    rows = some_rows(classes=3)
    expected = pipeline.predict_proba(rows)
    ordered = np.sort(expected, axis=1)
    assert np.sum(ordered[:, -1] == ordered[:, -2]) > 50

    for threads in (1, 2):
        found = OnnxPredictor(to_onnx(pipeline, 6), name=ONNX_FILE, width=6, classes=3, threads=threads)
        assert np.array_equal(found.probabilities(rows), expected)


def test_a_missing_value_goes_where_the_tree_sends_it() -> None:
    """Trees can be trained with gaps, too; an imputer in front is the configuration's choice, not the converter's."""
    rows, labels = a_table(3, gaps=True)
    for model in (
        RandomForestClassifier(10, random_state=0),
        HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5),
    ):
        pipeline = Pipeline([("classify", model)]).fit(rows, labels)
        attempt, _ = judge(pipeline, to_onnx(pipeline, 6), some_rows(classes=3, gaps=True), Argmax())
        assert attempt.problem == ""


def test_equal_pipelines_give_equal_bytes() -> None:
    assert to_onnx(a_pipeline("random-forest"), 6) == to_onnx(a_pipeline("random-forest"), 6)


def test_rows_at_split_points_are_neighbours_that_go_different_ways() -> None:
    pipeline = a_pipeline("decision-tree", classes=3)

    found = split_rows(pipeline, some_rows(classes=3))

    left, right = np.split(found, 2)
    changed = np.argmax(left != right, axis=1)
    every = np.arange(len(left))
    assert len(left) > 200
    assert np.all(np.sum(left != right, axis=1) == 1)
    assert np.array_equal(np.nextafter(left[every, changed], np.inf), right[every, changed])
    answers = pipeline.predict_proba(left) != pipeline.predict_proba(right)
    assert answers.any(axis=1).mean() > 0.5


def test_trees_that_are_leaves_have_no_split_points_and_are_exact() -> None:
    rows, labels = a_table(2)
    for model in (RandomForestClassifier(3, min_samples_leaf=180), HistGradientBoostingClassifier(max_iter=2)):
        pipeline = Pipeline([("classify", model)]).fit(rows[:30], labels[:30])

        assert len(split_rows(pipeline, rows)) == 0
        assert judge(pipeline, to_onnx(pipeline, 6), rows, Argmax())[0].problem == ""


def _tensor(model: Any, name: str, change: Callable[[Matrix], Matrix]) -> None:
    """Change a tensor attribute of the tree ensemble."""
    (ensemble,) = [node for node in model.graph.node if node.op_type == "TreeEnsemble"]
    (attribute,) = [each for each in ensemble.attribute if each.name == name]
    values = numpy_helper.to_array(attribute.t)
    attribute.t.CopyFrom(numpy_helper.from_array(change(values.copy()).astype(values.dtype)))


def _single_splits(model: Any) -> None:
    """Thresholds to the nearest single, as a converter in single precision has them."""
    _tensor(model, "nodes_splits", lambda splits: splits.astype(np.float32).astype(np.float64))


def _compare_doubles(model: Any) -> None:
    """Values are not rounded before they are compared."""
    for node in model.graph.node:
        if node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.FLOAT:
            node.attribute[0].i = onnx.TensorProto.DOUBLE


def _below(model: Any) -> None:
    """Only smaller values go left, not equal ones."""
    _tensor(model, "nodes_modes", lambda modes: modes + 1)


def _next_double(model: Any) -> None:
    _tensor(model, "nodes_splits", lambda splits: np.nextafter(splits, np.inf))


def _other_leaf(model: Any) -> None:
    """One leaf of one tree answers like its first one."""

    def change(weights: Matrix) -> Matrix:
        weights[np.argmax(weights != weights[0])] = weights[0]
        return weights

    _tensor(model, "leaf_weights", change)


@pytest.mark.parametrize(
    ("estimator", "mistake"),
    [
        ("random-forest", _single_splits),
        ("random-forest", _compare_doubles),
        ("random-forest", _other_leaf),
        ("decision-tree", _compare_doubles),
        ("hist-gradient-boosting", _next_double),
        ("hist-gradient-boosting", _below),
    ],
    ids=lambda part: part if isinstance(part, str) else part.__name__.strip("_"),
)
def test_a_model_whose_onnx_is_wrong_is_refused(estimator: str, mistake: Callable[[Any], None]) -> None:
    pipeline = a_pipeline(estimator, classes=3)
    model = onnx.load_from_string(to_onnx(pipeline, 6))
    mistake(model)

    attempt, predictor = judge(pipeline, model.SerializeToString(), some_rows(classes=3), Argmax())

    assert predictor is None
    assert attempt.problem.startswith("probabilities differ by up to")


def test_only_rows_at_split_points_show_that_doubles_are_compared() -> None:
    pipeline = a_pipeline("random-forest", classes=3)
    model = onnx.load_from_string(to_onnx(pipeline, 6))
    _compare_doubles(model)
    wrong = OnnxPredictor(model.SerializeToString(), name=ONNX_FILE, width=6, classes=3, threads=1)
    rows = some_rows(classes=3)[-RANDOM_ROWS:]

    assert compare(pipeline, wrong, rows, Argmax()) == (0.0, 0)
    assert compare(pipeline, wrong, split_rows(pipeline, rows), Argmax())[0] > 0.01


class Bent:
    """A converter's mistake: one row's probabilities are those of another class."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def probabilities(self, rows: Matrix) -> Matrix:
        found: Matrix = self._pipeline.predict_proba(rows)
        found[3] = found[3][::-1]
        return found


def test_one_changed_decision_is_seen() -> None:
    pipeline, (rows, _) = a_pipeline("logistic-regression"), a_table(2)

    assert compare(pipeline, Bent(pipeline), rows, Argmax())[1] == 1


def test_decisions_are_compared_by_the_rule_that_will_serve() -> None:
    pipeline, (rows, _) = a_pipeline("logistic-regression"), a_table(2)
    strict = Threshold(positive=1, value=0.9)
    honest = OnnxPredictor(to_onnx(pipeline, 6), name=ONNX_FILE, width=6, classes=2, threads=1)

    assert compare(pipeline, honest, rows, strict)[1] == 0
    assert np.sum(strict.decide(pipeline.predict_proba(rows)) != pipeline.predict(rows)) > 10


def test_a_step_without_an_exact_form_is_named() -> None:
    pipeline = a_pipeline("logistic-regression")
    foreign = Pipeline([("more", PolynomialFeatures()), *pipeline.steps])

    with pytest.raises(NoOnnx, match="PolynomialFeatures has no exact ONNX form"):
        to_onnx(foreign, 6)


def test_falls_back_to_scikit_learn_and_says_why(tmp_path: Path, keys: Keys) -> None:
    result = train_config(a_config(IRIS, model={"estimator": STAYS}), tmp_path / "run", keys).document

    assert result["backend"] == "sklearn"
    assert "stays with scikit-learn: neighbours at equal distance" in result["parity"][0]["problem"]
    loaded = load(open_source(tmp_path / "run" / "bundle"), trust=read_trusted_keys(keys.public_dir))
    assert loaded.manifest.backend == "sklearn"
    assert "stays with scikit-learn" in (tmp_path / "run" / "bundle" / "model_card.md").read_text()


def test_a_threshold_belongs_to_the_manifest(tmp_path: Path) -> None:
    base = {"name": "cancer", "data": {"dataset": "breast_cancer"}, "model": {"estimator": "logistic-regression"}}
    rule = {"rule": "threshold", "class": "malignant", "value": 0.1, "abstainBelow": 0.05}

    plain = train_config(base, tmp_path / "plain").document["metrics"]
    careful = train_config(a_config(base, decision=rule), tmp_path / "careful").document["metrics"]

    assert careful["perClass"]["malignant"]["recall"]["value"] >= plain["perClass"]["malignant"]["recall"]["value"]
    assert careful["confusion"] != plain["confusion"]
    manifest = json.loads((tmp_path / "careful" / "bundle" / "manifest.json").read_text())
    assert manifest["decision"] == rule


def test_bundles_of_before_that_take_single_precision_still_load() -> None:
    pipeline, (rows, _) = a_pipeline("logistic-regression"), a_table(2)
    model = onnx.load_from_string(to_onnx(pipeline, 6))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for node in model.graph.node:
        node.input[:] = ["widened" if name == "input" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Cast", ["input"], ["widened"], to=onnx.TensorProto.DOUBLE))

    found = OnnxPredictor(model.SerializeToString(), name=ONNX_FILE, width=6, classes=2, threads=1)

    assert np.allclose(found.probabilities(rows), pipeline.predict_proba(rows), atol=1e-5)


def _external(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


def _future(model: Any) -> None:
    model.opset_import[0].version = 99


def _custom(model: Any) -> None:
    model.graph.node[0].domain = "evil.ops"
    model.opset_import.add(domain="evil.ops", version=1)


@pytest.mark.parametrize(
    "change", [_external, _future, _custom], ids=["data outside", "unknown set", "custom operator"]
)
def test_onnx_that_reaches_beyond_the_bundle_is_not_loaded(
    change: Callable[[Any], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(4096))
    model = onnx.load_from_string(to_onnx(a_pipeline("logistic-regression"), 6))
    change(model)

    with pytest.raises(Refused, match="ONNX Runtime cannot load it"):
        OnnxPredictor(model.SerializeToString(), name=ONNX_FILE, width=6, classes=2, threads=1)
