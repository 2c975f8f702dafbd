"""Labels that come after ``labelDelay``: what was labelled in time may be the easy part.

Remembered per cluster and arm: late labels by upper bound of their delay; those in time are in the analysis' sums. At
most 5 % of a revision's labels may be late; the test is the exact one of a proportion against a bound (statistics.md
§2.3), so that three late labels of ten say nothing yet. It needs many labels to tell 7 % from 5 %, and a gate may need
few: until the share seems to lie below 5 %, a Pass waits. Waiting costs no guarantee, so no proof is asked for it.
Knows no gate's metric but whether it counts labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, log, sqrt
from typing import Any, Final

from pilotage.gate.blocks import ARMS, Block
from pilotage.gate.conditions.alike import SURE, log_mean
from pilotage.gate.conditions.breach import Breach, Condition, breach, needs_labels
from pilotage.gate.engine import Arms
from pilotage.gate.spec import GateSpec

MOST_LATE: Final = 0.05
_DOUBT: Final = 1.28  # standard errors: nine in ten revisions with 5 % late labels make a Pass wait
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

Late = Mapping[str, Mapping[str, Mapping[str, int]]]
"""``{cluster: {arm: {upper bound: late labels}}}``; what is missing had none."""

_Found = Mapping[str, Mapping[str, Arrivals]]


def absorbed(memory: Late, block: Block) -> Late:
    """The block's late labels added."""
    grown = {name: dict(arms) for name, arms in memory.items()}
    for name, arms in block.clusters.items():
        for arm, counts in arms.items():
            if counts.late:
                held = grown.setdefault(name, {})
                held[arm] = (Arrivals(late=held.get(arm, {})) + Arrivals(late=counts.late)).late
    return grown


def breaches(memory: Late, sums: Arms, gates: Sequence[GateSpec]) -> list[Breach]:
    """At most one: the arms whose labels come late. A late stable says nothing about a floor."""
    if not memory:
        return []
    arrived = _arrived(memory, sums)
    found = {arm: sum((arms[arm] for arms in arrived.values()), NONE) for arm in ARMS}
    both = found["stable"] + found["canary"]  # one late pipeline shows in both arms together first
    if log_mean(_log_e(arrivals) for arrivals in (*found.values(), both)) < SURE:
        return _suspicion(found, gates)
    guilty = [arm for arm in ARMS if found[arm].total and _share(found[arm]) > MOST_LATE]
    if not guilty:
        return []
    touched = _touched(guilty, gates)
    told = "; ".join(_told(arrived, arm) for arm in guilty)
    fits = _fitting([found[arm] for arm in guilty])
    advice = (
        f"labelDelay: {fits}s would fit 95 %"
        if fits
        else "no delay that was observed fits 95 %: label faster, or audit"
    )
    return [breach(Condition.LABELS_LATE, f"{told}; {advice}", touched)]


def _suspicion(found: Mapping[str, Arrivals], gates: Sequence[GateSpec]) -> list[Breach]:
    """What makes a Pass wait: an arm whose share of late labels is not clearly below the limit."""
    doubtful = [arm for arm in ARMS if found[arm].late and _highest(found[arm]) > MOST_LATE]
    if not doubtful:
        return []
    told = "; ".join(
        f"{_share(found[arm]):.1%} of the {arm}'s {found[arm].total} labels came after labelDelay, which may be more "
        f"than {MOST_LATE:.0%} in the end"
        for arm in doubtful
    )
    suspicion = breach(Condition.LABELS_LATE, f"{told}; more labels will tell", _touched(doubtful, gates))
    return [replace(suspicion, fails=frozenset(), suspected=True)]


def _touched(guilty: Sequence[str], gates: Sequence[GateSpec]) -> list[GateSpec]:
    return [g for g in gates if needs_labels(g) and ("canary" in guilty or g.margin is not None)]


def _highest(arrivals: Arrivals) -> float:
    share = _share(arrivals)
    return share + _DOUBT * sqrt(share * (1 - share) / arrivals.total)


def encode(memory: Late) -> dict[str, Any]:
    """JSON."""
    return {name: {arm: dict(late) for arm, late in arms.items()} for name, arms in memory.items()}


def decode(raw: Mapping[str, Any]) -> Late:
    """What ``encode`` wrote."""
    return {name: {arm: dict(late) for arm, late in arms.items()} for name, arms in raw.items()}


def _arrived(memory: Late, sums: Arms) -> _Found:
    """Labels of both arms in every cluster that has any."""
    return {
        name: {
            arm: Arrivals(
                timely=sums[name][arm].labels if arm in sums.get(name, {}) else 0,
                late=memory.get(name, {}).get(arm, {}),
            )
            for arm in ARMS
        }
        for name in sorted({*memory, *sums})
    }


def _log_e(arrivals: Arrivals) -> float:
    late, timely = arrivals.total - arrivals.timely, arrivals.timely
    return log_mean(late * log(q / MOST_LATE) + timely * log((1 - q) / (1 - MOST_LATE)) for q in _RIVALS)


def _share(arrivals: Arrivals) -> float:
    return 1 - arrivals.timely / arrivals.total


def _told(arrived: _Found, arm: str) -> str:
    arrivals = sum((arms[arm] for arms in arrived.values()), NONE)
    places = {name: arms[arm] for name, arms in arrived.items() if arms[arm].late}
    worst = max(places, key=lambda name: _share(places[name]))
    where = f"in {worst}" if len(arrived) == 1 else f"most in {worst} ({_share(places[worst]):.1%})"
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
