"""Training that cannot be a toy: it finds nothing where nothing is, and the same again from the same configuration.

Reduced forms of `benchmarks/train.py`, which runs them at full size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pilotage_server.train.config import read_config
from pilotage_server.train.data import Table
from pilotage_server.train.data import load as load_table
from pilotage_server.train.data.split import split
from pilotage_server.train.evaluate.metrics import Answers, evaluate
from pilotage_server.train.search.select import select
from support.serving import Keys, train_config

NOTHING: dict[str, Any] = {
    "name": "nothing",
    "data": {"dataset": "breast_cancer"},
    "features": {"select": "k-best", "keep": 5},
    "candidates": [
        {"name": "softmax", "estimator": "logistic-regression"},
        {"name": "bayes", "estimator": "naive-bayes"},
    ],
    "imbalance": {"compare": ["smote"]},
    "search": {"metric": "rocAuc", "folds": 2, "outer": 2},
    "calibration": {"folds": 2},
}


def test_on_permuted_labels_the_interval_holds_the_dummys_score(tmp_path: Path) -> None:
    path = tmp_path / "nothing.yaml"
    held = 0
    for seed in range(8):
        path.write_text(yaml.safe_dump({**NOTHING, "split": {"seed": seed, "test": 0.5}}))
        config = read_config(path)
        whole = load_table("breast_cancer")
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(whole.rows))[:300]
        table = Table(
            name="nothing",
            columns=whole.columns,
            classes=whole.classes,
            class_type=whole.class_type,
            rows=whole.rows[rows],
            labels=rng.permutation(whole.labels[rows]),
        )
        parts = split(table, config.split, config.data)
        selected = select(config, table, parts)
        probabilities = selected.fitted.predict_proba(parts.test.rows)
        answers = Answers(
            actual=parts.test.labels,
            predicted=selected.decision.decide(probabilities),
            probabilities=probabilities,
            classes=table.classes,
        )
        area = evaluate(answers, seed=seed, draws=400)["rocAuc"]["macro"]
        held += area["low"] <= 0.5 <= area["high"]

    assert held >= 6  # 95 % each: fewer than 6 of 8 is a surprise of 1 in 170


def test_a_whole_comparison_is_reproducible_to_the_last_byte(tmp_path: Path, keys: Keys) -> None:
    config = {
        **NOTHING,
        "data": {
            "dataset": "breast_cancer",
            "columns": {"attributes": [{"name": "size", "column": "mean_area", "quantiles": 2}]},
        },
        "candidates": [
            {
                "name": "softmax",
                "estimator": "logistic-regression",
                "search": {"C": {"low": 0.01, "high": 1.0, "log": True}},
            },
            {"name": "forest", "estimator": "random-forest", "params": {"n_estimators": 5}},
        ],
        "imbalance": {"compare": ["none", "smote"]},
        "search": {"method": "bayesian", "trials": 2, "metric": "logLoss", "folds": 2, "outer": 2},
        "decision": {"rule": "threshold", "class": "malignant", "minRecall": 0.95},
    }

    first, second = (train_config(config, tmp_path / name, keys) for name in ("first", "second"))

    assert first.reference == second.reference
    assert (tmp_path / "first" / "result.json").read_bytes() == (tmp_path / "second" / "result.json").read_bytes()


def test_the_final_fit_learns_calibration_and_threshold_anew_from_all_training_rows(tmp_path: Path) -> None:
    config = {
        **NOTHING,
        "candidates": [{"name": "svm", "estimator": "svm"}],
        "imbalance": {"compare": ["none"]},
        "decision": {"rule": "threshold", "class": "malignant", "choose": "f1"},
    }
    path = tmp_path / "cancer.yaml"
    path.write_text(yaml.safe_dump(config))
    read = read_config(path)
    table = load_table("breast_cancer")
    parts = split(table, read.split, read.data)

    selected = select(read, table, parts)

    (inner,) = selected.fitted.calibrated_classifiers_
    assert inner.estimator[-1].shape_fit_[0] == len(parts.train)
    assert len(selected.document["thresholdCurve"]["thresholds"]) > 10
