"""Options about traffic and quality → the `Setting` that a simulation assumes. What an option leaves open, the manifest
says, else the default. Mistakes name the option, its value and the remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from statistics import NormalDist
from typing import Annotated

from typer import Option

from pilotage.api.times import parse_duration
from pilotage.cli.errors import Usage
from pilotage.cli.gate_specs import GateFile, read_confusion
from pilotage.gate import Analysis, GateSpecError
from pilotage.trials import AUDIT_SHARE, Model, Pace, Question, Setting, from_confusion, from_recalls, questions_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """The options as given; each field is one option of the commands that take this group."""

    shares: Annotated[
        str | None, Option(help="Class shares, ham=0.8,spam=0.2. Default: the gates' classes, equal.")
    ] = None
    recall: Annotated[str, Option(help="Stable's recall: 0.95, or ham=0.98,spam=0.9.")] = "0.95"
    confusion: Annotated[
        str | None, Option(help="Stable's test set instead: result.json, or {actual: {predicted: n}}.")
    ] = None
    auc: Annotated[float, Option(help="Stable's ROC-AUC of every class, for gates on scores.")] = 0.9
    error_rate: Annotated[float, Option(help="Stable's share of failing requests.")] = 0.01
    in_bound: Annotated[float, Option(help="Stable's share of requests under a latency bound.")] = 0.95
    requests_per_minute: Annotated[float, Option(help="In all clusters, both arms.")] = 3000
    label_share: Annotated[float, Option(help="Share of the predictions whose truth is told.")] = 0.1
    label_delay: Annotated[str | None, Option(help="Default: feedback.labelDelay, else 0s.")] = None
    weights: Annotated[str | None, Option(help="Canary percent. Default: the rollout's steps, else 10,50.")] = None
    duration: Annotated[str | None, Option(help="Default: rollout.maxDuration, else 6h.")] = None
    clusters: Annotated[str, Option(help="Shares of the traffic: aws=0.6,gcp=0.4.")] = "main=1"
    history: Annotated[int, Option(help="Labelled predictions of stable before the rollout.")] = 1000
    looks: Annotated[int, Option(help="How often the evidence is looked at until the deadline.")] = 360
    pace: Annotated[Pace, Option(help="even: as long at each weight; ready: on once every gate has minSamples.")] = (
        Pace.EVEN
    )


def setting_of(assumed: Assumed, file: GateFile) -> Setting:
    """The traffic to simulate; Usage for what cannot be."""
    model, shares = _quality(assumed, questions_of(file.spec))
    _within("--requests-per-minute", assumed.requests_per_minute, above=0)
    _within("--label-share", assumed.label_share, above=0, most=1)
    _within("--looks", assumed.looks, above=0)
    _within("--history", assumed.history, above=-1)
    weights = _weights(assumed.weights) if assumed.weights else file.weights or (0.1, 0.5)
    setting = Setting(
        stable=model,
        shares=shares,
        clusters=_normalised("--clusters", _pairs("--clusters", assumed.clusters)),
        requests_per_s=assumed.requests_per_minute / 60,
        label_share=assumed.label_share,
        weights=weights,
        duration_s=_seconds("--duration", assumed.duration, file.duration_s, 21_600.0),
        looks=assumed.looks,
        label_delay_s=_seconds("--label-delay", assumed.label_delay, file.label_delay_s, 0.0),
        history=assumed.history,
        audit_share=file.audit_share or AUDIT_SHARE,
        pace=assumed.pace,
    )
    if setting.label_delay_s >= setting.duration_s:
        raise Usage(
            f"--label-delay: {setting.label_delay_s:g} s is not below --duration {setting.duration_s:g} s; no label "
            "would mature before the deadline: raise --duration (rollout.maxDuration)"
        )
    _check_classes(file.analysis, setting)
    return setting


def _quality(assumed: Assumed, questions: tuple[Question, ...]) -> tuple[Model, Mapping[str, float]]:
    """Stable's model and the classes' shares."""
    if assumed.confusion is not None:
        model, shares = from_confusion(read_confusion(assumed.confusion))
        if assumed.shares is not None:
            told = _normalised("--shares", _pairs("--shares", assumed.shares))
            shares = {name: told.get(name, 0.0) for name in model.classes}
    else:
        shares = _normalised("--shares", _pairs("--shares", assumed.shares or _default_shares(questions)))
        model = from_recalls(tuple(shares), _recalls(assumed.recall, tuple(shares)))
    if len(model.classes) < 2:
        raise Usage(f"--shares: only {', '.join(model.classes)}; a classifier has two classes or more")
    _within("--auc", assumed.auc, above=0.5, below=1)
    separation = sqrt(2) * NormalDist().inv_cdf(assumed.auc)
    good = {q.name: 1 - assumed.error_rate for q in questions if q.metric == "errorRate"}
    good |= {q.name: assumed.in_bound for q in questions if q.metric == "latency"}
    scored = dict.fromkeys(("", *model.classes), separation)
    return replace(model, separation=scored, good=good), shares


def _default_shares(questions: tuple[Question, ...]) -> str:
    """The gated classes and one more, equally frequent."""
    named = {q.class_name for q in questions if q.class_name is not None}
    named |= {name for q in questions for row in (q.costs or {}).items() for name in (row[0], *row[1])}
    names = named if len(named) > 1 else named | {"other"} if named else {"0", "1"}
    return ",".join(f"{name}=1" for name in sorted(names))


def _recalls(text: str, classes: tuple[str, ...]) -> dict[str, float]:
    if "=" not in text:
        recall = _number("--recall", text)
        _within("--recall", recall, above=0, most=1)
        return dict.fromkeys(classes, recall)
    found = _pairs("--recall", text)
    for name, recall in found.items():
        _within(f"--recall {name}", recall, above=0, most=1)
        if name not in classes:
            raise Usage(f"--recall: {name!r} is not a class of --shares; its classes are {', '.join(classes)}")
    missing = [name for name in classes if name not in found]
    if missing:
        raise Usage(f"--recall: nothing for {', '.join(missing)}; name every class, or give one number for all")
    return found


def _check_classes(analysis: Analysis, setting: Setting) -> None:
    try:
        analysis.start(setting.stable.classes, setting.clusters)
    except GateSpecError as error:
        advice = "name the classes with --shares or --confusion"
        raise Usage("\n".join(f"{problem}; {advice}" for problem in error.problems)) from error


def _weights(text: str) -> tuple[float, ...]:
    found = tuple(_number("--weights", part) / 100 for part in text.split(","))
    for weight in found:
        _within("--weights", weight * 100, above=0, below=100)
    return found


def _pairs(option: str, text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or not name:
            raise Usage(f"{option}: {part!r} is not NAME=NUMBER; write for example a=0.7,b=0.3")
        found[name] = _number(option, value)
    return found


def _normalised(option: str, shares: Mapping[str, float]) -> dict[str, float]:
    total = sum(shares.values())
    if any(share <= 0 for share in shares.values()):
        raise Usage(f"{option}: {min(shares, key=lambda name: shares[name])} has no share; write numbers above 0")
    return {name: share / total for name, share in shares.items()}


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise Usage(f"{option}: {text!r} is not a number") from error


def _seconds(option: str, text: str | None, told: float | None, default: float) -> float:
    if text is None:
        return default if told is None else told
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Usage(f"{option}: {error}") from error


def _within(
    option: str, value: float, *, above: float | None = None, below: float | None = None, most: float | None = None
) -> None:
    rules: tuple[tuple[float | None, str, Callable[[float, float], bool]], ...] = (
        (above, "not above", lambda v, bound: v > bound),
        (below, "not below", lambda v, bound: v < bound),
        (most, "above", lambda v, bound: v <= bound),
    )
    for bound, words, fits in rules:
        if bound is not None and not fits(value, bound):
            raise Usage(f"{option}: {value:g} is {words} {bound:g}")
