"""The report of a run as one HTML page: problem, data, choice, results with uncertainty, fairness, limits.

Self-contained: no script, no font, no link to a server. Everything that comes from data is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from pilotage_server.train.report import results, story
from pilotage_server.train.report.style import CSS
from pilotage_server.train.report.summary import in_short, tiles


def render_report(document: Mapping[str, Any]) -> str:
    """Write the page from a run's document."""
    title = escape(f"{document['name']} {document['version']}")
    sections = [
        ("In short", in_short(document)),
        *story.sections(document),
        *results.sections(document),
        *story.closing(document),
    ]
    shown = [(_anchor(heading), heading, content) for heading, content in sections if content]
    links = "".join(f'<a href="#{anchor}">{heading}</a>' for anchor, heading, _ in shown)
    body = "\n".join(
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{heading}</h2>{content}</section>'
        for anchor, heading, content in shown
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>{title}</title><style>{CSS}</style></head><body><main>'
        f'<header><h1>{title}</h1><p class="lead">{escape(document["description"])}</p></header>'
        f'{tiles(document)}\n<nav aria-label="Contents">{links}</nav>\n{body}\n'
        f"{_footer(document)}</main></body></html>\n"
    )


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")


def _footer(document: Mapping[str, Any]) -> str:
    data = document["data"]
    return (
        f"<footer>Data fingerprint <code>{data['fingerprint'][:16]}</code>; served by {escape(document['backend'])}. "
        "Test rows were opened once, after every choice. Intervals cover 95 %: Wilson's for proportions, bootstrap for "
        "the rest.</footer>"
    )
