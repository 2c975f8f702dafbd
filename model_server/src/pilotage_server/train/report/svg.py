"""Small charts as inline SVG: intervals, lines, heat maps. Text is text, so pages stay searchable and small.

Colours come from the page's CSS variables. Every chart has a title for screen readers. Knows no document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

SERIES = 8
"""Colours there are; the ninth series repeats the first."""
_WIDTH = 560


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
    """One line: points in the data's own units."""

    label: str
    points: Sequence[tuple[float, float]]
    is_dashed: bool = False
    has_dots: bool = False


def interval_chart(title: str, bars: Sequence[Bar], *, low: float | None = None, high: float | None = None) -> str:
    """One line per value: a dot, its interval as a bar, the figure at the right."""
    left, right, row = 190, 150, 24
    first = min(bar.low for bar in bars) if low is None else low
    last = max(bar.high for bar in bars) if high is None else high
    span = (last - first) or 1.0
    width = _WIDTH + 120

    def x(value: float) -> float:
        return left + (value - first) / span * (width - left - right)

    height = row * len(bars) + 26
    parts = [_gridline(x(first + span * t / 4), 4, height - 20, f"{first + span * t / 4:.3g}") for t in range(5)]
    for i, bar in enumerate(bars):
        y = row * i + 16
        kind = "mark" if bar.is_marked else "bar"
        shown = escape(bar.label if len(bar.label) <= 28 else bar.label[:27] + "…")
        parts.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{shown}</text>')
        parts.append(f'<line x1="{x(bar.low):.1f}" x2="{x(bar.high):.1f}" y1="{y}" y2="{y}" class="{kind}"/>')
        parts.append(f'<circle cx="{x(bar.value):.1f}" cy="{y}" r="4" class="{kind}-dot"/>')
        parts.append(f'<text x="{width - right + 10}" y="{y + 4}" class="figure">{escape(bar.note)}</text>')
    return _svg(title, width, height, parts)


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    box: tuple[float, float, float, float] | None = None,
) -> str:
    """Lines in one frame; `box` = (x low, x high, y low, y high), else what the points span."""
    points = [point for one in series for point in one.points]
    if not points:
        return ""
    x0, x1, y0, y1 = box or _span(points)
    left, bottom, top, height = 56, 42, 12, 300
    legend = 18 * len(series)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return (
            left + (point[0] - x0) / ((x1 - x0) or 1) * (_WIDTH - left - 16),
            height - bottom - (point[1] - y0) / ((y1 - y0) or 1) * (height - bottom - top),
        )

    parts = []
    for t in range(5):
        at_x, at_y = x0 + (x1 - x0) * t / 4, y0 + (y1 - y0) * t / 4
        px, py = place((at_x, at_y))
        parts.append(f'<line x1="{left}" x2="{_WIDTH - 16}" y1="{py:.1f}" y2="{py:.1f}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{py + 4:.1f}" text-anchor="end" class="tick">{at_y:.3g}</text>')
        parts.append(
            f'<text x="{px:.1f}" y="{height - bottom + 16}" text-anchor="middle" class="tick">{at_x:.3g}</text>'
        )
    for i, one in enumerate(series):
        parts += _line(one, i, [place(point) for point in one.points])
        y = height + 14 + 18 * i
        parts.append(f'<line x1="{left}" x2="{left + 22}" y1="{y - 4}" y2="{y - 4}" class="line s{i % SERIES}"/>')
        parts.append(f'<text x="{left + 30}" y="{y}">{escape(one.label)}</text>')
    middle = (left + _WIDTH) / 2
    parts.append(f'<text x="{middle}" y="{height - 6}" text-anchor="middle" class="axis">{escape(x_label)}</text>')
    across = (height - bottom) / 2
    parts.append(
        f'<text transform="translate(13 {across}) rotate(-90)" text-anchor="middle" class="axis">'
        f"{escape(y_label)}</text>"
    )
    return _svg(title, _WIDTH, height + legend + 8, parts)


def heat_map(title: str, counts: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """A confusion matrix: rows actual, columns predicted, shaded by the share of the row."""
    cell = max(26, min(60, 480 // len(labels)))
    left, top = 110, 70
    parts = []
    for i, row in enumerate(counts):
        total = sum(row) or 1
        y = top + i * cell
        parts.append(f'<text x="{left - 8}" y="{y + cell / 2 + 4}" text-anchor="end">{escape(labels[i][:14])}</text>')
        column = left + i * cell + cell / 2
        parts.append(
            f'<text transform="translate({column} {top - 8}) rotate(-40)" class="tick">{escape(labels[i][:14])}</text>'
        )
        for j, count in enumerate(row):
            kind = "right" if i == j else "wrong"
            x = left + j * cell
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell - 2}" height="{cell - 2}" rx="3" class="{kind}" '
                f'fill-opacity="{0.06 + 0.94 * count / total:.3f}"/>'
            )
            if count:
                light = " light" if count / total > 0.55 else ""
                parts.append(
                    f'<text x="{x + cell / 2 - 1}" y="{y + cell / 2 + 4}" text-anchor="middle" '
                    f'class="count{light}">{count}</text>'
                )
    side = left + len(labels) * cell
    parts.append(f'<text x="{left}" y="14" class="axis">predicted →</text>')
    parts.append(f'<text x="8" y="{top - 8}" class="axis">actual ↓</text>')
    return _svg(title, max(side + 40, 260), top + len(labels) * cell + 8, parts)


def _line(one: Series, index: int, places: Sequence[tuple[float, float]]) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashed = " dashed" if one.is_dashed else ""
    parts = [f'<polyline points="{path}" class="line s{index % SERIES}{dashed}"/>']
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


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    name = escape(title)
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" aria-label="{name}">'
        f"<title>{name}</title>{''.join(parts)}</svg>"
    )
