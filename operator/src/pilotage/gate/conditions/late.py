"""Labels that come after ``labelDelay``: what was labelled in time may be the easy part.

Remembered per cluster and arm: labels in time, and late ones by upper bound of their delay. At most 5 % of a
revision's labels may be late; the test is the exact one of a proportion against a bound (statistics.md §2.3), so that
three late labels of ten say nothing yet. Knows no gate's metric but whether it counts labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Any, Final

from pilotage.gate.blocks import ARMS, Block
from pilotage.gate.conditions.alike import SURE, log_mean
from pilotage.gate.conditions.breach import Breach, Condition, breach, needs_labels
from pilotage.gate.spec import GateSpec

MOST_LATE: Final = 0.05
_RIVALS: Final = (0.06, 0.075, 0.1, 0.2, 0.4, 0.8)
_MOST_BOUNDS: Final = 12
_UNBOUNDED: Final = "+Inf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """One arm in one cluster: labels in time, and ``{upper bound of the delay in seconds: late labels}``."""

    timely: int = 0
    late: Mapping[str, int]

    @property
    def total(self) -> int:
        """All labels."""
        return self.timely + sum(self.late.values())

    def __add__(self, other: "Arrivals") -> "Arrivals":
        late = dict(self.late)
        for bound, n in other.late.items():
            key = bound if bound in late or len(late) < _MOST_BOUNDS else _UNBOUNDED
            late[key] = late.get(key, 0) + n
        return Arrivals(timely=self.timely + other.timely, late=late)


NONE: Final = Arrivals(late={})

Late = Mapping[str, Mapping[str, Arrivals]]
"""``{cluster: {arm: arrivals}}``."""


def absorbed(memory: Late, block: Block) -> Late:
    """The block's labels added."""
    grown = {name: dict(arms) for name, arms in memory.items()}
    for name, arms in block.clusters.items():
        for arm, counts in arms.items():
            if counts.labels or counts.late:
                held = grown.setdefault(name, {})
                held[arm] = held.get(arm, NONE) + Arrivals(timely=counts.labels, late=counts.late)
    return grown


def labels_of(memory: Late, arm: str) -> dict[str, int]:
    """Labels in time of one arm, by cluster."""
    return {name: arms[arm].timely for name, arms in memory.items() if arm in arms}


def breaches(memory: Late, gates: Sequence[GateSpec]) -> list[Breach]:
    """At most one: the arms whose labels come late. A late stable says nothing about a floor."""
    found = {arm: _sum(memory, arm) for arm in ARMS}
    both = found["stable"] + found["canary"]  # one late pipeline shows in both arms together first
    if log_mean(_log_e(arrivals) for arrivals in (*found.values(), both)) < SURE:
        return []
    guilty = [arm for arm in ARMS if found[arm].total and _share(found[arm]) > MOST_LATE]
    if not guilty:
        return []
    touched = [g for g in gates if needs_labels(g) and ("canary" in guilty or g.margin is not None)]
    told = "; ".join(_told(memory, arm, found[arm]) for arm in guilty)
    fits = _fitting([found[arm] for arm in guilty])
    advice = (
        f"labelDelay: {fits}s would fit 95 %"
        if fits
        else "no delay that was observed fits 95 %: label faster, or audit"
    )
    return [breach(Condition.LABELS_LATE, f"{told}; {advice}", touched)]


def encode(memory: Late) -> dict[str, Any]:
    """JSON: labels in time of every arm, then the late ones if there are any."""
    return {name: _encode([arms.get(arm, NONE) for arm in ARMS]) for name, arms in memory.items()}


def decode(raw: Mapping[str, Any]) -> Late:
    """What ``encode`` wrote."""
    found = {}
    for name, values in raw.items():
        timely, late = values[: len(ARMS)], values[len(ARMS) :] or [{} for _ in ARMS]
        arrived = {arm: Arrivals(timely=n, late=dict(of)) for arm, n, of in zip(ARMS, timely, late, strict=True)}
        found[name] = {arm: arrivals for arm, arrivals in arrived.items() if arrivals.total}
    return found


def _encode(arms: Sequence[Arrivals]) -> list[Any]:
    late = [dict(arrivals.late) for arrivals in arms]
    return [arrivals.timely for arrivals in arms] + (late if any(late) else [])


def _log_e(arrivals: Arrivals) -> float:
    late, timely = arrivals.total - arrivals.timely, arrivals.timely
    return log_mean(late * log(q / MOST_LATE) + timely * log((1 - q) / (1 - MOST_LATE)) for q in _RIVALS)


def _share(arrivals: Arrivals) -> float:
    return 1 - arrivals.timely / arrivals.total


def _sum(memory: Late, arm: str) -> Arrivals:
    return sum((arms[arm] for arms in memory.values() if arm in arms), NONE)


def _told(memory: Late, arm: str, arrivals: Arrivals) -> str:
    places = {name: arms[arm] for name, arms in memory.items() if arm in arms and arms[arm].late}
    worst = max(places, key=lambda name: _share(places[name]))
    where = f"in {worst}" if len(memory) == 1 else f"most in {worst} ({_share(places[worst]):.1%})"
    delays = ", ".join(
        f"{n} after more than {_before(arrivals.late, bound)}" if _seconds(bound) == inf else f"{n} within {bound} s"
        for bound, n in sorted(arrivals.late.items(), key=lambda item: _seconds(item[0]))
    )
    return (
        f"{_share(arrivals):.1%} of the {arm}'s {arrivals.total} labels came after labelDelay, {where}, "
        f"more than {MOST_LATE:.0%} ({delays})"
    )


def _before(late: Mapping[str, int], bound: str) -> str:
    finite = [name for name in late if name != bound and _seconds(name) < inf]
    return f"{max(finite, key=_seconds)} s" if finite else "labelDelay"


def _fitting(arrivals: Sequence[Arrivals]) -> str | None:
    """The least bound within which 95 % of every guilty arm's labels came."""
    bounds = sorted({bound for a in arrivals for bound in a.late if _seconds(bound) < inf}, key=_seconds)
    for bound in bounds:
        if all(_within(a, _seconds(bound)) >= (1 - MOST_LATE) * a.total for a in arrivals):
            return f"{_seconds(bound):g}"
    return None


def _within(arrivals: Arrivals, limit: float) -> int:
    return arrivals.timely + sum(n for bound, n in arrivals.late.items() if _seconds(bound) <= limit)


def _seconds(bound: str) -> float:
    try:
        seconds = float(bound)
    except ValueError:
        return inf
    return seconds if seconds >= 0 else inf
