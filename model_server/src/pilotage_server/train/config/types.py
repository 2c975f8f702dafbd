"""The values of a training configuration. Construction checks nothing: `read` has.

Knows neither YAML nor scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pilotage_server.train.config.given import Data, SplitShares
from pilotage_server.train.config.wanted import Fairness, ReportParts

Costs = Mapping[str, Mapping[str, float]]
"""{actual: {predicted: cost ≥ 0}}; a cell that is not named costs 0."""


class ConfigError(Exception):
    """A configuration, or data, that cannot be trained with.

    The message says field, value, rule and remedy.
    """


FEATURES: Final = "features"
"""The hyperparameter that names a way to select features, where a configuration gives several."""


class Imbalance(StrEnum):
    """What is done about classes of unequal size; compared, never assumed."""

    NONE = "none"
    CLASS_WEIGHT = "class-weight"
    OVERSAMPLE = "oversample"
    UNDERSAMPLE = "undersample"
    SMOTE = "smote"
    BALANCED_FOREST = "balanced-forest"
    THRESHOLD = "threshold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How columns become numbers, inside the pipeline, so that every fold learns it anew."""

    impute: str = "median"
    indicator: bool = False
    encode: str = "one-hot"
    rare_share: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSelection:
    """Which features a classifier sees: method, and how many (from 1) or what share (below 1) to keep."""

    method: str = "none"
    keep: float = 0.5
    score: str = "f"

    @property
    def name(self) -> str:
        """`none`, `k-best 0.25`: what a search calls it."""
        return f"{self.method} {self.keep:g}" if self.method in ("k-best", "rfe", "from-model") else self.method


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Values of a hyperparameter between two bounds, drawn evenly or evenly in the logarithm."""

    low: float
    high: float
    log: bool = False
    is_integer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One estimator of the allow-list on trial: fixed parameters, and a space to search the others in."""

    name: str
    estimator: str
    params: Mapping[str, Any]
    scale: str
    seed: int
    space: Mapping[str, tuple[Any, ...] | Range] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How candidates are tuned (inner folds) and compared (outer folds), and by which metric.

    `enough`: rows are enough when twice as many improve the metric by less than this share; 0 takes all rows.
    """

    method: str = "grid"
    metric: str = "logLoss"
    folds: int = 3
    outer: int = 5
    trials: int = 20
    one_standard_error: bool = False
    enough: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How scores become probabilities; `auto`: only where a classifier has none, or was fitted on altered rows."""

    method: str = "auto"
    folds: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRule:
    """How probabilities become a class.

    rule: argmax, threshold or least-cost. A threshold is written (`value`), or found out of fold: `choose` a
    metric to maximise, or the most recall at `min_precision`, or the most precision at `min_recall`. A decided class
    less probable than `abstain_below` is told as "abstain" where the server is asked for a decision.
    """

    rule: str = "argmax"
    label: str = ""
    value: float | None = None
    choose: str | None = None
    min_precision: float | None = None
    min_recall: float | None = None
    abstain_below: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One training run. `written` is the document as it stood in the file, for the manifest.

    `revision`: the git commit that last changed the file, with `-dirty` if the file differs from it; empty outside git.
    """

    name: str
    version: str
    description: str
    use: str
    image: str
    data: Data
    split: SplitShares
    preparation: Preparation
    features: tuple[FeatureSelection, ...]
    candidates: tuple[Candidate, ...]
    search: Search
    imbalance: tuple[Imbalance, ...]
    calibration: Calibration
    decision: DecisionRule
    costs: Costs
    fairness: Fairness
    report: ReportParts
    backend: str
    written: Mapping[str, Any]
    revision: str = ""

    @property
    def compares(self) -> bool:
        """Whether more than one way of training is on trial."""
        return len(self.candidates) > 1 or len(self.imbalance) > 1
