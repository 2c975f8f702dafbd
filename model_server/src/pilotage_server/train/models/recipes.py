"""How each estimator of the catalogue is made. Constructors only store; scikit-learn validates values at `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to make an estimator, and the defaults where scikit-learn's are not ours."""

    make: Callable[..., Any]
    defaults: Mapping[str, Any]
    seeded: bool


def _recipe(make: Callable[..., Any], *, seeded: bool = False, **defaults: Any) -> Recipe:
    return Recipe(make=make, defaults=defaults, seeded=seeded)


def _one_vs_rest(**params: Any) -> Any:
    """One binary logistic regression per class; their probabilities are normalised to sum to one."""
    return OneVsRestClassifier(LogisticRegression(**params))


RECIPES: Mapping[str, Recipe] = {
    "logistic-regression": _recipe(LogisticRegression, seeded=True, max_iter=1_000),
    "one-vs-rest-logistic-regression": _recipe(_one_vs_rest, seeded=True, max_iter=1_000),
    "decision-tree": _recipe(DecisionTreeClassifier, seeded=True),
    "random-forest": _recipe(RandomForestClassifier, seeded=True),
    "extra-trees": _recipe(ExtraTreesClassifier, seeded=True),
    "hist-gradient-boosting": _recipe(HistGradientBoostingClassifier, seeded=True),
    "svm": _recipe(SVC),
    "linear-svm": _recipe(LinearSVC, seeded=True),
    "mlp": _recipe(MLPClassifier, seeded=True, max_iter=500),
    "k-nearest-neighbours": _recipe(KNeighborsClassifier),
    "naive-bayes": _recipe(GaussianNB),
    "sgd-logistic-regression": _recipe(SGDClassifier, seeded=True, loss="log_loss"),
    "dummy": _recipe(DummyClassifier, strategy="prior"),
}


def make_classifier(estimator: str, params: Mapping[str, Any], *, seed: int) -> Any:
    """Make an unfitted classifier. Lists in `params` become tuples, as scikit-learn wants."""
    recipe = RECIPES[estimator]
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in params.items()}
    if recipe.seeded:
        given["random_state"] = seed
    return recipe.make(**{**recipe.defaults, **given})
