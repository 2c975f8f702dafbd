"""Drawing as SVG text: scales, lines, dots, words. Self-contained, readable in print and for colour-blind eyes, small.

Numbers are rounded to a tenth of a pixel so that the same facts give the same bytes. Knows no gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import sqrt

GOOD, BAD, OPEN, INK, FAINT = "#1a7f37", "#cf222e", "#9a6700", "#1f2328", "#d0d7de"
OURS, FIRST_PEER, SECOND_PEER = "#0969da", "#bc4c00", "#6e7781"

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Values from `low` to `high` on pixels from `start` to `end`; `root`: square root, so that small rates show."""

    low: float
    high: float
    start: float
    end: float
    root: bool = False

    def at(self, value: float) -> float:
        """The pixel; values outside stand on the edge."""
        span = self.high - self.low
        part = (min(max(value, self.low), self.high) - self.low) / span if span else 0.0
        return self.start + (self.end - self.start) * (sqrt(part) if self.root else part)

    def ticks(self) -> list[float]:
        """About five round values."""
        if self.root:
            return [value for value in (0.0, 0.01, 0.05, 0.2, 0.5, 1.0) if value <= self.high]
        span = self.high - self.low
        rough = span / 5 if span > 0 else 1.0
        size = 10.0 ** _exponent(rough)
        step = next(times * size for times in (1, 2, 5, 10) if times * size >= rough)
        first = -(-self.low // step) * step
        return [first + n * step for n in range(12) if first + n * step <= self.high + step * 1e-6]


def svg(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """A whole picture; `title` is read out by screen readers."""
    style = (
        "text{font:12px system-ui,sans-serif;fill:" + INK + "}.small{font-size:11px;fill:#57606a}"
        ".head{font-weight:600}.grid{stroke:" + FAINT + ";stroke-width:1}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" width="{width:g}">'
        f"<title>{escape(title)}</title><style>{style}</style>"
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>' + "".join(parts) + "</svg>\n"
    )


def words(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    """Text at a point; `kind` small, head or both."""
    css = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css}>{escape(text)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, *, colour: str = FAINT, dash: str = "", width: float = 1) -> str:
    """A straight line."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width:g}"'
        f"{dashed}/>"
    )


def curve(points: Sequence[Point], *, colour: str, width: float = 1.8, dash: str = "") -> str:
    """A line through points."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dashed}/>'


def dot(x: float, y: float, *, colour: str, shape: str = "circle") -> str:
    """A mark: circle, square or diamond, so that colour is not needed to tell them apart."""
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    turn = f' transform="rotate(45 {x:.1f} {y:.1f})"' if shape == "diamond" else ""
    return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{colour}"{turn}/>'


def page(title: str, parts: Iterable[str]) -> str:
    """A self-contained HTML page around pictures and text."""
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;color:#1f2328;margin:2rem auto;max-width:70rem;padding:0 1rem}"
        "pre{font:12px/1.4 ui-monospace,monospace;overflow-x:auto;background:#f6f8fa;padding:1rem}"
        "svg{max-width:100%;height:auto}"
    )
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{style}</style></head><body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def preformatted(text: str) -> str:
    """A table as the terminal shows it."""
    return f"<pre>{escape(text)}</pre>"


def _exponent(value: float) -> int:
    exponent = 0
    while value >= 10:
        value, exponent = value / 10, exponent + 1
    while value < 1:
        value, exponent = value * 10, exponent - 1
    return exponent
