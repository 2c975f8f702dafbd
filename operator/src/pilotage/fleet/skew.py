"""How far each member's clock is from ours, from the Date header of every answer.

The header was written between our question and its arrival here, so only a date outside that span says anything:
an answer that we were slow to read (a paused process) is no skew. Dates have whole seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def skew_of(date: str, *, asked_at: datetime, answered_at: datetime) -> float | None:
    """Seconds the other clock is ahead of ours (negative: behind), zero within the span; None without a date."""
    try:
        theirs = parsedate_to_datetime(date)
    except ValueError:
        return None
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    if theirs > answered_at:
        return (theirs - answered_at).total_seconds()
    earliest = asked_at.replace(microsecond=0)
    return (theirs - earliest).total_seconds() if theirs < earliest else 0.0


class Skews:
    """The last skew of each member."""

    def __init__(self) -> None:
        self._skews: dict[str, float] = {}

    def note(self, member: str, skew_s: float | None) -> None:
        """Keep what an answer showed."""
        if skew_s is not None:
            self._skews[member] = skew_s

    def of(self, member: str) -> float | None:
        """The last known skew in seconds."""
        return self._skews.get(member)
