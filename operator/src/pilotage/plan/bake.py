"""The bake: watching on after full promotion, the previous stable kept warm, until what was predicted has matured.

It begins when the revision serves fully in every cluster and lasts `bake.duration`, never less than `labelDelay`; the
stable pointer moves at its end. Its evidence is that of the waves: their fail sides go on, and no alpha is spent again.
With `bake.holdback` a share stays on stable from the moment a wave passes, so margins go on being tested too. In a
first deployment, in which nothing was compared, the floors act here and only here. Source: design.md §2, §5.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from pilotage.api.reasons import Reason
from pilotage.api.times import format_time, seconds
from pilotage.api.types import DeploymentSpec, RolloutRecord, WaveEvidence, WaveRecord
from pilotage.evidence.reading import Baseline, Block, BlockQuery, Counts
from pilotage.plan.baselines import begin
from pilotage.plan.looks import query_for, with_evidence
from pilotage.plan.progress import baseline_for, is_watched
from pilotage.plan.scene import Draft, Obstacle, Scene, floors_alone
from pilotage.plan.waves import in_effect, is_full_everywhere, members, obstacle_in

_MOST_STEPS = 40
"""What the status holds of one wave."""


def bakes_until(spec: DeploymentSpec, rollout: RolloutRecord) -> float | None:
    """Before when the bake under way does not end, in unix seconds; None while there is none."""
    bake = spec.rollout.bake
    if bake is None or rollout.full_at is None or rollout.outcome is not None:
        return None
    return seconds(rollout.full_at + max(bake.duration_s, spec.label_delay_s))


def start_bake(scene: Scene, draft: Draft) -> Draft:
    """The revision serves fully everywhere: the bake begins; anew when a cluster has joined and taken it too."""
    rollout = draft.active
    if rollout is None or scene.spec.rollout.bake is None or rollout.promote_full or not scene.placed:
        return draft
    full = is_full_everywhere(scene, rollout)
    if full == (rollout.full_at is not None):
        return draft
    if not full:
        note = f"Rollout {rollout.name} stops baking until the cluster that joined serves the revision too."
        return draft.with_rollout(full_at=None).saying(Reason.BAKING, note)
    for wave in rollout.waves:
        draft = draft.with_wave(_another_stretch(scene, wave))
    draft = draft.with_rollout(full_at=scene.now)
    assert draft.active is not None
    return draft.saying(Reason.BAKING, f"Rollout {rollout.name} is {_promise(scene, draft, draft.active)}.")


def _another_stretch(scene: Scene, wave: WaveRecord) -> WaveRecord:
    """A wave that has long been full counts from here on as another step: its fail side opens another start, for which
    what was good before is no excuse. One that has just become full has opened one by that.
    """
    if wave.passed_at == scene.now or len(wave.steps) >= _MOST_STEPS:
        return wave
    again = replace(wave.steps[-1], started_at=scene.now, observed_at=scene.now)
    return replace(wave, steps=(*wave.steps, again))


def open_evidence(scene: Scene, draft: Draft) -> Draft:
    """A first deployment that bakes: each wave's floors begin to be counted once its baselines are in."""
    rollout, lacking = draft.active, baseline_for(scene, draft)
    if rollout is None or lacking is None or not draft.is_first:
        return draft
    name, clusters = lacking
    entry = begin(as_watched(scene, draft), draft, rollout, name, clusters, step=0)
    return with_evidence(draft, rollout, entry) if isinstance(entry, WaveEvidence) else draft


def as_watched(scene: Scene, draft: Draft) -> Scene:
    """The scene with the gates that can act: all, or the floors alone where there is nothing to compare with.

    A first deployment's labels are counted from the moment it served, so none of them may also be its history.
    """
    if not draft.is_first or scene.analysis is None:
        return scene
    blank = tuple(
        replace(each, history=Counts(), parts=(), classes=tuple(sorted({*each.classes, *each.history.confusion})))
        if isinstance(each, Baseline)
        else each
        for each in scene.observed.readings
    )
    return replace(scene, analysis=floors_alone(scene.spec), observed=replace(scene.observed, readings=blank))


def not_baked(scene: Scene, draft: Draft, rollout: RolloutRecord) -> Obstacle | None:
    """Why the bake is not over yet; None when it is, or when none was asked for."""
    until = bakes_until(scene.spec, rollout)
    if rollout.promote_full or scene.spec.rollout.bake is None:
        return None
    if until is None:
        return Obstacle(reason=Reason.BAKING, message="the bake begins")
    if scene.spec.paused:
        return Obstacle(reason=Reason.PAUSED, message="spec.paused is true: the bake does not end")
    if scene.now < until:
        return Obstacle(reason=Reason.BAKING, message=_promise(scene, draft, rollout))
    if (obstacle := obstacle_in(scene, scene.placed)) is not None:
        return Obstacle(reason=Reason.WAITING_FOR_MEMBER, message=f"the bake does not end; {obstacle.message}")
    behind = [wave.name for wave in rollout.waves if not in_effect(scene, draft, wave)]
    if behind:
        message = f"the bake does not end: wave {', '.join(behind)} does not serve the revision fully now"
        return Obstacle(reason=Reason.WAITING_FOR_PODS, message=message)
    return _unwatched(scene, draft, rollout, until)


def _promise(scene: Scene, draft: Draft, rollout: RolloutRecord) -> str:
    until = bakes_until(scene.spec, rollout)
    assert until is not None
    kept = 100 - rollout.waves[-1].steps[-1].weight
    stable = draft.status.stable_revision
    share = f" with {kept} % of the traffic" if kept else ""
    warm = f"; {stable} is kept warm{share}" if stable else ""
    return f"baking until {format_time(float(ceil(until)))}{warm}"


def _unwatched(scene: Scene, draft: Draft, rollout: RolloutRecord, until: float) -> Obstacle | None:
    """What matured up to the end of the bake has not been looked at in some cluster."""
    if not is_watched(scene, draft, rollout):
        return None
    if draft.is_first and baseline_for(scene, draft) is not None:
        return Obstacle(
            reason=Reason.WAITING_FOR_BASELINE, message="the bake does not end before its floors are counted"
        )
    behind = []
    for wave in rollout.waves:
        for cluster in members(scene, wave):
            query = None if wave.ungated else query_for(scene, draft, wave, cluster)
            if query is None or query.window.opens >= until or not (query.stable or scene.has_floors):
                continue
            if not _has_answered(scene, query, until):
                behind.append(cluster)
    if not behind:
        return None
    message = f"the bake does not end before the last metrics of {', '.join(behind)} have been read"
    return Obstacle(reason=Reason.WAITING_FOR_EVIDENCE, message=message)


def _has_answered(scene: Scene, query: BlockQuery, until: float) -> bool:
    return any(
        isinstance(reading, Block)
        and reading.query.asked_at >= until
        and (reading.query.cluster, reading.query.wave, reading.query.canary, reading.query.window.step)
        == (query.cluster, query.wave, query.canary, query.window.step)
        for reading in scene.observed.readings
    )
