"""The small words of the gate commands: rates with their errors, times, labels, aligned columns. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pilotage.trials import Rate

NOT_APPLICABLE = "–"


def percent(rate: Rate | None) -> str:
    """`3.5 ±0.9` in percent with one standard error; `0.0 <1.2` with the exact 95 % bound where no run, or every one,
    agrees; a dash where the question does not arise.
    """
    if rate is None or rate.runs == 0:
        return NOT_APPLICABLE
    low, high = rate.interval
    if rate.hits == 0:
        return f"0.0 <{100 * high:.1f}"
    if rate.hits == rate.runs:
        return f"100 >{100 * low:.1f}"
    return f"{100 * rate.share:.1f} ±{100 * rate.standard_error:.1f}"


def clock(seconds: float | None) -> str:
    """`42s`, `7m`, `2h05m`, `3d04h`."""
    if seconds is None:
        return NOT_APPLICABLE
    if seconds == float("inf"):
        return "never"
    if seconds < 120:
        return f"{seconds:.0f}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d{hours % 24:02d}h"


def amount(value: float | None) -> str:
    """Labels: whole numbers with thin groups, `never` for infinity."""
    if value is None:
        return NOT_APPLICABLE
    return "never" if value == float("inf") else f"{value:,.0f}".replace(",", " ")


def value(number: float | None) -> str:
    """A metric's value."""
    return NOT_APPLICABLE if number is None else f"{number:.4f}"


def columns(lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligned text: the first `left` columns to the left, numbers to the right, two spaces between."""
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    padded = (
        "  ".join(f"{c:<{w}}" if n < left else f"{c:>{w}}" for n, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    )
    return "".join(f"{line.rstrip()}\n" for line in padded)
