"""The classifiers one may train, by name, with the parameters a configuration may set.

A closed list keeps configurations readable and checked, and keeps every estimator one that skops and the server
can load. Knows names only: scikit-learn takes seconds to import, and reading a configuration must not.
"""

from __future__ import annotations

from collections.abc import Mapping

_LOGISTIC = "C l1_ratio class_weight fit_intercept max_iter solver tol"
_TREE = "ccp_alpha class_weight criterion max_depth max_features max_leaf_nodes min_samples_leaf min_samples_split"
_FOREST = f"n_estimators bootstrap max_samples {_TREE}"

PARAMETERS: Mapping[str, frozenset[str]] = {
    name: frozenset(params.split())
    for name, params in {
        "logistic-regression": _LOGISTIC,
        "one-vs-rest-logistic-regression": _LOGISTIC,
        "decision-tree": _TREE,
        "random-forest": _FOREST,
        "extra-trees": _FOREST,
        "hist-gradient-boosting": "class_weight early_stopping l2_regularization learning_rate max_bins max_depth"
        " max_iter max_leaf_nodes min_samples_leaf",
        "svm": "C class_weight coef0 degree gamma kernel max_iter tol",
        "linear-svm": "C class_weight max_iter tol",
        "mlp": "activation alpha batch_size early_stopping hidden_layer_sizes learning_rate_init max_iter solver tol",
        "k-nearest-neighbours": "algorithm leaf_size metric n_neighbors p weights",
        "naive-bayes": "priors var_smoothing",
        "sgd-logistic-regression": "alpha class_weight eta0 l1_ratio learning_rate max_iter penalty tol",
        "dummy": "strategy",
    }.items()
}

WEIGHTED = frozenset(name for name, params in PARAMETERS.items() if "class_weight" in params)
"""Estimators that class weights can be given to."""

MARGINS = frozenset({"svm", "linear-svm"})
"""Estimators that give scores, not probabilities: always calibrated."""
