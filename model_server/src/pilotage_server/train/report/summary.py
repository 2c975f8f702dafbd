"""What a stakeholder asks first: the figures in large, and what they mean in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from pilotage_server.train.report.words import METRIC_NAMES, focus, interval, number, percent, range_of


def tiles(document: Mapping[str, Any]) -> str:
    """Four figures, each beside what it would be without a model."""
    metrics, dummy = document["metrics"], document["dummy"]
    found = [
        (percent(metrics["accuracy"]["value"]), f"right on {metrics['rows']} rows never seen", metrics["accuracy"]),
        (percent(dummy["accuracy"]["value"]), "right by always saying the commonest class", None),
    ]
    known = [(label, one["recall"]) for label, one in metrics["perClass"].items() if one["recall"]["value"] is not None]
    if known:
        label, recall = min(known, key=lambda pair: pair[1]["value"])
        found.append((percent(recall["value"]), f"found of the hardest class, {escape(label)}", recall))
    if "expectedCost" in metrics:
        text = f"cost per row; without a model {number(dummy['expectedCost']['value'], 2)}"
        found.append(
            (number(metrics["expectedCost"]["value"], 2), f"{text}; {interval(metrics['expectedCost'], 2)}", None)
        )
    else:
        text = f"log loss; class shares alone: {number(dummy['logLoss']['value'])}"
        found.append((number(metrics["logLoss"]["value"]), text, None))
    cells = "".join(
        f'<div class="tile"><b>{figure}</b><span>{text}{_between(one)}</span></div>' for figure, text, one in found
    )
    return f'<div class="tiles">{cells}</div>'


def _between(found: Mapping[str, Any] | None) -> str:
    return "" if found is None else f", {percent(found['low'])} to {percent(found['high'])}"


def in_short(document: Mapping[str, Any]) -> str:
    """The findings as sentences that need no statistics."""
    metrics = document["metrics"]
    sentences = [f"Of 100 rows it has never seen it gets <b>{range_of(metrics['accuracy'])}</b> right."]
    for label in _told(document):
        one, name = metrics["perClass"][label], f"<b>{escape(label)}</b>"
        sentences.append(
            f"Of 100 that are {name} it finds {range_of(one['recall'])}; of 100 it calls {name}, "
            f"{range_of(one['precision'])} are."
        )
    error = metrics["calibrationError"]
    if error["value"] is not None:
        sentences.append(
            f"When it says how sure it is, it is off by {100 * error['value']:.1f} points on average (up to "
            f"{100 * error['high']:.1f})."
        )
    sentences += [*_against_nothing(document), *_fairness(document)]
    warned = "".join(f'<li class="warn">{escape(note)}</li>' for note in document["warnings"])
    listed = "".join(f"<li>{sentence}</li>" for sentence in sentences)
    return (
        f"<ul>{listed}{warned}</ul><p class=soft>Ranges are 95 % intervals: what other test rows of the same kind "
        "would have shown.</p>"
    )


def _told(document: Mapping[str, Any]) -> list[str]:
    """The classes worth a sentence: the one decided about, or the rarest of two, or the two found least."""
    per_class, one = document["metrics"]["perClass"], focus(document)
    if one is not None:
        return [one]
    known = [label for label, found in per_class.items() if found["recall"]["value"] is not None]
    return sorted(known, key=lambda label: per_class[label]["recall"]["value"])[:2]


def _against_nothing(document: Mapping[str, Any]) -> list[str]:
    metrics, dummy = document["metrics"], document["dummy"]
    if "expectedCost" in metrics:
        name, mine, other = "expectedCost", metrics["expectedCost"]["value"], dummy["expectedCost"]["value"]
    else:
        name, mine, other = "logLoss", metrics["logLoss"]["value"], dummy["logLoss"]["value"]
    if mine is None or not other:
        return []
    less = 1 - mine / other
    how = f"{100 * less:.0f} % lower" if less > 0 else f"{-100 * less:.0f} % higher"
    return [f"Its {METRIC_NAMES[name]} is {how} than without a model ({mine:.3g} instead of {other:.3g})."]


def _fairness(document: Mapping[str, Any]) -> list[str]:
    found = document["fairness"]["attributes"]
    gaps = [(one["gaps"]["accuracy"]["difference"], name) for name, one in found.items()]
    known = [(gap, name) for gap, name in gaps if gap is not None]
    if not known:
        return []
    gap, name = max(known)
    return [f"Between groups of {escape(name)}, accuracy differs by {100 * gap:.1f} points."]
