"""A fitted estimator as a server loads it: one scikit-learn pipeline, no sampler, calibration at its end.

`CalibratedClassifierCV` around a pipeline is rewritten to a pipeline that ends in the calibrated classifier. The
two compute the same; but the first would carry its folds into the file, and hide the trees from the converter.
"""

from __future__ import annotations

import copy
from typing import Any

from sklearn.calibration import CalibratedClassifierCV, _CalibratedClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, SelectPercentile, f_classif
from sklearn.pipeline import Pipeline

from pilotage_server.train.models.sampling import SAMPLER

_FOLDS = 5  # what the file says about folds; none of them is needed to predict


def serving_form(fitted: Any) -> Pipeline:
    """Rewrite a fitted estimator of `fit`; the answers stay the same."""
    if not isinstance(fitted, CalibratedClassifierCV):
        *steps, (name, classifier) = _without_sampler(fitted.steps)
        if isinstance(classifier, CalibratedClassifierCV):
            (inner,) = classifier.calibrated_classifiers_
            return Pipeline([*steps, (name, _calibrated(classifier, inner, inner.estimator.estimator))])
        return Pipeline([*steps, (name, _plain(classifier))])
    (inner,) = fitted.calibrated_classifiers_
    *steps, (name, classifier) = _without_sampler(inner.estimator.steps)
    return Pipeline([*steps, (name, _calibrated(fitted, inner, _plain(classifier)))])


def _calibrated(fitted: CalibratedClassifierCV, inner: Any, classifier: Any) -> CalibratedClassifierCV:
    """The classifier with its calibration, and nothing of the folds or the freezing they came from."""
    end = copy.copy(fitted)
    end.estimator = classifier
    end.cv = _FOLDS
    end.calibrated_classifiers_ = [
        _CalibratedClassifier(classifier, inner.calibrators, method=inner.method, classes=inner.classes)
    ]
    end.n_features_in_ = classifier.n_features_in_
    return end


def _without_sampler(steps: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(name, _without_score(step)) for name, step in steps if name != SAMPLER]


def _without_score(step: Any) -> Any:
    """A selection without the seeded function that ranked: answers need none, and no server loads a partial."""
    if not isinstance(step, SelectKBest | SelectPercentile):
        return step
    found = copy.copy(step)
    found.score_func = f_classif
    return found


def _plain(classifier: Any) -> Any:
    """A balanced forest without its samplers is a forest: what differs is how its trees were taught."""
    if type(classifier).__name__ != "BalancedRandomForestClassifier":
        return classifier
    names = RandomForestClassifier().get_params()
    forest = RandomForestClassifier(**{k: v for k, v in classifier.get_params().items() if k in names})
    for learned in ("estimator_", "estimators_", "classes_", "n_classes_", "n_features_in_", "n_outputs_"):
        setattr(forest, learned, getattr(classifier, learned))
    return forest
