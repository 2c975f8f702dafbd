"""A simulation as a table, as JSON, as a picture. Pure: rows in, text out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pilotage.cli import plots
from pilotage.cli.gate_words import NOT_APPLICABLE, amount, clock, columns, percent, value
from pilotage.gate import Analysis
from pilotage.trials import Campaign, Rate, Row, Setting, Tally

_HEADER = ("SCENARIO", "CANARY", "STABLE", "FALSE PASS %", "FALSE FAIL %", "EXPIRED %", "LABELS", "TIME")
_PEER_HEADER = ("PASS", "FAIL")
_MARKS = ((plots.OURS, "circle"), (plots.FIRST_PEER, "square"), (plots.SECOND_PEER, "diamond"))
_ROW, _LEFT, _TOP, _WIDE, _BETWEEN = 22.0, 132.0, 58.0, 290.0, 36.0


def table(campaign: Campaign, analysis: Analysis, rows: Sequence[Row]) -> str:
    """Text for a terminal; the last lines say what the columns mean."""
    peers = list(rows[0].peers) if rows else []
    head = [*_HEADER, *(f"{peer.split('-')[0].upper()} {word}" for peer in peers for word in _PEER_HEADER)]
    lines: list[list[str]] = [head]
    lines += [_line(row, peers) for row in rows]
    return f"{heading(campaign, analysis)}\n\n{columns(lines)}\n{_legend(campaign, analysis, rows)}"


def heading(campaign: Campaign, analysis: Analysis) -> str:
    """One line: the gate, the levels, the traffic."""
    gate = next(each for each in analysis.gates if each.name == campaign.about)
    bounds = (("floor", gate.floor), ("ceiling", gate.ceiling), ("margin", gate.margin))
    asked = ", ".join(f"{word} {number:g}" for word, number in bounds if number is not None)
    levels = f"alpha {analysis.settings.alpha:g}, beta {analysis.settings.beta:g}"
    played = f"{campaign.runs} rollouts each, seed {campaign.seed}"
    return f"{gate.name}: {gate.title}, {asked}; {levels}; {played}\n{traffic(campaign.setting)}"


def traffic(setting: Setting) -> str:
    """What was assumed, in words."""
    weights = ", ".join(f"{100 * weight:g}" for weight in setting.weights)
    delay = f", told {clock(setting.label_delay_s)} later" if setting.label_delay_s else ""
    return (
        f"{setting.requests_per_s * 60:g} requests/min, {100 * setting.label_share:g} % labelled{delay}; "
        f"canary at {weights} %; {setting.looks} looks in {clock(setting.duration_s)}"
    )


def document(campaign: Campaign, analysis: Analysis, rows: Sequence[Row]) -> str:
    """Everything the table says and more, as JSON."""
    setting = campaign.setting
    told = {
        "gate": campaign.about,
        "alpha": analysis.settings.alpha,
        "beta": analysis.settings.beta,
        "runs": campaign.runs,
        "seed": campaign.seed,
        "traffic": {
            "requestsPerMinute": setting.requests_per_s * 60,
            "labelShare": setting.label_share,
            "labelDelaySeconds": setting.label_delay_s,
            "weights": [round(100 * weight, 6) for weight in setting.weights],
            "durationSeconds": setting.duration_s,
            "looks": setting.looks,
            "clusters": dict(setting.clusters),
            "classShares": dict(setting.shares),
        },
        "scenarios": [_as_json(row, analysis) for row in rows],
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def picture(campaign: Campaign, analysis: Analysis, rows: Sequence[Row]) -> str:
    """False Pass and false Fail per scenario, ours beside the peers', with 95 % intervals; SVG."""
    height = _TOP + _ROW * len(rows) + 34
    width = _LEFT + 2 * _WIDE + _BETWEEN + 24
    parts = [_key(rows)]
    settings = analysis.settings
    for n, (name, bound) in enumerate((("false Pass", settings.alpha), ("false Fail", settings.beta))):
        start = _LEFT + n * (_WIDE + _BETWEEN)
        scale = plots.Scale(low=0, high=1, start=start, end=start + _WIDE, root=True)
        parts += _axis(scale, f"{name}, % of rollouts", bound, _TOP + _ROW * len(rows))
        for row_number, row in enumerate(rows):
            parts += _row_marks(row, scale, _TOP + _ROW * (row_number + 0.5), is_pass=n == 0)
    for row_number, row in enumerate(rows):
        y = _TOP + _ROW * (row_number + 0.5)
        parts.append(plots.words(_LEFT - 10, y + 4, row.scenario.name, anchor="end"))
    return plots.svg(width, height, f"Error rates of {campaign.about} by scenario", parts)


def page(campaign: Campaign, analysis: Analysis, rows: Sequence[Row]) -> str:
    """Picture and table on one HTML page."""
    inside = [picture(campaign, analysis, rows), plots.preformatted(table(campaign, analysis, rows))]
    return plots.page(f"How often {campaign.about} errs", inside)


