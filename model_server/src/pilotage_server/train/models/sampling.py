"""What is done about classes of unequal size while fitting, and only on the rows of a fold.

imbalanced-learn is imported only where it is asked for: it takes half a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from pilotage_server.train.config import ConfigError, Imbalance
from pilotage_server.train.models.catalogue import WEIGHTED
from pilotage_server.train.models.folds import Indices

SAMPLER: Final = "resample"
_FOREST: Final = "random-forest"
_NEIGHBOURS: Final = 3


def suits(imbalance: Imbalance, estimator: str, classes: int) -> bool:
    """Tell whether a choice about imbalance makes sense for an estimator and a number of classes."""
    match imbalance:
        case Imbalance.CLASS_WEIGHT:
            return estimator in WEIGHTED
        case Imbalance.BALANCED_FOREST:
            return estimator == _FOREST
        case Imbalance.THRESHOLD:
            return classes == 2
        case _:
            return True


def check_rows(imbalance: Imbalance, labels: Indices, folds: int) -> None:
    """Raise `ConfigError` for rows that SMOTE cannot draw new ones between; `folds`: of calibration, 0 for none."""
    counts = np.bincount(labels)
    smallest = int(counts[counts > 0].min())
    if folds:
        smallest -= -(-smallest // folds)  # one fold, rounded up, is held out
    if imbalance is Imbalance.SMOTE and smallest <= _NEIGHBOURS:
        raise ConfigError(
            f"imbalance.compare: smote needs {_NEIGHBOURS + 1} rows of every class in every fold, and one has "
            f"{smallest}; leave smote out, or lower search.folds, search.outer and calibration.folds"
        )


def sampler_of(imbalance: Imbalance, seed: int) -> Any:
    """Make the step that resamples; None where nothing is resampled."""
    match imbalance:
        case Imbalance.OVERSAMPLE:
            from imblearn.over_sampling import RandomOverSampler  # type: ignore[import-untyped]

            return RandomOverSampler(random_state=seed)
        case Imbalance.UNDERSAMPLE:
            from imblearn.under_sampling import RandomUnderSampler  # type: ignore[import-untyped]

            return RandomUnderSampler(random_state=seed)
        case Imbalance.SMOTE:
            from imblearn.over_sampling import SMOTE

            return SMOTE(random_state=seed, k_neighbors=_NEIGHBOURS)
        case _:
            return None


def balanced_forest(params: Mapping[str, Any], seed: int) -> Any:
    """Make a forest each of whose trees learns from as many rows of every class (Chen, Liaw & Breiman 2004)."""
    from imblearn.ensemble import BalancedRandomForestClassifier  # type: ignore[import-untyped]

    return BalancedRandomForestClassifier(**params, random_state=seed)
