"""The sections about estimators: `features`, `model` or `candidates`, `search`, `calibration`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pilotage_server.document import Section, nearest
from pilotage_server.train.config.types import FEATURES, Calibration, Candidate, Costs, FeatureSelection, Range, Search
from pilotage_server.train.models.catalogue import PARAMETERS

SELECTIONS = ("none", "variance", "k-best", "rfe", "rfe-cv", "from-model")
SCALERS = ("standard", "minmax", "none")
METRICS = (
    "logLoss",
    "brier",
    "accuracy",
    "balancedAccuracy",
    "macroF1",
    "rocAuc",
    "prAuc",
    "expectedCost",
)


def read_features(section: Section) -> tuple[FeatureSelection, ...]:
    """Read the ways to select features: every method with every `keep` that means something to it."""
    methods, keeps = [], []
    for one in _listed(section, "select", "none"):
        if one not in SELECTIONS:
            section.mistake("select", f"{one!r} is not one of {', '.join(SELECTIONS)}")
        else:
            methods.append(one)
    for one in _listed(section, "keep", 0.5):
        if isinstance(one, bool) or not isinstance(one, int | float) or not 0 < one <= 1e6:
            section.mistake("keep", f"{one!r} is neither a share below 1 nor a number of features from 1 on")
        else:
            keeps.append(float(one))
    score = section.choice("score", ("f", "mutual-information"), "f")
    every = [FeatureSelection(method=m, keep=keep, score=score) for m in methods or ["none"] for keep in keeps or [0.5]]
    return tuple({one.name: one for one in every}.values())


def _listed(section: Section, key: str, default: Any) -> list[Any]:
    """Read one value, or a list of them to search in."""
    value = section.value(key, default)
    if isinstance(value, list) and not value:
        section.mistake(key, "is an empty list; leave it out, or name what to try")
        return [default]
    return value if isinstance(value, list) else [value]


def read_candidates(root: Section, seed: int, features: Sequence[FeatureSelection]) -> tuple[Candidate, ...]:
    """Read one `model`, or the list of `candidates`; several ways to select `features` are searched by each."""
    found = _candidates(root, seed)
    if len(features) == 1:
        return found
    named = tuple(one.name for one in features)
    return tuple(replace(candidate, space={**candidate.space, FEATURES: named}) for candidate in found)


def _candidates(root: Section, seed: int) -> tuple[Candidate, ...]:
    if "candidates" not in root:
        return (_candidate(root.section("model"), seed),)
    if "model" in root:
        root.mistake("candidates", "stands beside model; give one of the two")
        root.value("model", None)
    found = tuple(_candidate(section, seed) for section in root.sections("candidates", longest=32))
    names = [candidate.name for candidate in found]
    if not names or len(set(names)) < len(names):
        root.mistake("candidates", "is empty, or two have one name; give each its own name")
    return found or (_candidate(root.section("model"), seed),)


def _candidate(section: Section, seed: int) -> Candidate:
    estimator = section.choice("estimator", tuple(PARAMETERS))
    params = dict(section.section("params").plain())
    search = section.section("search").plain()
    allowed = PARAMETERS[estimator]
    for group, keys in (("params", params), ("search", search)):
        for key in keys:
            if key not in allowed:
                problem = f"is no parameter of {estimator}; {nearest(str(key), sorted(allowed))}"
                section.mistake(f"{group}.{key}", problem)
    for key in params.keys() & search.keys():
        section.mistake(f"search.{key}", "is fixed under params; remove one of the two")
    return Candidate(
        name=section.text("name", estimator, longest=64),
        estimator=estimator,
        params=params,
        scale=section.choice("scale", SCALERS, "standard"),
        seed=section.integer("seed", seed, low=0, high=2**32 - 1),
        space={str(key): _values(section, str(key), value) for key, value in search.items()},
    )


def _values(section: Section, key: str, value: Any) -> tuple[Any, ...] | Range:
    """Read what a hyperparameter may be: a list of values, or {low, high, log, integer}."""
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        return tuple(value)
    if isinstance(value, dict):
        one = section.entry(f"search.{key}", None, value)
        low, high = one.number("low", low=-1e9, high=1e9), one.number("high", low=-1e9, high=1e9)
        log = one.flag("log", False)
        if low >= high or (log and low <= 0):
            one.mistake("high", f"{high:g} must be above low {low:g}" + (", and low above 0 for log" if log else ""))
            high = low + 1.0
        return Range(low=low, high=high, log=log, is_integer=one.flag("integer", False))
    section.mistake(f"search.{key}", "must be a list of values, or {low, high, log, integer}")
    return (0,)


def read_search(section: Section, costs: Costs) -> Search:
    """Read how candidates are tuned and compared."""
    if section.value("metric", None) == "expectedCost" and not costs:
        section.mistake("metric", "expectedCost needs costs: {actual: {predicted: cost}}")
    return Search(
        method=section.choice("method", ("grid", "random", "halving", "bayesian"), "grid"),
        metric=section.choice("metric", METRICS, "logLoss"),
        folds=section.integer("folds", 3, low=2, high=20),
        outer=section.integer("outer", 5, low=2, high=20),
        trials=section.integer("trials", 20, low=1, high=10_000),
        one_standard_error=section.choice("rule", ("best", "one-standard-error"), "best") == "one-standard-error",
        enough=section.number("enough", 0.0, low=0.0, high=0.5),
    )


def read_calibration(section: Section) -> Calibration:
    """Read how scores become probabilities."""
    return Calibration(
        method=section.choice("method", ("auto", "none", "sigmoid", "isotonic", "temperature"), "auto"),
        folds=section.integer("folds", 5, low=2, high=20),
    )
