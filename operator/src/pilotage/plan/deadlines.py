"""Deadlines, and when they stand still.

`maxDuration` runs from the rollout's start, `progressDeadline` from each weight that was asked for. Both stand still
while the spec is paused, a step waits for a person, or a member of the wave cannot be reached: none of these is the
model's fault; nor is a bake, which has an end of its own. With nothing stable to return to a deadline only reports.
"""

from __future__ import annotations

import math

from pilotage.api.reasons import Reason
from pilotage.api.times import seconds
from pilotage.api.types import OnUndecided, Outcome, RolloutRecord, WaveRecord
from pilotage.gate import Outcome as Verdict
from pilotage.plan.bake import bakes_until
from pilotage.plan.looks import evidence_of
from pilotage.plan.observed import Refused, Unreachable
from pilotage.plan.progress import is_gated, pause_left
from pilotage.plan.rollouts import end
from pilotage.plan.scene import Draft, Scene
from pilotage.plan.waves import current_wave, is_full, members, next_wave


def stand_still(scene: Scene, draft: Draft) -> Draft:
    """Record since when deadlines stand still, or for how long they have."""
    rollout = draft.active
    if rollout is None:
        return draft
    still = _stands_still(scene, draft, rollout)
    if still and rollout.stopped_at is None:
        return draft.with_rollout(stopped_at=scene.now)
    if not still and rollout.stopped_at is not None:
        return draft.with_rollout(stopped_at=None, shifted_s=_shifted(scene, rollout))
    return draft


def _stands_still(scene: Scene, draft: Draft, rollout: RolloutRecord) -> bool:
    if scene.spec.paused or rollout.full_at is not None:
        return True
    wave = current_wave(rollout)
    upcoming = next_wave(scene, rollout)
    waiting_on = members(scene, wave) if wave else upcoming[1] if upcoming else ()
    if any(isinstance(scene.observed.clusters[name].link, (Unreachable, Refused)) for name in waiting_on):
        return True
    on_trial = wave is not None and not is_full(scene, draft, wave)
    return wave is not None and on_trial and pause_left(scene, draft, rollout, wave) == math.inf


def _shifted(scene: Scene, rollout: RolloutRecord) -> float:
    stopped = scene.now - rollout.stopped_at if rollout.stopped_at is not None else 0.0
    return seconds(rollout.shifted_s + stopped)


def _due(scene: Scene, rollout: RolloutRecord) -> float:
    return rollout.started_at + scene.spec.rollout.max_duration_s + _shifted(scene, rollout)


def _progress_due(scene: Scene, rollout: RolloutRecord, wave: WaveRecord) -> float:
    record = wave.steps[-1]
    shift = _shifted(scene, rollout) - record.shifted_s
    return record.started_at + scene.spec.rollout.progress_deadline_s + shift


def lacks_progress(scene: Scene, draft: Draft) -> bool:
    """The weight asked for last has not come into effect within progressDeadline."""
    rollout = draft.active
    wave = current_wave(rollout) if rollout else None
    if rollout is None or wave is None or wave.steps[-1].observed_at is not None:
        return False
    return scene.now >= _progress_due(scene, rollout, wave)


def expire(scene: Scene, draft: Draft) -> Draft:
    """A deadline passed: back to stable, or held, as the spec says."""
    rollout = draft.active
    if rollout is None or draft.is_first:
        return draft
    if lacks_progress(scene, draft):
        wave = current_wave(rollout)
        assert wave is not None
        weight, clusters = wave.steps[-1].weight, ", ".join(members(scene, wave))
        message = f"weight {weight} did not come into effect in {clusters} within progressDeadline"
        return end(scene, draft, Outcome.EXPIRED, Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    over = scene.now >= _due(scene, rollout) and not rollout.promote_full and rollout.full_at is None
    if rollout.held or not over:
        return draft if rollout.held == over else draft.with_rollout(held=over)
    verdict = _verdict(scene, draft, rollout)
    is_short = verdict == Verdict.INSUFFICIENT_DATA
    then = scene.spec.rollout.on_insufficient_data if is_short else scene.spec.rollout.on_inconclusive
    reason = Reason.INSUFFICIENT_DATA if is_short else Reason.INCONCLUSIVE
    if then is OnUndecided.ROLLBACK:
        return end(scene, draft, Outcome.EXPIRED, reason, f"maxDuration passed and the verdict is {verdict}")
    note = f"Rollout {rollout.name} is held: maxDuration passed and the verdict is {verdict}; a Pass still promotes."
    return draft.with_rollout(held=True).saying(Reason.HELD, note, warning=True)


def _verdict(scene: Scene, draft: Draft, rollout: RolloutRecord) -> str:
    wave = current_wave(rollout)
    entry = evidence_of(draft, rollout, wave.name) if wave else None
    if entry is not None:
        return entry.verdict
    gated = is_gated(scene, draft, rollout)
    return Verdict.INSUFFICIENT_DATA.value if gated else Verdict.INCONCLUSIVE.value


def next_deadline(scene: Scene, draft: Draft) -> float | None:
    """When a deadline or a pause has to be looked at again."""
    rollout = draft.active
    if rollout is None:
        return None
    wave = current_wave(rollout)
    baked = bakes_until(scene.spec, rollout)
    times = [baked] if baked is not None else []
    if rollout.stopped_at is None:
        times += [] if rollout.held or draft.is_first else [_due(scene, rollout)]
        if wave is not None and wave.steps[-1].observed_at is None:
            times.append(_progress_due(scene, rollout, wave))
    if wave is not None and not is_full(scene, draft, wave):
        left = pause_left(scene, draft, rollout, wave)
        if 0 < left < math.inf:
            times.append(scene.now + left)
    return min((at for at in times if at > scene.now), default=None)