def _line(row: Row, peers: Sequence[str]) -> list[str]:
    about, ours = row.standings.get(row.about), row.ours
    return [
        row.scenario.name,
        value(about.canary if about else None),
        value(about.stable if about else None),
        percent(row.false_pass(ours)),
        percent(row.false_fail(ours)),
        percent(ours.expired),
        amount(ours.labels),
        clock(ours.seconds),
        *(text for peer in peers for text in _peer_rates(row, row.peers[peer])),
    ]


def _peer_rates(row: Row, counted: Tally) -> tuple[str, str]:
    """Wrong ones are marked."""
    return (
        f"{_short(counted.passed)}{'!' if row.is_bad and counted.passed.hits else ' '}",
        f"{_short(counted.failed)}{'!' if row.is_good and counted.failed.hits else ' '}",
    )


def _short(rate: Rate) -> str:
    return f"{100 * rate.share:.0f}" if rate.runs else NOT_APPLICABLE


def _legend(campaign: Campaign, analysis: Analysis, rows: Sequence[Row]) -> str:
    lines = [
        "± one standard error; < and > exact 95 % bounds. LABELS (the canary's, as the gate counts) and TIME: medians",
        "of the decided rollouts. Peers: % of rollouts that pass or fail, ! = wrongly. Scenarios:",
        *(f"  {row.scenario.name:<16} {row.scenario.about}{_other_gates(row)}" for row in rows),
    ]
    undecided = [row for row in rows if row.ours.expired.share > 0.5 and row.ours.why_undecided]
    lines += [f"  {row.scenario.name:<16} undecided, mostly: {row.ours.why_undecided}" for row in undecided]
    missed = [
        r.scenario.name
        for r in rows
        if r.scenario.is_ours and not r.keeps(analysis.settings.alpha, analysis.settings.beta)
    ]
    verdict = f"alpha and beta are NOT kept in: {', '.join(missed)}" if missed else "alpha and beta are kept everywhere"
    return "\n".join([*lines, f"{verdict} (within 3 standard errors).\n"])


def _other_gates(row: Row) -> str:
    broken = [each.title for name, each in row.standings.items() if name != row.about and each.is_broken]
    return f"; {', '.join(broken)} broken too" if broken else ""


def _as_json(row: Row, analysis: Analysis) -> dict[str, Any]:
    settings = analysis.settings
    return {
        "name": row.scenario.name,
        "about": row.scenario.about,
        "pilotage": row.scenario.is_ours,
        "truth": {
            name: {"canary": each.canary, "stable": each.stable, "holds": each.holds, "broken": each.is_broken}
            for name, each in row.standings.items()
        },
        "keepsAlphaAndBeta": row.keeps(settings.alpha, settings.beta),
        "gate": _tally_json(row, row.ours),
        "peers": {name: _tally_json(row, counted) for name, counted in row.peers.items()},
    }


def _tally_json(row: Row, counted: Tally) -> dict[str, Any]:
    return {
        "falsePass": rate_json(row.false_pass(counted)),
        "falseFail": rate_json(row.false_fail(counted)),
        "passed": rate_json(counted.passed),
        "failed": rate_json(counted.failed),
        "expired": rate_json(counted.expired),
        "medianLabels": counted.labels,
        "meanLabels": counted.mean_labels,
        "medianSeconds": counted.seconds,
        "medianCanaryRequests": counted.requests,
        "undecidedBecause": counted.why_undecided or None,
    }


def rate_json(rate: Rate | None) -> dict[str, Any] | None:
    """A rate with its exact uncertainty."""
    if rate is None:
        return None
    low, high = rate.interval
    return {
        "hits": rate.hits,
        "runs": rate.runs,
        "share": rate.share,
        "standardError": rate.standard_error,
        "low": low,
        "high": high,
    }


def _key(rows: Sequence[Row]) -> str:
    names = ["Pilotage", *(rows[0].peers if rows else ())]
    parts, x = [], _LEFT
    for name, (colour, shape) in zip(names, _MARKS, strict=False):
        parts += [plots.dot(x, 16, colour=colour, shape=shape), plots.words(x + 10, 20, name)]
        x += 30 + 7.5 * len(name)
    return "".join(parts)


def _axis(scale: plots.Scale, title: str, bound: float, bottom: float) -> list[str]:
    parts = [plots.words(scale.start, 42, title, kind="head")]
    for tick in scale.ticks():
        x = scale.at(tick)
        parts.append(plots.line(x, _TOP - 6, x, bottom))
        parts.append(plots.words(x, bottom + 16, f"{100 * tick:g}", anchor="middle", kind="small"))
    x = scale.at(bound)
    parts.append(plots.line(x, _TOP - 6, x, bottom, colour=plots.BAD, dash="4 3", width=1.4))
    return parts


def _row_marks(row: Row, scale: plots.Scale, y: float, *, is_pass: bool) -> list[str]:
    parts = []
    of = row.false_pass if is_pass else row.false_fail
    counted = [row.ours, *row.peers.values()]
    for n in reversed(range(len(counted))):
        rate = of(counted[n])
        if rate is None:
            continue
        colour, shape = _MARKS[n]
        at = y + (0, -5, 5)[n]
        low, high = rate.interval
        parts.append(plots.line(scale.at(low), at, scale.at(high), at, colour=colour, width=1.4))
        parts.append(plots.dot(scale.at(rate.share), at, colour=colour, shape=shape))
    return parts
