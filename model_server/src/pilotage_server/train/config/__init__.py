"""The trainer's configuration: one YAML file, read strictly into frozen values.

`read_config` reports every mistake at once with its path; `ConfigError` is also what the rest of the trainer
raises for data that cannot be trained with. Whether a class or a column exists is for those who have the data.
"""

from __future__ import annotations

from pilotage_server.train.config.given import (
    Attribute,
    Columns,
    Data,
    File,
    Quality,
    Relabel,
    SplitShares,
    Subsample,
)
from pilotage_server.train.config.read import read_config
from pilotage_server.train.config.types import (
    FEATURES,
    Calibration,
    Candidate,
    Config,
    ConfigError,
    Costs,
    DecisionRule,
    FeatureSelection,
    Imbalance,
    Preparation,
    Range,
    Search,
)
from pilotage_server.train.config.wanted import Fairness, FairnessLimit, ReportParts

__all__ = [
    "FEATURES",
    "Attribute",
    "Calibration",
    "Candidate",
    "Columns",
    "Config",
    "ConfigError",
    "Costs",
    "Data",
    "DecisionRule",
    "Fairness",
    "FairnessLimit",
    "FeatureSelection",
    "File",
    "Imbalance",
    "Preparation",
    "Quality",
    "Range",
    "Relabel",
    "ReportParts",
    "Search",
    "SplitShares",
    "Subsample",
    "read_config",
]
