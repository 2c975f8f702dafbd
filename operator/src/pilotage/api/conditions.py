"""The algebra of conditions: set one, keep the transition time unless its status flips, keep a stable order.

A condition that says the same again is the same value, so an unchanged status stays equal and is not written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pilotage.api.reasons import ConditionType
from pilotage.api.types import Condition

_ORDER = {kind.value: position for position, kind in enumerate(ConditionType)}


def set_conditions(before: Iterable[Condition], now: Iterable[Condition]) -> tuple[Condition, ...]:
    """`now` over `before`: same status keeps its transition time; conditions not named again are dropped."""
    known = {condition.type: condition for condition in before}
    return tuple(
        sorted(
            (_with_transition(known.get(condition.type), condition) for condition in now),
            key=lambda condition: (_ORDER.get(condition.type, len(_ORDER)), condition.type),
        )
    )


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of this type, if set."""
    return next((condition for condition in conditions if condition.type == kind), None)


def _with_transition(before: Condition | None, now: Condition) -> Condition:
    if before is None or before.status != now.status:
        return now
    return replace(now, last_transition_time=before.last_transition_time)
