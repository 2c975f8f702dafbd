"""A plan as a table, as JSON, as a picture of chances. Pure: forecasts and rows in, text out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from pilotage.cli import plots
from pilotage.cli.gate_simulate_views import rate_json, traffic
from pilotage.cli.gate_words import NOT_APPLICABLE, amount, clock, columns, percent, value
from pilotage.trials import Campaign, Forecast, Row, Setting, Tally

_NEEDS = (
    "GATE",
    "METRIC",
    "STABLE",
    "ASKED",
    "PROVABLE",
    "",
    "LABELS UNTIL DEADLINE",
    "TO PASS IF EQUAL",
    "TO FAIL IF 2X OFF",
)
_CHANCES = ("CANARY", "PASS %", "FAIL %", "EXPIRED %", "TIME")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720.0, 340.0, 56.0, 24.0, 54.0, 48.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was played: each gate alone, and the whole rollout for each gate the canary may be off in."""

    setting: Setting
    runs: int
    seed: int
    forecasts: tuple[Forecast, ...]
    outlook: Sequence[tuple[Forecast, Sequence[Row]]]

    @property
    def is_provable(self) -> bool:
        """Every gate can be proved for an equal canary before the deadline."""
        return all(each.is_provable for each in self.forecasts)


def table(plan: Plan) -> str:
    """Two tables: what each gate needs, and what the rollout will probably come to."""
    needs = [list(_NEEDS), *(_need(each) for each in plan.forecasts)]
    chances = [list(_CHANCES)]
    for n, (about, rows) in enumerate(plan.outlook):
        for row in rows[0 if n == 0 else 1 :]:
            where = "equals stable" if row.scenario.off == 0 else f"{row.scenario.name} in {about.name}"
            ours = row.ours
            chances.append([where, *map(percent, (ours.passed, ours.failed, ours.expired)), clock(ours.seconds)])
    return (
        f"{traffic(plan.setting)}; {plan.runs} rollouts each, seed {plan.seed}\n\n"
        f"What each gate needs by itself (canary labels in its denominator, medians):\n{columns(needs, left=2)}\n"
        f"What the rollout comes to, all gates together:\n{columns(chances)}\n{_advice(plan)}"
    )


