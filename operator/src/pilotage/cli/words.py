"""The small words of the views: ages, symbols, numbers, short references. Pure."""

from __future__ import annotations

from pilotage.api.types import Phase

SYMBOLS = {Phase.HEALTHY: "✔", Phase.PROGRESSING: "◌", Phase.PAUSED: "॥", Phase.DEGRADED: "✖"}
STYLES = {"✔": "green", "✖": "red", "◌": "cyan", "॥": "yellow", "⚠": "yellow"}
VERDICT_SYMBOLS = {"Pass": "✔", "Fail": "✖", "Inconclusive": "◌", "InsufficientData": "◌", "NotApplicable": "•"}


def age(seconds: float) -> str:
    """Kubernetes' way: 42s, 7m, 3h, 12d."""
    whole = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= 2 * size or (unit != "m" and whole >= size):
            return f"{whole // size}{unit}"
    return f"{whole}s"


def number(value: float | None) -> str:
    """Three digits behind the point, or a dash for what is not known."""
    return "–" if value is None else f"{value:.3f}"


def short_reference(reference: str) -> str:
    """The last path segment with its tag, the digest cut to twelve digits: `digits:2.1.0@0123456789ab`."""
    name, _, digest = reference.rpartition("@") if "@" in reference else (reference, "", "")
    tail = name.rsplit("/", 1)[-1]
    return f"{tail}@{digest.removeprefix('sha256:')[:12]}" if digest and ":" not in tail else tail
