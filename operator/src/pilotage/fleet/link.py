"""How we stand with a member, as a union: exactly one of these is true at a time. Plain values."""

from __future__ import annotations

from dataclasses import dataclass

from pilotage.api.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """On the way: nothing has failed, nothing is known yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """It answers, it is who it was, and the caches are filled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """It does not answer since `since` (unix seconds)."""

    since: float
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Barred:
    """We will not talk to it until a person changes something; `reason` and `message` say what."""

    reason: Reason
    message: str


Link = Connecting | Connected | Lost | Barred


class NotUsable(Exception):
    """A member that is barred, on its way to becoming a `Barred` link."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    @property
    def link(self) -> Barred:
        """The link this leads to."""
        return Barred(reason=self.reason, message=self.message)
