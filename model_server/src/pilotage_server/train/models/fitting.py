"""Fit one way of training on some rows: the pipeline, calibrated where it needs to be.

Calibration is learned out of fold from these rows alone, with folds that respect groups and time, and wraps the
whole pipeline: the rows it learns from are never resampled, which would bend what it is there to straighten
(measured: resampling moves log loss, model-serving.md §4).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from pilotage_server.train.config import Calibration, ConfigError, Imbalance
from pilotage_server.train.models.catalogue import MARGINS
from pilotage_server.train.models.folds import Indices, Rows, folds
from pilotage_server.train.models.pipeline import Blueprint, build_pipeline
from pilotage_server.train.models.sampling import check_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way of training on trial: a blueprint and how its scores become probabilities."""

    blueprint: Blueprint
    calibration: Calibration

    @property
    def name(self) -> str:
        """Name in reports: the candidate's, with the choice about imbalance if there is one."""
        imbalance = self.blueprint.imbalance
        candidate = self.blueprint.candidate.name
        return candidate if imbalance is Imbalance.NONE else f"{candidate} + {imbalance}"

    @property
    def method(self) -> str:
        """Calibration in effect: none, sigmoid, isotonic or temperature."""
        if self.calibration.method != "auto":
            needs = self.blueprint.candidate.estimator in MARGINS and self.calibration.method == "none"
            return "sigmoid" if needs else self.calibration.method
        altered = self.blueprint.imbalance not in (Imbalance.NONE, Imbalance.THRESHOLD)
        return "sigmoid" if altered or self.blueprint.candidate.estimator in MARGINS else "none"


def fit(variant: Variant, params: Mapping[str, Any], rows: Rows) -> Any:
    """Fit on rows; raises `ConfigError` for values scikit-learn refuses."""
    check_rows(variant.blueprint.imbalance, rows.labels, variant.calibration.folds if variant.method != "none" else 0)
    try:
        pipeline = build_pipeline(variant.blueprint, params)
        if variant.method != "none":
            pairs = folds(rows, variant.calibration.folds, variant.blueprint.candidate.seed)
            pipeline = CalibratedClassifierCV(pipeline, method=variant.method, cv=pairs, ensemble=False)
        fitted = pipeline.fit(rows.values, rows.labels)
        fitted.predict_proba(rows.values[:1])  # more neighbours than rows are noticed only here
        return fitted
    except (ValueError, TypeError) as error:
        raise ConfigError(f"model.params: {variant.name}: {str(error).splitlines()[0]}") from error


def calibrate(classifier: Any, method: str, values: NDArray[np.float64], labels: Indices) -> Any:
    """Calibrate a classifier that was fitted on other rows; prepared `values` [n, F]."""
    return CalibratedClassifierCV(FrozenEstimator(classifier), method=method, ensemble=False).fit(values, labels)


def fit_quietly(variant: Variant, params: Mapping[str, Any], rows: Rows) -> tuple[Any, list[str]]:
    """Fit, and give the estimator with what scikit-learn warned about, each text once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = fit(variant, params, rows)
    return fitted, sorted({str(warning.message).splitlines()[0] for warning in caught})


def out_of_fold(
    variant: Variant, params: Mapping[str, Any], rows: Rows, count: int, classes: int
) -> NDArray[np.float64]:
    """Probabilities [n, classes] of every row by a model that has not seen it."""
    found = np.zeros((len(rows), classes))
    for train, held in folds(rows, count, variant.blueprint.candidate.seed):
        fitted, _ = fit_quietly(variant, params, rows.take(train))
        found[held] = fitted.predict_proba(rows.values[held])
    return found
