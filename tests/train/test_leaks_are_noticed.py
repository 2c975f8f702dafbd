"""Held rows change nothing: the law by which every leak is noticed, whatever learns where it should not.

Rows that a fold holds out, and test rows, are altered; answers to the rows beside them must stay equal to the last
bit. Each planted mistake (a scaler, a selection, SMOTE, a calibration before the split) breaks the law, so the sheet
would notice if the trainer made it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from imblearn.over_sampling import SMOTE  # type: ignore[import-untyped]
from sklearn.feature_selection import SelectKBest
from sklearn.preprocessing import StandardScaler

from pilotage_server.train.config import (
    Calibration,
    Candidate,
    DecisionRule,
    FeatureSelection,
    Imbalance,
    Search,
    read_config,
)
from pilotage_server.train.data import Table
from pilotage_server.train.data import load as load_table
from pilotage_server.train.data.split import split
from pilotage_server.train.deploy import skops_file
from pilotage_server.train.models.fitting import Variant
from pilotage_server.train.models.folds import Rows, folds
from pilotage_server.train.models.pipeline import Blueprint, Columns
from pilotage_server.train.models.serving import serving_form
from pilotage_server.train.search.compare import Contest, Judged, compare
from pilotage_server.train.search.select import select
from pilotage_server.train.search.tune import Task

Compare = Callable[[Sequence[Variant], Contest], list[Judged]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Two classes, one of them rare."""
    table = load_table("breast_cancer")
    kept = np.r_[np.flatnonzero(table.labels == 0)[:40], np.flatnonzero(table.labels == 1)[:120]]
    return Rows(values=table.rows[np.sort(kept)], labels=table.labels[np.sort(kept)])


def a_variant(
    imbalance: Imbalance = Imbalance.NONE, calibration: str = "none", select_by: str = "none", tuned: bool = False
) -> Variant:
    candidate = Candidate(
        name="it",
        estimator="logistic-regression",
        params={"C": 0.1},
        scale="standard",
        seed=3,
        space={"fit_intercept": (True, False)} if tuned else {},
    )
    blueprint = Blueprint(
        candidate=candidate,
        columns=Columns(numeric=tuple(range(30)), categorical=()),
        selections=(FeatureSelection(method=select_by, keep=8),),
        imbalance=imbalance,
    )
    return Variant(blueprint=blueprint, calibration=Calibration(method=calibration, folds=2))


def beside_altered_rows(compare_them: Compare, variant: Variant, rows: Rows) -> tuple[Any, Any]:
    """Answers to rows a fold holds out, before and after other rows of that fold were altered."""
    task = Task(search=Search(folds=2, outer=2), classes=2, costs=None)
    rule = DecisionRule(rule="threshold", label="b", choose="f1")
    contest = Contest(rows=rows, classes=("a", "b"), rule=rule, task=task, seed=1)
    held = folds(rows, 2, 1)[0][1]
    values = rows.values.copy()
    values[held[::2]] = values[held[::2]][:, ::-1] * 3 + 1
    answers = [
        compare_them([variant], replace(contest, rows=replace(rows, values=one)))[0] for one in (rows.values, values)
    ]
    before, after = (np.column_stack([one.probabilities, one.predicted])[held[1::2]] for one in answers)
    return before, after


VARIANTS = {
    "scaled and tuned": a_variant(tuned=True),
    "resampled": a_variant(Imbalance.SMOTE),
    "moved": a_variant(Imbalance.THRESHOLD),
    "calibrated": a_variant(calibration="isotonic"),
    "selected": a_variant(select_by="k-best"),
    "eliminated": a_variant(select_by="rfe"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_fold_holds_out_changes_nothing(name: str, rows: Rows) -> None:
    before, after = beside_altered_rows(compare, VARIANTS[name], rows)

    assert np.array_equal(before, after)


def leaky(prepare: Callable[[Rows], Rows]) -> Compare:
    """A comparison that prepares all rows before its folds."""
    return lambda variants, contest: compare(variants, replace(contest, rows=prepare(contest.rows)))


def scale_first(rows: Rows) -> Rows:
    return replace(rows, values=StandardScaler().fit_transform(rows.values))


def select_first(rows: Rows) -> Rows:
    kept = SelectKBest(k=8).fit(rows.values, rows.labels).get_support()
    return replace(rows, values=rows.values * kept)


def resample_first(rows: Rows) -> Rows:
    values, labels = SMOTE(random_state=1, k_neighbors=3).fit_resample(rows.values, rows.labels)
    return Rows(values=values, labels=labels)


@pytest.mark.parametrize("mistake", [scale_first, select_first, resample_first])
def test_a_step_before_the_folds_would_be_noticed(mistake: Callable[[Rows], Rows], rows: Rows) -> None:
    before, after = beside_altered_rows(leaky(mistake), a_variant(), rows)

    assert not np.array_equal(before, after)


def final_models(tmp_path: Path, prepare: Callable[[Table], Table] = lambda table: table) -> tuple[bytes, bytes]:
    """The chosen model as bytes, before and after test rows and their labels were altered."""
    written = {
        "name": "it",
        "data": {"dataset": "breast_cancer"},
        "split": {"test": 0.4},
        "features": {"select": "k-best", "keep": 8},
        "model": {"estimator": "logistic-regression"},
        "imbalance": {"compare": ["none", "smote"]},
        "search": {"folds": 2, "outer": 2},
        "calibration": {"method": "sigmoid", "folds": 2},
        "decision": {"rule": "threshold", "class": "malignant", "choose": "f1"},
    }
    (tmp_path / "it.yaml").write_text(yaml.safe_dump(written))
    config = read_config(tmp_path / "it.yaml")
    whole = load_table("breast_cancer")
    table = replace(whole, rows=whole.rows[:240], labels=whole.labels[:240])
    test = split(table, config.split, config.data).test.indices
    rows, labels = table.rows.copy(), table.labels.copy()
    rows[test], labels[test] = rows[test][:, ::-1] * 3 + 1, 1 - labels[test]
    found = []
    for one in (table, replace(table, rows=rows, labels=labels)):
        parts = split(table, config.split, config.data)  # the same rows train, whatever test rows say
        prepared = prepare(one)
        train = replace(parts.train, rows=prepared.rows[parts.train.indices])
        selected = select(config, prepared, replace(parts, train=train))
        found.append(skops_file.dumps(serving_form(selected.fitted)) + repr(selected.decision).encode())
    return found[0], found[1]


def test_test_rows_change_nothing_about_model_and_decision(tmp_path: Path) -> None:
    before, after = final_models(tmp_path)

    assert before == after


def test_a_scaler_before_the_split_would_be_noticed(tmp_path: Path) -> None:
    before, after = final_models(
        tmp_path, lambda table: replace(table, rows=StandardScaler().fit_transform(table.rows))
    )

    assert before != after
