"""What cannot be trained is refused with field, value, rule and remedy, all mistakes at once, before any
work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pilotage_server.train.config import ConfigError, read_config
from support.serving import IRIS, a_config, train_config

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"modle": {}}, "modle: unknown key; did you mean 'model'?"),
    "unknown estimator": (
        {"model": {"estimator": "logistic_regression"}},
        "model.estimator: 'logistic_regression' is not one of",
    ),
    "unknown parameter": (
        {"model": {"estimator": "svm", "params": {"c": 1}}},
        "model.params.c: is no parameter of svm; did you mean 'C'?",
    ),
    "unknown data set": ({"data": {"dataset": "iriss"}}, "data.dataset: 'iriss' is not one of"),
    "two sources": (
        {"data": {"dataset": "iris", "csv": {"path": "x", "target": "y"}}},
        "data.csv: stands beside dataset; give one of the two",
    ),
    "no source": ({"data": {}}, "data.dataset: is missing"),
    "shares": (
        {"split": {"test": 0.5, "holdback": 0.5}},
        "split.holdback: 0.5 and test 0.5 leave less than 0.05 to train on",
    ),
    "test share": ({"split": {"test": 2}}, "split.test: 2 is outside [0.02, 0.8]"),
    "seed": ({"split": {"seed": 1.5}}, "split.seed: 1.5 is not a whole number"),
    "name": ({"name": "Iris!"}, "name: 'Iris!' does not match"),
    "keep": (
        {"data": {"dataset": "iris", "subsample": [{"keep": 1.5}]}},
        "data.subsample[0].keep: 1.5 is outside [0, 1]",
    ),
    "rule": ({"decision": {"rule": "max"}}, "decision.rule: 'max' is not one of argmax, threshold"),
    "section no mapping": ({"model": "svm"}, "model: 'svm' is not a mapping; write key: value pairs"),
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_a_bad_configuration(name: str, tmp_path: Path) -> None:
    changes, message = BAD[name]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(a_config(IRIS, **changes)))

    with pytest.raises(ConfigError) as refused:
        read_config(path)

    assert f"{path}: {message}" in str(refused.value)


def test_reports_every_mistake_at_once(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: iris\nsplit: {tset: 0.2}\ndata: {dataset: iris}\nmodel: {estimator: svm, scale: yes}\n")

    with pytest.raises(ConfigError) as refused:
        read_config(path)

    assert "split.tset: unknown key; did you mean 'test'?" in str(refused.value)
    assert "model.scale: True is not one of standard, minmax, none" in str(refused.value)


LATE: dict[str, tuple[dict[str, Any], str]] = {
    "class of no row": (
        {"data": {"dataset": "iris", "subsample": [{"class": "setsoa", "keep": 0.5}]}},
        r"data\.subsample\[0\]: 'setsoa' is no class of iris; did you mean 'setosa'\?",
    ),
    "too few rows left": (
        {"data": {"dataset": "iris", "subsample": [{"class": "setosa", "keep": 0.01}]}},
        r"data: class 'setosa' has 0 training rows, fewer than 5; collect or keep more",
    ),
    "threshold of three classes": (
        {"decision": {"rule": "threshold", "class": "setosa", "value": 0.5}},
        r"decision\.rule: a threshold decides between two classes, and there are 3",
    ),
    "everything named that is not there": (
        {
            "costs": {"setsoa": {"virginica": 1}},
            "fairness": {"limits": [{"attribute": "size", "metric": "accuracy", "difference": 0.1}]},
            "data": {"dataset": "iris", "quality": {"allow": ["leakage:petal"]}},
        },
        r"costs: 'setsoa' is no class; did you mean 'setosa'\?\n"
        r"fairness\.limits\[0\]\.attribute: 'size' is not declared .*\n"
        r"data\.quality\.allow: 'leakage:petal': 'petal' is no feature",
    ),
    "more neighbours than rows": (
        {"model": {"estimator": "k-nearest-neighbours", "params": {"n_neighbors": 500}}},
        r"model\.params: k-nearest-neighbours: Expected n_neighbors <= n_samples_fit",
    ),
    "parameter value": (
        {"model": {"estimator": "svm", "params": {"C": -1}}},
        r"model\.params: svm: The 'C' parameter of \w+ must be a float",
    ),
    "no exact ONNX": (
        {"model": {"estimator": "k-nearest-neighbours"}, "export": {"backend": "onnx"}},
        r"export\.backend: onnx is not exact for this model .*; use auto or sklearn",
    ),
    "no such file": (
        {"data": {"csv": {"path": "none.csv", "target": "y"}}},
        r"data\.csv\.path: .*none\.csv cannot be read",
    ),
}


@pytest.mark.parametrize("name", LATE)
def test_refuses_what_only_the_data_can_tell(name: str, tmp_path: Path) -> None:
    changes, message = LATE[name]

    with pytest.raises(ConfigError, match=message):
        train_config(a_config(IRIS, **changes), tmp_path / "run")


def test_sections_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "name: iris\ndata: {dataset: iris}\nsearch: {metric: expectedCost}\n"
        "candidates: [{estimator: svm, search: {C: {low: 0.1, high: 1}}}]\n"
    )

    with pytest.raises(ConfigError) as refused:
        read_config(path)

    assert "candidates[0].search.C: a range needs search.method random, halving or bayesian" in str(refused.value)
    assert "search.metric: expectedCost needs costs: {actual: {predicted: cost}}" in str(refused.value)
