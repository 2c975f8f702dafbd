"""The classifiers one may train, by name: each with the parameters its configuration may set.

A closed list keeps configurations readable and checked, and keeps every estimator one that skops and the
server can load. Constructors only store; scikit-learn validates values at `fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to make an estimator, the parameters it takes, and the defaults where scikit-learn's are not ours."""

    make: Callable[..., Any]
    params: frozenset[str]
    defaults: Mapping[str, Any]
    seeded: bool


def _recipe(make: Callable[..., Any], params: str, *, seeded: bool = False, **defaults: Any) -> Recipe:
    return Recipe(make=make, params=frozenset(params.split()), defaults=defaults, seeded=seeded)


def _one_vs_rest(**params: Any) -> Any:
    """One binary logistic regression per class; their probabilities are normalised to sum to one."""
    return OneVsRestClassifier(LogisticRegression(**params))


def _calibrated(make: Callable[..., Any]) -> Callable[..., Any]:
    """Give a margin classifier probabilities: one sigmoid per class, fitted on cross-validated scores."""

    def build(**params: Any) -> Any:
        return CalibratedClassifierCV(make(**params), ensemble=False, cv=5)

    return build


_LOGISTIC = "C l1_ratio class_weight fit_intercept max_iter solver tol"
_TREE = "ccp_alpha class_weight criterion max_depth max_features max_leaf_nodes min_samples_leaf min_samples_split"
_FOREST = f"n_estimators bootstrap max_samples {_TREE}"

RECIPES: Mapping[str, Recipe] = {
    "logistic-regression": _recipe(LogisticRegression, _LOGISTIC, seeded=True, max_iter=1_000),
    "one-vs-rest-logistic-regression": _recipe(_one_vs_rest, _LOGISTIC, seeded=True, max_iter=1_000),
    "decision-tree": _recipe(DecisionTreeClassifier, _TREE, seeded=True),
    "random-forest": _recipe(RandomForestClassifier, _FOREST, seeded=True),
    "extra-trees": _recipe(ExtraTreesClassifier, _FOREST, seeded=True),
    "hist-gradient-boosting": _recipe(
        HistGradientBoostingClassifier,
        "class_weight early_stopping l2_regularization learning_rate max_bins max_depth max_iter max_leaf_nodes"
        " min_samples_leaf",
        seeded=True,
    ),
    "svm": _recipe(_calibrated(SVC), "C class_weight coef0 degree gamma kernel max_iter tol"),
    "linear-svm": _recipe(_calibrated(LinearSVC), "C class_weight max_iter tol", seeded=True),
    "mlp": _recipe(
        MLPClassifier,
        "activation alpha batch_size early_stopping hidden_layer_sizes learning_rate_init max_iter solver tol",
        seeded=True,
    ),
    "k-nearest-neighbours": _recipe(KNeighborsClassifier, "algorithm leaf_size metric n_neighbors p weights"),
    "naive-bayes": _recipe(GaussianNB, "priors var_smoothing"),
}


def build_pipeline(estimator: str, params: Mapping[str, Any], *, scale: str, seed: int) -> Pipeline:
    """Make the unfitted pipeline: scaler, then classifier.

    Lists in `params` become tuples, as scikit-learn wants.
    """
    recipe = RECIPES[estimator]
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in params.items()}
    if recipe.seeded:
        given["random_state"] = seed
    classifier = recipe.make(**{**recipe.defaults, **given})
    match scale:
        case "standard":
            return Pipeline([("scale", StandardScaler()), ("classify", classifier)])
        case "minmax":
            return Pipeline([("scale", MinMaxScaler()), ("classify", classifier)])
        case _:
            return Pipeline([("classify", classifier)])
