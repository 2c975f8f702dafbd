"""The report of a run as one HTML page: problem, data, choice, results with uncertainty, fairness, limits.

Self-contained: no script, no font, no link to a server. Everything that comes from data is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from pilotage_server.train.report import results, story
from pilotage_server.train.report.style import CSS
from pilotage_server.train.report.words import interval, number, percent


def render_report(document: Mapping[str, Any]) -> str:
    """Write the page from a run's document."""
    title = escape(f"{document['name']} {document['version']}")
    sections = [
        *story.sections(document),
        *results.sections(document),
        *story.closing(document),
    ]
    body = "\n".join(f"<section><h2>{heading}</h2>{content}</section>" for heading, content in sections if content)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{CSS}</style></head><body><main>"
        f'<header><h1>{title}</h1><p class="lead">{escape(document["description"])}</p></header>'
        f"{_tiles(document)}\n{body}\n{_footer(document)}</main></body></html>\n"
    )


def _tiles(document: Mapping[str, Any]) -> str:
    """The four figures a stakeholder asks for first."""
    metrics, dummy = document["metrics"], document["dummy"]
    worst, recall = min(
        ((label, one["recall"]) for label, one in metrics["perClass"].items() if one["recall"]["value"] is not None),
        key=lambda pair: pair[1]["value"],
    )
    tiles = [
        (
            percent(metrics["accuracy"]["value"]),
            f"right on {metrics['rows']} rows never seen, {_between(metrics['accuracy'])}",
        ),
        (percent(dummy["accuracy"]["value"]), "right by always saying the commonest class"),
        (percent(recall["value"]), f"found of the hardest class, {escape(worst)}, {_between(recall)}"),
        (number(metrics["logLoss"]["value"]), f"log loss; class shares alone: {number(dummy['logLoss']['value'])}"),
    ]
    if "expectedCost" in metrics:
        tiles[3] = (
            number(metrics["expectedCost"]["value"], 2),
            f"expected cost per row, {interval(metrics['expectedCost'], 2)}",
        )
    return f'<div class="tiles">{"".join(f"<div class=tile><b>{a}</b><span>{b}</span></div>" for a, b in tiles)}</div>'


def _between(found: Mapping[str, Any]) -> str:
    return f"{percent(found['low'])} to {percent(found['high'])} with 95 % confidence"


def _footer(document: Mapping[str, Any]) -> str:
    data = document["data"]
    return (
        f"<footer>Data fingerprint <code>{data['fingerprint'][:16]}</code>; served by {escape(document['backend'])}. "
        "Test rows were opened once, after every choice. Intervals cover 95 %.</footer>"
    )
