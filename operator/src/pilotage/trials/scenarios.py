"""What can be the matter with a canary or with its labels, by name. Closed, documented, and only data.

Where the canary stands is measured from stable towards the gate's boundary: 0 is equal to stable, 1 exactly on the
boundary, 2 twice as far off. So a scenario means the same for a margin, a floor and a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pilotage.trials.questions import Question


class Counting(StrEnum):
    """When a label enters the evidence: once its prediction is `labelDelay` old, or as it comes."""

    MATURED = "matured"
    ARRIVAL = "arrival"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`off`: how far the canary is off stable, in distances to the boundary; `by` the same in the metric's units, if
    given. The rest says what happens to traffic and labels. `is_ours=False`: shown for comparison, it is not what
    Pilotage does.
    """

    name: str
    about: str
    off: float = 1.0
    by: float | None = None
    delayed_by_class: bool = False
    counting: Counting = Counting.MATURED
    late_errors: float = 0.0
    drift: float = 1.0
    uneven_clusters: bool = False
    sticky_requests: int = 0
    labelled_prediction_only: bool = False
    attempts: int = 1
    is_ours: bool = True


STICKY_REQUESTS: Final = 100
"""Servers close a connection after so many requests (design §7)."""

_FIXED: Final = (
    Scenario(name="equal", about="the canary equals stable", off=0.0),
    Scenario(name="better", about="better than stable by as much as the gate tolerates worse", off=-1.0),
    Scenario(name="boundary", about="exactly at the margin or the floor: Pass and Fail are both errors"),
)
_TROUBLED: Final = (
    Scenario(
        name="delayed",
        about="boundary; each class is labelled after its own delay, counted when matured",
        delayed_by_class=True,
    ),
    Scenario(
        name="delayed-arrival",
        about="the same labels counted as they come (not what Pilotage does)",
        delayed_by_class=True,
        counting=Counting.ARRIVAL,
        is_ours=False,
    ),
    Scenario(
        name="drift", about="boundary; requests get 3 times harder and easier again while weights step", drift=3.0
    ),
    Scenario(
        name="uneven-clusters",
        about="boundary in an easy and a hard cluster; the canary has 40 % of the easy, 5 % of the hard one",
        uneven_clusters=True,
    ),
    Scenario(
        name="sticky",
        about="boundary; a client with hard or easy requests keeps its arm for 100 requests",
        sticky_requests=STICKY_REQUESTS,
    ),
    Scenario(
        name="by-prediction",
        about="twice as far off; labels only for rows predicted as the gate's class",
        off=2.0,
        labelled_prediction_only=True,
    ),
    Scenario(name="late", about="twice as far off; six in ten errors are labelled too late", off=2.0, late_errors=0.6),
    Scenario(name="retries", about="boundary; tried four times, the pass evidence goes on", attempts=4),
)


def catalogue(question: Question, stable: float, worse: Sequence[float] = ()) -> tuple[Scenario, ...]:
    """Every scenario for a gate whose metric is worth `stable` in production.

    `worse`: how much worse than stable the bad canaries are, in the metric's units; by default 2, 4 and 10 distances
    to the boundary, as far as the metric goes.
    """
    gap = distance(question, stable)
    room = 1 - stable if question.worse > 0 and question.metric == "errorRate" else stable
    room = room if question.worse < 0 or question.metric == "errorRate" else float("inf")
    amounts = worse or [times * gap for times in (2, 4, 10) if times * gap < 0.9 * room]
    bad = tuple(
        Scenario(name=f"worse-{amount:.3g}", about=f"{amount:.3g} worse than stable", by=amount) for amount in amounts
    )
    return (*_FIXED, *bad, *_TROUBLED)


def distance(question: Question, stable: float) -> float:
    """From stable to the boundary, in the metric's units; the gate's own scale if stable itself is beyond it."""
    gap = question.excess(stable, stable)
    return gap if gap > 1e-9 else question.scale


def target(scenario: Scenario, question: Question, stable: float) -> float:
    """The value of the canary's metric in this scenario beside a stable of this value."""
    if scenario.off == 1.0 and scenario.by is None:
        return question.boundary(stable)
    amount = scenario.by if scenario.by is not None else scenario.off * distance(question, stable)
    return stable + question.worse * amount
