"""A fitted estimator as a server loads it: one scikit-learn pipeline, no sampler, calibration at its end.

`CalibratedClassifierCV` around a pipeline is rewritten to a pipeline that ends in the calibrated classifier. The
two compute the same; but skl2onnx converts only the second correctly (the first comes out wrong by up to 1.0 in
probability, without an error), and the first would carry its folds into the file.
"""

from __future__ import annotations

import copy
from typing import Any

from sklearn.calibration import CalibratedClassifierCV, _CalibratedClassifier
from sklearn.pipeline import Pipeline

from pilotage_server.train.models.pipeline import SAMPLER

_FOLDS = 5  # what the file says about folds; none of them is needed to predict


def serving_form(fitted: Any) -> Pipeline:
    """Rewrite a fitted estimator of `fit`; the answers stay the same."""
    if not isinstance(fitted, CalibratedClassifierCV):
        return Pipeline(_without_sampler(fitted.steps))
    (inner,) = fitted.calibrated_classifiers_
    *steps, (name, classifier) = _without_sampler(inner.estimator.steps)
    end = copy.copy(fitted)
    end.estimator = classifier
    end.cv = _FOLDS
    end.calibrated_classifiers_ = [
        _CalibratedClassifier(classifier, inner.calibrators, method=inner.method, classes=inner.classes)
    ]
    end.n_features_in_ = classifier.n_features_in_
    return Pipeline([*steps, (name, end)])


def _without_sampler(steps: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(name, step) for name, step in steps if name != SAMPLER]
