"""A replay as a timeline, as JSON, as a picture of the evidence. Pure: replays in, text out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from pilotage.api.times import format_time
from pilotage.cli import plots
from pilotage.cli.gate_words import NOT_APPLICABLE, amount, clock, columns
from pilotage.gate import Analysis
from pilotage.trials import Recording, Replay, Turn

_HEADER = ("AT", "GATE", "SAYS", "LOG E PASS", "LOG E FAIL", "LABELS")
_UNIX_TIME_FROM = 1e9
_WIDTH, _PANEL, _LEFT, _RIGHT, _TOP = 720.0, 190.0, 48.0, 24.0, 34.0
_LOW = -4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What one file of gates says about a recording."""

    name: str
    analysis: Analysis
    replay: Replay


def table(recording: Recording, opinions: Sequence[Opinion]) -> str:
    """For each file of gates: its end, then every look at which it said something else."""
    return "\n".join([_about(recording), *(_timeline(recording, each) for each in opinions)])


def document(recording: Recording, opinions: Sequence[Opinion]) -> str:
    """The same as JSON, with the evidence at every look and the last verdict."""
    told = {
        "blocks": len(recording.blocks),
        "classes": list(recording.classes),
        "shares": dict(recording.shares),
        "opinions": [_opinion_json(each) for each in opinions],
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def picture(recording: Recording, opinions: Sequence[Opinion]) -> str:
    """Log e of both sides of every gate over time, with the thresholds; SVG."""
    panels = [(each, name) for each in opinions for name in each.replay.trail]
    height = _PANEL * len(panels) + 10
    parts = [part for n, (each, name) in enumerate(panels) for part in _panel(recording, each, name, _PANEL * n)]
    return plots.svg(_WIDTH, height, "Evidence over time", parts)


def page(recording: Recording, opinions: Sequence[Opinion]) -> str:
    """Picture and timelines on one HTML page."""
    inside = [picture(recording, opinions), plots.preformatted(table(recording, opinions))]
    return plots.page("What the gates would have said", inside)


def _about(recording: Recording) -> str:
    first, last = float(recording.blocks[0]["at"]), float(recording.blocks[-1]["at"])
    since = f" from {format_time(first)}" if first > _UNIX_TIME_FROM else ""
    clusters = ", ".join(f"{name} {100 * share:.0f} %" for name, share in _percent(recording.shares).items())
    return f"{len(recording.blocks)} blocks in {clock(last - first)}{since}; {clusters}\n"


def _percent(shares: Mapping[str, float]) -> dict[str, float]:
    total = sum(shares.values()) or 1.0
    return {name: share / total for name, share in shares.items()}


def _timeline(recording: Recording, opinion: Opinion) -> str:
    start, replay = float(recording.blocks[0]["at"]), opinion.replay
    if replay.decided is None:
        end = f"undecided after {clock(float(recording.blocks[-1]['at']) - start)}: {replay.last.reason}"
    else:
        end = f"{replay.decided[0]} after {clock(replay.decided[1] - start)}"
    cells = columns([list(_HEADER), *(_cells(turn, start) for turn in replay.turns)], left=3).splitlines()
    decided = ("Pass", "Fail")  # until then the whole waits for what its gates say above it
    reasons = ["WHY", *(turn.reason if turn.gate or turn.state in decided else "" for turn in replay.turns)]
    lines = (f"{line.ljust(max(map(len, cells)))}  {reason}" for line, reason in zip(cells, reasons, strict=True))
    return f"{opinion.name}: {end}\n" + "".join(f"{line.rstrip()}\n" for line in lines)


def _cells(turn: Turn, start: float) -> list[str]:
    return [
        clock(turn.at - start),
        turn.gate or "(all)",
        turn.state,
        *(NOT_APPLICABLE if value is None else f"{value:+.2f}" for value in (turn.log_e_pass, turn.log_e_fail)),
        amount(turn.labels),
    ]


def _opinion_json(opinion: Opinion) -> dict[str, Any]:
    replay = opinion.replay
    return {
        "gates": opinion.name,
        "decided": None if replay.decided is None else {"state": replay.decided[0], "at": replay.decided[1]},
        "turns": [
            {
                "at": turn.at,
                "gate": turn.gate or None,
                "state": turn.state,
                "reason": turn.reason,
                "logEPass": turn.log_e_pass,
                "logEFail": turn.log_e_fail,
                "canaryLabels": turn.labels,
            }
            for turn in replay.turns
        ],
        "trail": {
            name: [{"at": at, "logEPass": passing, "logEFail": failing} for at, passing, failing in trail]
            for name, trail in replay.trail.items()
        },
        "last": replay.last.to_dict(),
    }


def _panel(recording: Recording, opinion: Opinion, gate: str, top: float) -> list[str]:
    trail, settings = opinion.replay.trail[gate], opinion.analysis.settings
    start, end = float(recording.blocks[0]["at"]), float(recording.blocks[-1]["at"])
    threshold = log(1 / settings.alpha)
    high = max(threshold + 1, min(12.0, max((max(a, b) for _, a, b in trail), default=0.0)))
    x = plots.Scale(low=0, high=max(end - start, 1.0), start=_LEFT, end=_WIDTH - _RIGHT)
    y = plots.Scale(low=_LOW, high=high, start=top + _PANEL - 30, end=top + _TOP)
    parts = [plots.words(_LEFT, top + 18, f"{gate} ({opinion.name})", kind="head")]
    for name, colour, dash, n in (("log e pass", plots.GOOD, "", 1), ("log e fail", plots.BAD, "7 3", 2)):
        parts.append(
            plots.line(_WIDTH - 320 + 110 * n, top + 14, _WIDTH - 300 + 110 * n, top + 14, colour=colour, dash=dash)
        )
        parts.append(plots.words(_WIDTH - 294 + 110 * n, top + 18, name, kind="small"))
        points = [(x.at(each[0] - start), y.at(each[n])) for each in trail]
        parts.append(plots.curve(_thinned(points), colour=colour, dash=dash))
    for value, word in ((0.0, "0"), (threshold, "1/alpha")):
        parts.append(plots.line(_LEFT, y.at(value), _WIDTH - _RIGHT, y.at(value), colour=plots.INK, dash="1 3"))
        parts.append(plots.words(_LEFT - 6, y.at(value) + 4, word, anchor="end", kind="small"))
    bottom = top + _PANEL - 14
    parts += [
        plots.words(x.at(tick), bottom, clock(tick), anchor="middle", kind="small") for tick in _times(end - start)
    ]
    return parts


def _times(seconds: float) -> list[float]:
    """About six round times."""
    steps = (10, 30, 60, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400)
    step = next((each for each in steps if seconds / each <= 6), seconds / 6 or 1)
    return [n * step for n in range(int(seconds // step) + 1)]


def _thinned(points: Sequence[plots.Point], most: int = 400) -> Sequence[plots.Point]:
    """No more points than pixels; the last one stays."""
    step = max(1, -(-len(points) // most))
    return [*points[::step], points[-1]] if points else points
