"""Groups are told apart as fairlearn does, small ones are shown but not judged, and a broken limit ends the run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from fairlearn.metrics import (
    MetricFrame,
    demographic_parity_difference,
    equal_opportunity_difference,
    false_positive_rate,
    selection_rate,
)
from sklearn.metrics import accuracy_score, precision_score, recall_score
from typer.testing import CliRunner

from pilotage_server.train.cli import app
from pilotage_server.train.config import Fairness, FairnessLimit
from pilotage_server.train.evaluate.fairness import fairness
from pilotage_server.train.evaluate.metrics import Answers

RNG = np.random.default_rng(8)
ACTUAL = RNG.integers(0, 2, 300)
PREDICTED = np.where(RNG.random(300) < 0.8, ACTUAL, 1 - ACTUAL)
GROUP = RNG.choice(["north", "south", "west"], 300)
ANSWERS = Answers(
    actual=ACTUAL, predicted=PREDICTED, probabilities=np.eye(2)[PREDICTED] * 0.8 + 0.1, classes=("no", "yes")
)


def test_every_metric_and_gap_equals_fairlearn() -> None:
    found = fairness(ANSWERS, {"region": tuple(GROUP)}, Fairness(least_rows=1))["attributes"]["region"]

    functions = {
        "recall": recall_score,
        "precision": precision_score,
        "selectionRate": selection_rate,
        "falsePositiveRate": false_positive_rate,
    }
    for name, function in functions.items():
        frame = MetricFrame(metrics=function, y_true=ACTUAL, y_pred=PREDICTED, sensitive_features=GROUP)
        gap = found["gaps"]["perClass"]["yes"][name]
        assert gap["difference"] == pytest.approx(frame.difference(method="between_groups")), name
        assert gap["ratio"] == pytest.approx(frame.ratio(method="between_groups")), name
        for group in ("north", "south", "west"):
            assert found["groups"][group]["perClass"]["yes"][name]["value"] == pytest.approx(frame.by_group[group])
    accuracy = MetricFrame(metrics=accuracy_score, y_true=ACTUAL, y_pred=PREDICTED, sensitive_features=GROUP)
    assert found["gaps"]["accuracy"]["difference"] == pytest.approx(accuracy.difference())
    yes = found["gaps"]["perClass"]["yes"]
    arguments = {"y_true": ACTUAL, "y_pred": PREDICTED, "sensitive_features": GROUP}
    assert yes["selectionRate"]["difference"] == pytest.approx(demographic_parity_difference(**arguments))
    assert yes["recall"]["difference"] == pytest.approx(equal_opportunity_difference(**arguments))


def test_a_group_too_small_is_shown_but_does_not_make_the_gap() -> None:
    few = np.where(np.arange(300) < 4, "few", "many")
    found = fairness(ANSWERS, {"size": tuple(few)}, Fairness(least_rows=30))["attributes"]["size"]

    assert found["groups"]["few"]["rows"] == 4
    assert found["gaps"]["accuracy"] == {"difference": None, "ratio": None}


def test_a_limit_that_cannot_be_judged_does_not_hold() -> None:
    limit = FairnessLimit(attribute="size", metric="recall", label="yes", difference=0.5, ratio=None)
    few = np.where(np.arange(300) < 4, "few", "many")

    verdict = fairness(ANSWERS, {"size": tuple(few)}, Fairness(least_rows=30, limits=(limit,)))

    assert not verdict["passed"]
    assert "cannot be judged: fewer than two groups have 30 test rows" in verdict["limits"][0]["problem"]


def test_a_broken_limit_ends_the_run_with_its_own_exit_code_and_a_report(tmp_path: Path) -> None:
    config = {
        "name": "cancer",
        "data": {
            "dataset": "breast_cancer",
            "columns": {"attributes": [{"name": "size", "column": "mean_area", "quantiles": 2}]},
        },
        "split": {"seed": 7, "test": 0.4},
        "model": {"estimator": "logistic-regression"},
        "fairness": {
            "limits": [{"attribute": "size", "metric": "selectionRate", "class": "malignant", "difference": 0.05}]
        },
    }
    (tmp_path / "cancer.yaml").write_text(yaml.safe_dump(config))

    ended = CliRunner().invoke(app, ["train", str(tmp_path / "cancer.yaml"), "--out", str(tmp_path / "run")])

    assert ended.exit_code == 4
    assert "selectionRate of malignant by size: differs by 0." in ended.stderr
    assert json.loads((tmp_path / "run" / "refused.json").read_text())["reason"] == "fairness"
    assert "Fairness" in (tmp_path / "run" / "report.html").read_text()
    assert not (tmp_path / "run" / "bundle").exists()
