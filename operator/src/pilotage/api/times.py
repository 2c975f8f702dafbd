"""Durations and times between the API's words and numbers: `5m` ⇄ 300.0, RFC 3339 ⇄ unix seconds.

Durations are Go's as Kubernetes users write them (`1h30m`, `90s`, `250ms`), never negative. Times keep milliseconds,
so that encoding and decoding a status changes nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as `1h30m`; ValueError names the text and the form wanted."""
    position, total = 0, 0.0
    for match in _DURATION.finditer(text):
        if match.start() != position:
            break
        total += float(match[1]) * _MILLISECONDS[match[2]]
        position = match.end()
    if position == 0 or position != len(text):
        raise ValueError(f"{text!r} is not a duration; write for example 90s, 10m or 1h30m")
    return total / 1000


def parse_time(text: str) -> float:
    """Unix seconds of an RFC 3339 time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def format_time(at: float) -> str:
    """RFC 3339 in UTC with milliseconds, or without where there are none (what metav1.Time accepts)."""
    moment = datetime.fromtimestamp(round(at, 3), UTC)
    spec = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def seconds(at: float) -> float:
    """`at` as it survives a trip through the API: rounded to milliseconds."""
    return round(at, 3)
