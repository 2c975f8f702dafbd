"""When a wave begins: can its gates be decided by the deadline at the rate at which stable got labels lately?

Told and never acted on: the rate may rise, a person may wait. Pure; the forecast itself is `pilotage.gate.provable`'s.
"""

from __future__ import annotations

from pilotage.api.types import RolloutRecord
from pilotage.gate.provable import Pace, outlooks, unprovable
from pilotage.plan.baselines import recent_traffic
from pilotage.plan.scene import Scene


def cannot_be_proved(scene: Scene, rollout: RolloutRecord, wave: str, clusters: tuple[str, ...]) -> str:
    """What an equal canary will probably not pass in time, with what it could; empty when all can be, or is unknown."""
    recent = recent_traffic(scene, rollout, clusters)
    left = rollout.started_at + scene.spec.rollout.max_duration_s + rollout.shifted_s - scene.now
    if scene.analysis is None or recent is None or left <= 0:
        return ""
    pace = Pace(
        history_s=recent.seconds,
        weights=[step.weight / 100 for step in scene.steps],
        max_duration_s=left,
        label_delay_s=scene.spec.label_delay_s,
    )
    try:
        found = outlooks(
            scene.analysis, classes=recent.classes, shares=recent.shares, history=recent.history, pace=pace
        )
    except (ValueError, ArithmeticError):  # a forecast that fails costs nothing but itself
        return ""
    said = unprovable(found)
    return f"wave {wave}: {said}" if said else ""
