"""The unfitted pipeline of one way of training: prepare → select → resample → classify.

All-numeric rows without gaps get a scaler alone, which converts to ONNX in double precision; other tables get an
imputer and an encoder per kind of column. Resampling acts only while fitting, and only on the rows of the fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler, TargetEncoder

from pilotage_server.train.config import FEATURES, Candidate, FeatureSelection, Imbalance, Preparation
from pilotage_server.train.models.features import selecting
from pilotage_server.train.models.recipes import make_classifier
from pilotage_server.train.models.sampling import SAMPLER, balanced_forest, sampler_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Positions of the columns by kind, and whether any value is missing."""

    numeric: tuple[int, ...]
    categorical: tuple[int, ...]
    has_missing: bool = False

    @property
    def total(self) -> int:
        """How many columns there are."""
        return len(self.numeric) + len(self.categorical)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """Everything about a pipeline that is not a hyperparameter under search.

    `selections`: ways to select features; with several, the parameter `features` names the one that is meant.
    """

    candidate: Candidate
    columns: Columns
    preparation: Preparation = field(default_factory=Preparation)
    selections: tuple[FeatureSelection, ...] = (FeatureSelection(),)
    imbalance: Imbalance = Imbalance.NONE

    def selected(self, params: Mapping[str, Any]) -> FeatureSelection:
        """The way to select features under these parameters."""
        name = params.get(FEATURES, self.selections[0].name)
        return next(one for one in self.selections if one.name == name)


def build_pipeline(blueprint: Blueprint, params: Mapping[str, Any]) -> Any:
    """Make the pipeline with the candidate's fixed parameters and `params`; raises `ConfigError`."""
    candidate, seed = blueprint.candidate, blueprint.candidate.seed
    given = {**candidate.params, **{key: value for key, value in params.items() if key != FEATURES}}
    if blueprint.imbalance is Imbalance.CLASS_WEIGHT:
        given.setdefault("class_weight", "balanced")
    steps = [*preparing(blueprint), *selecting(blueprint.selected(params), blueprint.columns.total, seed)]
    if blueprint.imbalance is Imbalance.BALANCED_FOREST:
        return Pipeline([*steps, ("classify", balanced_forest(given, seed))])
    classify = ("classify", make_classifier(candidate.estimator, given, seed=seed))
    sampler = sampler_of(blueprint.imbalance, seed)
    if sampler is None:
        return Pipeline([*steps, classify])
    from imblearn.pipeline import Pipeline as SamplingPipeline  # type: ignore[import-untyped]

    return SamplingPipeline([*steps, (SAMPLER, sampler), classify])


def preparing(blueprint: Blueprint) -> list[tuple[str, Any]]:
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
