"""Tuning and comparing are functions of rows and seed; the better model wins, the dummy loses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pilotage_server.train.config import (
    Calibration,
    Candidate,
    ConfigError,
    DecisionRule,
    Imbalance,
    Range,
    Search,
    read_config,
)
from pilotage_server.train.data import load as load_table
from pilotage_server.train.data.split import split
from pilotage_server.train.models.fitting import Variant
from pilotage_server.train.models.folds import Rows
from pilotage_server.train.models.pipeline import Blueprint, Columns
from pilotage_server.train.search.choose import choose
from pilotage_server.train.search.compare import DUMMY, Contest, compare, row_of
from pilotage_server.train.search.select import select
from pilotage_server.train.search.space import draws, grid
from pilotage_server.train.search.tune import Task, tune

SPACE: dict[str, Any] = {"C": Range(low=1e-4, high=10.0, log=True)}


def a_variant(name: str = "softmax", estimator: str = "logistic-regression", **parts: Any) -> Variant:
    candidate = Candidate(
        name=name,
        estimator=estimator,
        params=parts.get("params", {}),
        scale="standard",
        seed=3,
        space=parts.get("space", {}),
    )
    blueprint = Blueprint(
        candidate=candidate,
        columns=Columns(numeric=tuple(range(13)), categorical=()),
        imbalance=parts.get("imbalance", Imbalance.NONE),
    )
    return Variant(blueprint=blueprint, calibration=Calibration(folds=3))


@pytest.fixture(scope="module")
def wine() -> Rows:
    table = load_table("wine")
    return Rows(values=table.rows, labels=table.labels)


def a_contest(rows: Rows, classes: int = 3, **search: Any) -> Contest:
    task = Task(search=Search(**{"folds": 3, "outer": 3, **search}), classes=classes, costs=None)
    return Contest(rows=rows, classes=tuple("abc"[:classes]), rule=DecisionRule(), task=task, seed=1)


@pytest.mark.parametrize("method", ["random", "halving", "bayesian"])
def test_a_search_finds_a_good_value_and_the_same_one_again(method: str, wine: Rows) -> None:
    task = Task(search=Search(method=method, trials=9, folds=3), classes=3, costs=None)

    first, trials = tune(a_variant(space=SPACE), wine, task)
    second, _ = tune(a_variant(space=SPACE), wine, task)

    assert first == second
    full = [trial for trial in trials if trial.share >= 1]
    assert first == max(full, key=lambda trial: trial.goodness).params
    assert 0.01 < float(first["C"]) <= 10.0


def test_halving_spends_all_rows_on_few_draws_only(wine: Rows) -> None:
    task = Task(search=Search(method="halving", trials=9, folds=3), classes=3, costs=None)

    _, trials = tune(a_variant(space=SPACE), wine, task)

    by_share = {share: sum(trial.share == share for trial in trials) for share in {trial.share for trial in trials}}
    assert by_share[min(by_share)] == 9
    assert by_share[1.0] <= 3


def test_a_grid_takes_every_combination_and_no_range() -> None:
    variant = a_variant(space={"C": (0.1, 1.0), "class_weight": (None, "balanced")})

    assert len(grid(variant.blueprint.candidate)) == 4
    with pytest.raises(ConfigError, match=r"candidates\.softmax\.search\.C: a range needs search\.method random"):
        grid(a_variant(space=SPACE).blueprint.candidate)


def test_draws_of_a_finite_space_do_not_repeat() -> None:
    space = {"C": (0.1, 1.0, 10.0)}
    assert sorted(one["C"] for one in draws(a_variant(space=space).blueprint.candidate, 10, seed=1)) == [0.1, 1.0, 10.0]


def test_the_better_model_wins_and_every_variant_is_told_side_by_side(wine: Rows) -> None:
    contest = a_contest(wine)
    variants = [
        a_variant("stump", "decision-tree", params={"max_depth": 1}),
        a_variant("softmax"),
        a_variant("one-vs-rest", "one-vs-rest-logistic-regression"),
    ]

    judged = compare(variants, contest)
    choice = choose(judged, contest.task.search)

    assert [one.variant.name for one in judged] == ["stump", "softmax", "one-vs-rest", DUMMY]
    assert choice.winner.variant.name == "softmax"
    assert choice.beats_dummy
    assert choice.against["stump"]["p"] < 0.05
    assert choice.against["stump"]["advantage"] > 0.3
    row = row_of(judged[1], contest)
    assert set(row["recall"]) == {"a", "b", "c"}
    assert 0 <= row["calibrationError"] < 0.1


def test_one_standard_error_prefers_the_first_listed_that_is_not_worse(wine: Rows) -> None:
    variants = [a_variant("simple", params={"C": 0.9}), a_variant("other", params={"C": 1.0})]
    contest = a_contest(wine, one_standard_error=True)

    assert choose(compare(variants, contest), contest.task.search).winner.variant.name == "simple"


def test_a_tie_of_equal_models_is_told_as_one(wine: Rows) -> None:
    contest = a_contest(wine)

    choice = choose(compare([a_variant("one"), a_variant("two")], contest), contest.task.search)

    assert choice.against["two"] == {"advantage": 0.0, "p": None}


def test_outer_rows_take_no_part_in_their_fold() -> None:
    """A neighbour of distance zero would know the label: out-of-fold answers must not."""
    rng = np.random.default_rng(2)
    rows = Rows(values=rng.normal(size=(120, 13)), labels=rng.integers(0, 2, 120))
    contest = a_contest(rows, classes=2, metric="accuracy")

    judged = compare([a_variant("nearest", "k-nearest-neighbours", space={"n_neighbors": (1, 3)})], contest)

    assert np.mean(judged[0].per_fold) == pytest.approx(0.5, abs=0.12)


def test_ways_to_select_features_are_searched_like_any_parameter(tmp_path: Path) -> None:
    written = {
        "name": "wine",
        "data": {"dataset": "wine"},
        "features": {"select": ["none", "k-best"], "keep": [1, 0.5]},
        "model": {"estimator": "logistic-regression", "search": {"C": [0.1, 1.0]}},
    }
    (tmp_path / "it.yaml").write_text(yaml.safe_dump(written))
    config = read_config(tmp_path / "it.yaml")
    table = load_table("wine")

    selected = select(config, table, split(table, config.split, config.data))

    trials = selected.document["search"]["trials"]
    assert {(one["params"]["features"], one["params"]["C"]) for one in trials} == {
        (way, c) for way in ("none", "k-best 1", "k-best 0.5") for c in (0.1, 1.0)
    }
    worst = min(trials, key=lambda one: one["goodness"])
    assert worst["params"]["features"] == "k-best 1"
    assert selected.document["chosen"]["features"] != "k-best 1"
    assert "features" not in selected.document["chosen"]["params"]


def test_more_rows_than_help_are_left_to_the_final_fit(tmp_path: Path) -> None:
    written = {
        "name": "digits",
        "data": {"dataset": "digits"},
        "model": {"estimator": "naive-bayes", "search": {"var_smoothing": [0.01, 0.1]}},
        "search": {"enough": 0.5},
    }
    (tmp_path / "it.yaml").write_text(yaml.safe_dump(written))
    config = read_config(tmp_path / "it.yaml")
    table = load_table("digits")
    parts = split(table, config.split, config.data)

    selected = select(config, table, parts)

    assert selected.document["search"]["rows"] == pytest.approx(1_000, abs=20)
    assert [one["rows"] for one in selected.document["search"]["seen"]] == [
        pytest.approx(500, abs=20),
        pytest.approx(1_000, abs=20),
    ]
    assert selected.fitted[-1].class_count_.sum() == len(parts.train)


def test_values_that_cannot_be_fitted_lose_and_are_told_when_there_are_no_others(wine: Rows) -> None:
    neighbours = a_variant(estimator="k-nearest-neighbours", space={"n_neighbors": (5, 10_000)})
    task = Task(search=Search(folds=3), classes=3, costs=None)

    params, trials = tune(neighbours, wine, task)

    assert params == {"n_neighbors": 5}
    assert [np.isfinite(trial.goodness) for trial in trials] == [True, False]
    with pytest.raises(ConfigError, match="Expected n_neighbors <= n_samples_fit"):
        tune(a_variant(estimator="k-nearest-neighbours", space={"n_neighbors": (9_000, 10_000)}), wine, task)