def document(plan: Plan) -> str:
    """The same as JSON."""
    told = {
        "traffic": traffic(plan.setting),
        "deadlineSeconds": plan.setting.duration_s,
        "runs": plan.runs,
        "seed": plan.seed,
        "gates": [_forecast_json(each) for each in plan.forecasts],
        "rollout": [_row_json(about, row) for about, rows in plan.outlook for row in rows],
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def picture(campaign: Campaign, rows: Sequence[Row]) -> str:
    """Chances of each verdict by the deadline over how the canary compares with stable; SVG."""
    offs = [row.standings[campaign.about].canary for row in rows]
    about = rows[0].standings[campaign.about]
    x = plots.Scale(low=min(offs), high=max(offs), start=_LEFT, end=_WIDTH - _RIGHT)
    y = plots.Scale(low=0, high=1, start=_HEIGHT - _BOTTOM, end=_TOP)
    parts = _frame(x, y, about.title)
    lines = (("Pass", plots.GOOD, ""), ("Fail", plots.BAD, "7 3"), ("undecided at the deadline", plots.OPEN, "2 3"))
    start = _LEFT
    for n, (name, colour, dash) in enumerate(lines):
        shares = [(row.ours.passed, row.ours.failed, row.ours.expired)[n].share for row in rows]
        points = sorted((x.at(off), y.at(share)) for off, share in zip(offs, shares, strict=True))
        parts.append(plots.curve(points, colour=colour, dash=dash, width=2.2))
        parts.append(plots.line(start, 16, start + 24, 16, colour=colour, dash=dash, width=2.2))
        parts.append(plots.words(start + 30, 20, name))
        start += 60 + 7 * len(name)
    marks = {0.0: "stable", 1.0: "boundary"}
    for row in rows:
        if (word := marks.get(round(row.scenario.off, 9))) is not None:
            at = x.at(row.standings[campaign.about].canary)
            parts.append(plots.line(at, _TOP, at, _HEIGHT - _BOTTOM, colour=plots.INK, dash="1 3"))
            parts.append(plots.words(at, _TOP - 6, word, anchor="middle", kind="small"))
    return plots.svg(_WIDTH, _HEIGHT, f"Chances of each verdict for {campaign.about}", parts)


def page(plan: Plan, campaign: Campaign, rows: Sequence[Row]) -> str:
    """Picture and tables on one HTML page."""
    return plots.page("What these gates need", [picture(campaign, rows), plots.preformatted(table(plan))])


def _need(each: Forecast) -> list[str]:
    return [
        each.name,
        each.title,
        value(each.stable),
        f"{each.asked:.4f}" if each.is_met_by_stable else NOT_APPLICABLE,
        "never" if each.provable == inf else f"{each.provable:.4f}",
        "✔" if each.is_provable else "✖",
        amount(each.gate_labels),
        *(_until_decided(each.needs.get(name)) for name in ("equal", "2x off")),
    ]


def _until_decided(need: Tally | None) -> str:
    return NOT_APPLICABLE if need is None or need.labels is None else f"{amount(need.labels)} in {clock(need.seconds)}"


def _advice(plan: Plan) -> str:
    lines = [
        "ASKED: the distance from stable to the gate's boundary; PROVABLE: the least one that an equal canary can be",
        "proved within by the deadline. Half a margin takes four times the labels.",
    ]
    lines += [_remedy(each) for each in plan.forecasts if not each.is_provable]
    return "\n".join([*lines, ""])


def _remedy(each: Forecast) -> str:
    if not each.is_met_by_stable:
        return (
            f"{each.name}: stable's own {each.title}, {each.stable:.4f}, is not within the limit, so an equal canary "
            "never passes; move the limit, or tell stable's true rates (--confusion, --recall)."
        )
    if each.gate_labels == 0:
        return f"{each.name}: no label of its denominator comes; label rows of that class, or gate on another metric."
    if each.provable == inf:
        return f"{each.name}: {each.asked:.4f} is out of reach with these labels; ask for several times as much."
    times = (each.provable / each.asked) ** 2
    return (
        f"{each.name}: {each.asked:.4f} takes {times:.1f} times the labels there will be; ask for {each.provable:.4f}, "
        "label more, raise the canary's weight or maxDuration."
    )


def _forecast_json(each: Forecast) -> dict[str, Any]:
    return {
        "gate": each.name,
        "metric": each.title,
        "stable": each.stable,
        "asked": each.asked,
        "provable": None if each.provable == inf else each.provable,
        "isProvable": each.is_provable,
        "labelsUntilDeadline": each.gate_labels,
        "needs": {
            name: {"medianLabels": need.labels, "meanLabels": need.mean_labels, "medianSeconds": need.seconds}
            for name, need in each.needs.items()
        },
    }


def _row_json(about: Forecast, row: Row) -> dict[str, Any]:
    ours = row.ours
    return {
        "offIn": about.name,
        "canary": row.scenario.name,
        "passed": rate_json(ours.passed),
        "failed": rate_json(ours.failed),
        "expired": rate_json(ours.expired),
        "medianSeconds": ours.seconds,
    }


def _frame(x: plots.Scale, y: plots.Scale, title: str) -> list[str]:
    parts = []
    for tick in y.ticks():
        at = y.at(tick)
        parts.append(plots.line(_LEFT, at, _WIDTH - _RIGHT, at))
        parts.append(plots.words(_LEFT - 8, at + 4, f"{100 * tick:.0f} %", anchor="end", kind="small"))
    bottom = _HEIGHT - _BOTTOM + 18
    parts += [plots.words(x.at(tick), bottom, f"{tick:.4g}", anchor="middle", kind="small") for tick in x.ticks()]
    parts.append(
        plots.words((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, f"the canary's true {title}", anchor="middle")
    )
    return parts
