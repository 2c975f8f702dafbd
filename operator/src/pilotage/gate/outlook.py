"""What a wave's start says about one boundary, in numbers and in a sentence. Computes nothing: ``provable`` does."""

from dataclasses import dataclass
from math import inf
from typing import Final

from pilotage.gate.engine import Kind

_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One boundary of one gate, for a canary equal to stable. ``bound``: what the gate asks for; ``stable``: stable's
    value lately, None where it is undefined.

    ``labels``: canary labels in the gate's own denominator until a pass, at ``labels_per_hour`` in the last step;
    ``takes_s``: seconds until then; both infinite where a pass never comes. ``provable``: the bound that would pass
    just before the deadline; None if none would, or if the one asked for does.
    """

    gate: str
    title: str
    kind: Kind
    bound: float
    stable: float | None
    labels: float
    labels_per_hour: float
    takes_s: float
    deadline_s: float
    provable: float | None

    @property
    def in_time(self) -> bool:
        """An equal canary will probably pass before the deadline."""
        return self.takes_s <= self.deadline_s

    def __str__(self) -> str:
        asked = f"{self.gate}: {self.kind} {self.bound:g}"
        if self.stable is None:
            return f"{asked} cannot be proved: stable's history has no {self.title}; send labels, or change the gate"
        if self.in_time:
            return f"{asked} {self._needs()}, within maxDuration {_duration(self.deadline_s)}"
        if self.takes_s == inf:
            told = f"is out of reach of a canary equal to stable, whose {self.title} is {self.stable:.3f}"
        else:
            told = f"{self._needs()}, later than maxDuration {_duration(self.deadline_s)}"
        return f"{asked} {told}; {self._instead()}"

    def _needs(self) -> str:
        rate = f"{self.labels_per_hour:,.0f}" if self.labels_per_hour >= 1 else f"{self.labels_per_hour:.2g}"
        labels = f"{_rounded(self.labels):,} labels of the canary"
        return f"needs about {labels}; at {rate} an hour that is {_duration(self.takes_s)}"

    def _instead(self) -> str:
        if self.provable is None:
            return "no bound can be proved by then: label more, or give both arms a share of the requests"
        match self.kind:
            case Kind.MARGIN:
                return f"smallest provable margin by then: {self.provable:.3g}"
            case Kind.CEILING:
                return f"lowest provable ceiling by then: {self.provable:.3g}"
        return f"highest provable floor by then: {self.provable:.3f}"


def _rounded(labels: float) -> int:
    """Two digits: it is a forecast."""
    digits = max(0, len(str(int(labels))) - 2)
    return int(round(labels, -digits))


def _duration(seconds: float) -> str:
    if seconds < _HOUR_S:
        return f"{max(1.0, seconds / _MINUTE_S):.0f} min"
    return f"{seconds / _HOUR_S:.0f} h" if seconds < 4 * _DAY_S else f"{seconds / _DAY_S:.0f} days"
