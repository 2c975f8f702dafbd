"""Small charts as inline SVG: intervals, bars, lines. Text is text, so pages stay searchable and small.

Colours come from the page's CSS variables. Every chart is a figure with a visible caption, which is also its name for
screen readers; the figures stand in text beside it or in a table near it. Knows no document.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

SERIES = 8
"""Colours there are; the ninth series repeats the first."""
_WIDE, _NARROW = 720, 430
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One value with its interval; `low` and `high` equal to `value` when there is none."""

    label: str
    value: float
    low: float
    high: float
    note: str = ""
    is_marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line: points in the data's own units. Without a label it is background and in no legend."""

    label: str
    points: Sequence[tuple[float, float]]
    is_dashed: bool = False
    has_dots: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What a frame spans and says: `box` = (x low, x high, y low, y high), else what the points span."""

    x: str
    y: str
    box: tuple[float, float, float, float] | None = None
    is_log: bool = False


def interval_chart(
    title: str, bars: Sequence[Bar], *, low: float | None = None, high: float | None = None, is_filled: bool = False
) -> str:
    """One line per value: a dot with its interval, or a bar from `low` when filled; the figure at the right."""
    if not bars:
        return ""
    left, right, row = 210, 165, 24
    first = min(bar.low for bar in bars) if low is None else low
    last = max(bar.high for bar in bars) if high is None else high
    steps = ticks(first, last)
    first, last = (first if low is not None else steps[0]), (last if high is not None else steps[-1])
    span = (last - first) or 1.0

    def x(value: float) -> float:
        return left + (value - first) / span * (_WIDE - left - right)

    height = row * len(bars) + 28
    parts = [_gridline(x(at), 4, height - 20, f"{at:g}") for at in steps if first <= at <= last]
    for i, bar in enumerate(bars):
        y = row * i + 16
        kind = "mark" if bar.is_marked else "bar"
        shown = escape(_short(bar.label, 30))
        parts.append(f'<text x="{left - 12}" y="{y + 4}" text-anchor="end">{shown}</text>')
        if is_filled:
            width = max(1.0, x(bar.value) - x(first))
            parts.append(f'<rect x="{x(first):.1f}" y="{y - 7}" width="{width:.1f}" height="14" class="{kind}-fill"/>')
        else:
            parts.append(f'<line x1="{x(bar.low):.1f}" x2="{x(bar.high):.1f}" y1="{y}" y2="{y}" class="{kind}"/>')
            parts.append(f'<circle cx="{x(bar.value):.1f}" cy="{y}" r="4.5" class="{kind}-dot"/>')
        parts.append(f'<text x="{_WIDE - right + 12}" y="{y + 4}" class="figure">{escape(bar.note)}</text>')
    return _figure(title, _WIDE, height, parts)


def line_chart(title: str, series: Sequence[Series], axes: Axes, *, note: str = "") -> str:
    """Lines in one frame, with a legend below; `note` is small print under the caption."""
    points = [point for one in series for point in one.points]
    if not points:
        return ""
    x0, x1, y0, y1 = axes.box or _span(points)
    left, right, bottom, top, height = 54, 14, 40, 10, 270
    named = [(i, one) for i, one in enumerate(series) if one.label]

    def across(value: float) -> float:
        scaled = [math.log10(v) if axes.is_log else v for v in (value, x0, x1)]
        return left + (scaled[0] - scaled[1]) / ((scaled[2] - scaled[1]) or 1) * (_NARROW - left - right)

    def up(value: float) -> float:
        return height - bottom - (value - y0) / ((y1 - y0) or 1) * (height - bottom - top)

    parts = []
    for at in _inside(ticks(y0, y1), y0, y1):
        parts.append(f'<line x1="{left}" x2="{_NARROW - right}" y1="{up(at):.1f}" y2="{up(at):.1f}" class="grid"/>')
        parts.append(f'<text x="{left - 7}" y="{up(at) + 4:.1f}" text-anchor="end" class="tick">{at:g}</text>')
    marks = _powers(x0, x1) if axes.is_log else _inside(ticks(x0, x1), x0, x1)
    parts += [
        f'<text x="{across(at):.1f}" y="{height - bottom + 17}" text-anchor="middle" class="tick">{at:g}</text>'
        for at in marks
    ]
    for i, one in enumerate(series):
        parts += _line(one, i, [(across(px), up(py)) for px, py in one.points])
    for row, (i, one) in enumerate(named):
        y = height + 16 + 19 * row
        dashed = " dashed" if one.is_dashed else ""
        parts.append(
            f'<line x1="{left}" x2="{left + 24}" y1="{y - 4}" y2="{y - 4}" class="line s{i % SERIES}{dashed}"/>'
        )
        parts.append(f'<text x="{left + 32}" y="{y}">{escape(_short(one.label, 48))}</text>')
    middle = (left + _NARROW - right) / 2
    parts.append(f'<text x="{middle}" y="{height - 4}" text-anchor="middle" class="axis">{escape(axes.x)}</text>')
    parts.append(
        f'<text transform="translate(13 {(height - bottom) / 2}) rotate(-90)" text-anchor="middle" class="axis">'
        f"{escape(axes.y)}</text>"
    )
    return _figure(title, _NARROW, height + 19 * len(named) + 8, parts, note=note)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values that cover low … high, evenly apart."""
    if not high > low:
        return [low, low + 1.0]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(one for one in _STEPS if one * power >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    count = math.ceil(high / step - 1e-9) - first
    return [round((first + i) * step, 12) for i in range(count + 1)]


def _inside(values: Sequence[float], low: float, high: float) -> list[float]:
    room = 1e-9 * (high - low)
    return [value for value in values if low - room <= value <= high + room]


def _powers(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis: powers of ten, or the ends where there are fewer than two."""
    found = [10.0**n for n in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)]
    return found if len(found) > 1 else [low, high]


def _line(one: Series, index: int, places: Sequence[tuple[float, float]]) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    kind = f"s{index % SERIES}{' dashed' if one.is_dashed else ''}" if one.label else "ghost"
    parts = [f'<polyline points="{path}" class="line {kind}"/>']
    if one.has_dots:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="dot s{index % SERIES}"/>' for x, y in places]
    return parts


def _span(points: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    room = (max(ys) - min(ys)) * 0.06 or 0.01
    return min(xs), max(xs), min(ys) - room, max(ys) + room


def _gridline(x: float, top: float, bottom: float, text: str) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" class="grid"/>'
        f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle" class="tick">{text}</text>'
    )


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _figure(title: str, width: float, height: float, parts: Sequence[str], *, note: str = "") -> str:
    name = escape(title)
    wide = ' class="wide"' if width > _NARROW else ""
    small = f" <small>{escape(note)}</small>" if note else ""
    return (
        f'<figure{wide}><figcaption>{name}{small}</figcaption><svg viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" role="img" aria-label="{name}">{"".join(parts)}</svg></figure>'
    )
