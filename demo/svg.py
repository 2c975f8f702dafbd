"""Line charts as inline SVG: series with optional bands, reference lines, a shared clock. Pure text.

A chart is a panel of fixed size in chart coordinates; `row` puts panels side by side. Colours are two hues that differ
in lightness too, so that they survive print and colour blindness.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

CANARY, PASS, FAIL, MEASURED = "#0969da", "#1a7f37", "#cf222e", "#d4a72c"
REVISIONS = ("#8c959f", CANARY, FAIL)
"""One colour for each revision, in the order they came."""
_Point = TypeVar("_Point", bound=tuple[float, ...])
_WIDTH, _HEIGHT = 360, 220
_PANELS_ACROSS = 3
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 8, 40, 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series: (seconds, value) points; gaps above `gap_s` are not joined. `band` are (seconds, low, high)."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()
    stepped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart: its title, lines, value range, and labelled reference values."""

    title: str
    lines: Sequence[Line]
    low: float
    high: float
    references: Sequence[tuple[str, float]] = field(default=())


def row(panels: Sequence[Panel], until: float, gap_s: float = 10.0) -> str:
    """Panels side by side on one time axis from 0 to `until` seconds."""
    drawn = "".join(
        f'<g transform="translate({n * _WIDTH},0)">{_panel(panel, until, gap_s)}</g>' for n, panel in enumerate(panels)
    )
    size = f"0 0 {_WIDTH * len(panels)} {_HEIGHT}"
    width = f"width:{min(100.0, 100 * len(panels) / _PANELS_ACROSS):.0f}%"
    return f'<svg viewBox="{size}" style="{width}" role="img" xmlns="http://www.w3.org/2000/svg">{drawn}</svg>'


def _panel(panel: Panel, until: float, gap_s: float) -> str:
    parts = [f'<text class="title" x="{_LEFT}" y="14">{html.escape(panel.title)}</text>', _legend(panel)]
    for n in range(5):
        value = panel.low + (panel.high - panel.low) * n / 4
        y = _y(panel, value)
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for n in range(5):
        at = until * n / 4
        anchor = "end" if n == 4 else "middle"
        parts.append(f'<text x="{_x(at, until):.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{at:.0f} s</text>')
    for name, value in panel.references:
        y = _y(panel, value)
        parts.append(f'<line class="bound" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{y - 3:.1f}" text-anchor="end">{html.escape(name)}</text>')
    parts += [_line(panel, line, until, gap_s) for line in panel.lines]
    return "".join(parts)


def _legend(panel: Panel) -> str:
    parts, x = [], float(_LEFT)
    for line in panel.lines:
        parts.append(f'<rect x="{x:.0f}" y="22" width="10" height="3" fill="{line.colour}"/>')
        parts.append(f'<text x="{x + 13:.0f}" y="27">{html.escape(line.name)}</text>')
        x += 24 + 6.2 * len(line.name)
    return "".join(parts)


def _line(panel: Panel, line: Line, until: float, gap_s: float) -> str:
    parts = []
    for run in _runs(line.band, gap_s):
        upper = [f"{_x(at, until):.1f},{_y(panel, high):.1f}" for at, _, high in run]
        lower = [f"{_x(at, until):.1f},{_y(panel, low):.1f}" for at, low, _ in reversed(run)]
        parts.append(f'<polygon points="{" ".join(upper + lower)}" fill="{line.colour}" opacity="0.16"/>')
    for pieces in _runs(line.points, gap_s):
        corners, before = [], None
        for at, value in pieces:
            if line.stepped and before is not None:
                corners.append(f"{_x(at, until):.1f},{_y(panel, before):.1f}")
            corners.append(f"{_x(at, until):.1f},{_y(panel, value):.1f}")
            before = value
        parts.append(f'<polyline points="{" ".join(corners)}" fill="none" stroke="{line.colour}" stroke-width="1.8"/>')
    return "".join(parts)


def _runs(points: Sequence[_Point], gap_s: float) -> list[list[_Point]]:
    found: list[list[_Point]] = []
    for point in points:
        if not found or point[0] - found[-1][-1][0] > gap_s:
            found.append([])
        found[-1].append(point)
    return found


def _x(at: float, until: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at / until if until else _LEFT


def _y(panel: Panel, value: float) -> float:
    clipped = min(max(value, panel.low), panel.high)
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (panel.high - clipped) / (panel.high - panel.low)
