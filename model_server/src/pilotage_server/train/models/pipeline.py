"""The unfitted pipeline of one way of training: prepare → select → resample → classify.

All-numeric rows without gaps get a scaler alone, which converts to ONNX in double precision; other tables get an
imputer and an encoder per kind of column. Resampling acts only while fitting, and only on the rows of the fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import (
    RFE,
    SelectFromModel,
    SelectPercentile,
    VarianceThreshold,
    f_classif,
    mutual_info_classif,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler, TargetEncoder

from pilotage_server.train.config import Candidate, ConfigError, FeatureSelection, Imbalance, Preparation
from pilotage_server.train.models.catalogue import WEIGHTED
from pilotage_server.train.models.recipes import make_classifier

SAMPLER = "resample"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Positions of the columns by kind, and whether any value is missing."""

    numeric: tuple[int, ...]
    categorical: tuple[int, ...]
    has_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """Everything about a pipeline that is not a hyperparameter under search."""

    candidate: Candidate
    columns: Columns
    preparation: Preparation = field(default_factory=Preparation)
    selection: FeatureSelection = field(default_factory=FeatureSelection)
    imbalance: Imbalance = Imbalance.NONE


def build_pipeline(blueprint: Blueprint, params: Mapping[str, Any]) -> Any:
    """Make the pipeline with the candidate's fixed parameters and `params`; raises `ConfigError`."""
    candidate, seed = blueprint.candidate, blueprint.candidate.seed
    given = {**candidate.params, **params}
    if blueprint.imbalance is Imbalance.CLASS_WEIGHT:
        given.setdefault("class_weight", "balanced")
    steps = [*_preparing(blueprint), *_selecting(blueprint.selection, blueprint.columns, seed)]
    classify = ("classify", make_classifier(candidate.estimator, given, seed=seed))
    sampler = _sampler(blueprint.imbalance, seed)
    if sampler is None:
        return Pipeline([*steps, classify])
    # Only where it is asked for: imbalanced-learn takes half a second to import.
    from imblearn.pipeline import Pipeline as SamplingPipeline  # type: ignore[import-untyped]

    return SamplingPipeline([*steps, (SAMPLER, sampler), classify])


def suits(imbalance: Imbalance, estimator: str, classes: int) -> bool:
    """Tell whether a choice about imbalance makes sense for an estimator and a number of classes."""
    match imbalance:
        case Imbalance.CLASS_WEIGHT:
            return estimator in WEIGHTED
        case Imbalance.THRESHOLD:
            return classes == 2
        case _:
            return True


def _preparing(blueprint: Blueprint) -> list[tuple[str, Any]]:
    """Steps up to one matrix of numbers."""
    columns, prepare = blueprint.columns, blueprint.preparation
    numeric: list[tuple[str, Any]] = []
    if columns.has_missing:
        imputer = SimpleImputer(strategy=prepare.impute, add_indicator=prepare.indicator, keep_empty_features=True)
        numeric.append(("impute", imputer))
    numeric += _scaler(blueprint.candidate.scale)
    if not columns.categorical:
        return numeric
    parts: list[tuple[str, Any, Sequence[int]]] = []
    if columns.numeric:
        parts.append(("numbers", Pipeline(numeric) if numeric else "passthrough", columns.numeric))
    parts.append(("categories", _encoder(prepare, columns, blueprint.candidate.seed), columns.categorical))
    return [("prepare", ColumnTransformer(parts))]


def _scaler(name: str) -> list[tuple[str, Any]]:
    match name:
        case "standard":
            return [("scale", StandardScaler())]
        case "minmax":
            return [("scale", MinMaxScaler())]
        case _:
            return []


def _encoder(prepare: Preparation, columns: Columns, seed: int) -> Any:
    """Encode categories, which stand as their codes; a missing one counts as the most frequent."""
    encoder: Any = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=prepare.rare_share, sparse_output=False
    )
    if prepare.encode == "target":
        # Out of fold, or the classifier would see each row's own label through the mean of its category.
        encoder = TargetEncoder(cv=StratifiedKFold(5, shuffle=True, random_state=seed))
    if not columns.has_missing:
        return encoder
    return Pipeline([("impute", SimpleImputer(strategy="most_frequent")), ("encode", encoder)])


def _selecting(selection: FeatureSelection, columns: Columns, seed: int) -> list[tuple[str, Any]]:
    total = len(columns.numeric) + len(columns.categorical)
    count = selection.keep if selection.keep < 1 else min(int(selection.keep), total)
    match selection.method:
        case "none":
            return []
        case "variance":
            return [("select", VarianceThreshold())]
        case "k-best":
            score = f_classif if selection.score == "f" else mutual_info_classif
            share = selection.keep if selection.keep < 1 else min(1.0, selection.keep / total)
            # First without the constant ones: their F is 0/0.
            return [("vary", VarianceThreshold()), ("select", SelectPercentile(score, percentile=100 * share))]
        case "rfe":
            return [("select", RFE(_judge(seed), n_features_to_select=count, step=0.1))]
        case "from-model":
            most = max(1, int(selection.keep * total)) if selection.keep < 1 else int(count)
            return [("select", SelectFromModel(_judge(seed), max_features=most, threshold=-float("inf")))]
    raise ConfigError(f"features.select: {selection.method!r} is unknown")


def _judge(seed: int) -> LogisticRegression:
    """Whose coefficients rank features in recursive elimination and selection from a model."""
    return LogisticRegression(C=0.1, max_iter=1_000, random_state=seed)


def _sampler(imbalance: Imbalance, seed: int) -> Any:
    match imbalance:
        case Imbalance.OVERSAMPLE:
            from imblearn.over_sampling import RandomOverSampler  # type: ignore[import-untyped]

            return RandomOverSampler(random_state=seed)
        case Imbalance.UNDERSAMPLE:
            from imblearn.under_sampling import RandomUnderSampler  # type: ignore[import-untyped]

            return RandomUnderSampler(random_state=seed)
        case Imbalance.SMOTE:
            from imblearn.over_sampling import SMOTE

            return SMOTE(random_state=seed, k_neighbors=3)
        case _:
            return None
