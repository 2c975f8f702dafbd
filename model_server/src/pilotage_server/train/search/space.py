"""Hyperparameters to try: all combinations, or seeded draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pilotage_server.train.config import Candidate, ConfigError, Range

Params = Mapping[str, Any]


def grid(candidate: Candidate) -> list[Params]:
    """Every combination of listed values; raises `ConfigError` for a range."""
    for key, values in candidate.space.items():
        if isinstance(values, Range):
            raise ConfigError(
                f"candidates.{candidate.name}.search.{key}: a range needs search.method random, halving or bayesian; "
                "list values for grid"
            )
    keys = sorted(candidate.space)
    lists = [candidate.space[key] for key in keys]
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*lists)]  # type: ignore[arg-type]


def draws(candidate: Candidate, count: int, seed: int) -> list[Params]:
    """`count` different draws; fewer when the space holds fewer."""
    if not any(isinstance(values, Range) for values in candidate.space.values()):
        everything = grid(candidate)
        chosen = np.random.default_rng(seed).permutation(len(everything))[:count]
        return [everything[i] for i in chosen]
    rng = np.random.default_rng(seed)
    return [{key: _draw(candidate.space[key], rng) for key in sorted(candidate.space)} for _ in range(count)]


def _draw(values: tuple[Any, ...] | Range, rng: np.random.Generator) -> Any:
    if not isinstance(values, Range):
        return values[int(rng.integers(len(values)))]
    low, high = (math.log(values.low), math.log(values.high)) if values.log else (values.low, values.high)
    drawn = float(rng.uniform(low, high))
    found = math.exp(drawn) if values.log else drawn
    return round(found) if values.is_integer else found


def bayesian(candidate: Candidate, count: int, seed: int) -> Iterator[tuple[Params, Any]]:
    """Draws that learn from earlier ones (optuna, TPE); send each draw's goodness back with `tell`.

    Yields (params, tell). Raises `ConfigError` without optuna.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("search.method: bayesian needs optuna; install pilotage-server[train,bayes]") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(count):
        trial = study.ask()
        params = {key: _suggest(trial, key, candidate.space[key]) for key in sorted(candidate.space)}

        def tell(goodness: float, trial: Any = trial) -> None:
            study.tell(trial, goodness if math.isfinite(goodness) else -1e12)

        yield params, tell


def _suggest(trial: Any, key: str, values: tuple[Any, ...] | Range) -> Any:
    if isinstance(values, Range):
        if values.is_integer:
            return trial.suggest_int(key, round(values.low), round(values.high), log=values.log)
        return trial.suggest_float(key, values.low, values.high, log=values.log)
    # By place: optuna keeps texts and numbers only, and a value may be a list.
    return values[trial.suggest_categorical(key, list(range(len(values))))]
