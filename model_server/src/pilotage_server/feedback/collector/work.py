"""What the ledger is asked to do, when, and what it answers: two closed unions and an instant."""

from dataclasses import dataclass

from pilotage_server.feedback.messages import Announcement, Decisions, Delivery
from pilotage_server.feedback.results import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The instant of one transaction: everything in it is judged by the same clock, delay and exports."""

    now_ms: int
    delay_ms: int
    keeps_scores: bool

    @property
    def cutoff_ms(self) -> int:
        """Predictions issued by then have matured."""
        return self.now_ms - self.delay_ms


@dataclass(frozen=True, slots=True)
class Announced:
    """The revision is known; its cells exist."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The revision is known with other classes: one name, two models."""

    reason: str


@dataclass(frozen=True, slots=True)
class UnknownSender:
    """A delivery from a revision that must announce itself first; none of its items was looked at."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A shadow's decisions are stored, or were before."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One result per item, in order."""

    results: tuple[Result, ...]


Work = Announcement | Delivery | Decisions
Outcome = Announced | Conflict | UnknownSender | Delivered | Noted
