"""`report.json` and `report.html`: what the rollouts' status and Prometheus say, beside the load generator's account.

The JSON is the contract: `rollouts` in order with the gates of the last decided wave, `requests` sent and failed. The
HTML shows the same with plots, in one file without anything from a network.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import curves, plan
from demo.ledger import Comparison, Ledger
from demo.setup import MEMBERS
from localclouds import Clouds
from pilotage.api.times import format_time, parse_time
from pilotage.api.types import GateResult, RolloutHistory
from pilotage.cli.hub import Snapshot
from pilotage.cli.words import VERDICT_SYMBOLS, number, short_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What went into the files."""

    rollouts: tuple[Mapping[str, Any], ...]
    requests: Mapping[str, int]
    failures: tuple[str, ...]
    label_results: Mapping[str, int]


def write(
    folder: Path, snapshot: Snapshot, clouds: Clouds, account: Ledger, comparison: Comparison, began: float
) -> Report:
    """Write both files into `folder` and return what they say."""
    report = Report(
        rollouts=tuple(rollouts(snapshot)),
        requests={"sent": account.sent, "failed": account.failed},
        failures=account.failures,
        label_results=account.results,
    )
    labels = {
        "posted": comparison.labels,
        "late": account.results.get("late", 0),
        "cells": comparison.cells,
        "cellsThatDiffer": len(comparison.wrong),
    }
    document = {"rollouts": report.rollouts, "requests": report.requests, "labels": labels}
    (folder / "report.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    figures = curves.draw(clouds["hub"].prometheus_url, {name: clouds[name].prometheus_url for name in MEMBERS}, began)
    (folder / "report.html").write_text(page(report, comparison, figures))
    return report


def rollouts(snapshot: Snapshot) -> Iterator[Mapping[str, Any]]:
    """Every attempt of every revision, in the order of their starts, from `ModelRevision.status.history`."""
    attempts = ((revision, past) for revision in snapshot.revisions for past in revision.status.history)
    for revision, past in sorted(attempts, key=lambda each: each[1].started_at):
        yield _rollout(revision.metadata.name, revision.model.bundle, past)


def _rollout(revision: str, model: str, past: RolloutHistory) -> Mapping[str, Any]:
    return {
        "revision": revision,
        "attempt": past.attempt,
        "model": model,
        "outcome": past.outcome.value,
        "reason": past.reason,
        "message": past.message,
        "clusters": list(past.clusters),
        "gates": [_gate(gate) for gate in past.gates],
        "startedAt": format_time(past.started_at),
        "decidedAt": format_time(past.decided_at),
    }


def _gate(gate: GateResult) -> Mapping[str, Any]:
    return {
        "name": gate.name,
        "verdict": gate.verdict,
        "estimate": gate.estimate,
        "lower": gate.lower,
        "upper": gate.upper,
        "labels": {"stable": gate.labels_stable, "canary": gate.labels_canary},
    }


def gate_line(gate: Mapping[str, Any]) -> str:
    """One gate of a rollout as a line of text."""
    bounds = f"{number(gate['estimate'])} [{number(gate['lower'])}, {number(gate['upper'])}]"
    n = gate["labels"]["canary"]
    return f"{VERDICT_SYMBOLS.get(gate['verdict'], '?')} {gate['name']:<12} {bounds} n={n}  {gate['verdict']}"


def page(report: Report, comparison: Comparison, figures: Sequence[tuple[str, str, str]]) -> str:
    """The whole HTML page; `figures` are (title, explanation, SVG)."""
    drawn = "".join(
        f"<section><h2>{html.escape(title)}</h2><p>{html.escape(text)}</p>{svg}</section>"
        for title, text, svg in figures
    )
    rows = "".join(_row(rollout) for rollout in report.rollouts)
    agree = comparison.cells - len(comparison.wrong)
    gates = ", ".join(_asked(gate) for gate in plan.GATES)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Pilotage: the main job</title><style>{_STYLE}</style></head><body>
<h1>The main job</h1>
<p class="lead">A classifier goes to three clouds by itself, and a worse one comes back.
Gates: {html.escape(gates)}.</p>
<div class="tiles">
<div><b>{report.requests["sent"]:,}</b>requests sent</div><div><b>{report.requests["failed"]:,}</b>failed</div>
<div><b>{comparison.labels:,}</b>labels posted</div>
<div><b>{agree} of {comparison.cells}</b>cells counted exactly as posted</div></div>
<table>
<thead><tr><th>model</th><th>outcome</th><th>clusters</th><th>gates of the last wave</th><th>took</th></tr></thead>
<tbody>{rows}</tbody></table>
{drawn}
<footer>Made from ModelRevision.status and Prometheus, checked against the load generator's ledger.</footer>
</body></html>
"""


def _asked(gate: Mapping[str, Any]) -> str:
    bounds = " and ".join(f"{key} {gate[key]:g}" for key in ("floor", "margin") if key in gate)
    match gate:
        case {"class": which}:
            return f"{gate['metric']} of {which} ({bounds})"
        case {"average": which}:
            return f"{which} {gate['metric']} ({bounds})"
        case _:
            return f"{gate['metric']} ({bounds})"


def _row(rollout: Mapping[str, Any]) -> str:
    took = parse_time(rollout["decidedAt"]) - parse_time(rollout["startedAt"])
    gates = "<br>".join(html.escape(gate_line(gate)) for gate in rollout["gates"])
    return (
        f"<tr><td>{html.escape(short_reference(rollout['model']))}<br><small>{rollout['revision']}.{rollout['attempt']}</small></td>"
        f"<td class='{rollout['outcome'].lower()}'>{rollout['outcome']}</td><td>{', '.join(rollout['clusters'])}</td>"
        f"<td class='mono'>{gates}</td><td>{took:.0f} s</td></tr>"
    )


_STYLE = """
:root{color-scheme:light dark;--ink:#1f2328;--soft:#656d76;--line:#d0d7de;--page:#fff;--panel:#f6f8fa}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#30363d;--page:#0d1117;--panel:#161b22}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}
body{max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{margin-bottom:0}.lead,section p,footer,small{color:var(--soft)}section p{margin-top:-.6rem}
.tiles{display:flex;gap:1rem;flex-wrap:wrap;margin:1.2rem 0}
.tiles div{background:var(--panel);border-radius:8px;padding:.7rem 1.1rem;color:var(--soft)}
.tiles b{display:block;font-size:1.4rem;color:var(--ink)}
table{border-collapse:collapse;width:100%}th{text-align:left;color:var(--soft);font-weight:500}
td,th{border-bottom:1px solid var(--line);padding:.45rem .6rem;vertical-align:top}
.mono{font:13px/1.6 ui-monospace,monospace;white-space:pre-wrap}
.promoted{color:#1a7f37}.rolledback{color:#cf222e}.aborted{color:#9a6700}
svg{height:auto;display:block}svg text{fill:var(--soft);font:11px system-ui,sans-serif}
svg .title{fill:var(--ink);font-weight:600}svg .axis{stroke:var(--line)}
svg .bound{stroke:var(--soft);stroke-dasharray:4 4}
"""
