"""How a rollout goes forward: waves start, weights are seen, steps end, waves pass.

Each rule is one transition and returns the draft unchanged when it does not apply; `plan.waiting` says why, for people.
Rules never look at the clock but through `scene.now`, and never at a member but through `plan.waves`.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pilotage.api.reasons import Reason
from pilotage.api.types import Require, RolloutRecord, StepRecord, WaveEvidence, WaveRecord
from pilotage.evidence.reading import BlockQuery, Unavailable
from pilotage.gate import Outcome
from pilotage.plan.baselines import begin
from pilotage.plan.facts import passed
from pilotage.plan.looks import evidence_of, with_evidence
from pilotage.plan.outlook import cannot_be_proved
from pilotage.plan.scene import Draft, Obstacle, Scene
from pilotage.plan.waves import (
    current_wave,
    in_effect,
    is_full,
    members,
    next_wave,
    obstacle_in,
    settled_on,
    step_of,
)


def is_gated(scene: Scene, draft: Draft, rollout: RolloutRecord) -> bool:
    """Whether evidence decides in this rollout."""
    return scene.has_gates and not draft.is_first and not rollout.promote_full


def is_watched(scene: Scene, draft: Draft, rollout: RolloutRecord) -> bool:
    """Whether evidence can end this rollout now: where it decides, and the floors of a first deployment that bakes."""
    floors_act = draft.is_first and rollout.full_at is not None and not rollout.promote_full and scene.has_floors
    return floors_act or is_gated(scene, draft, rollout)


def ready_to_start(scene: Scene, draft: Draft) -> tuple[str, tuple[str, ...]] | None:
    """The next wave, if nothing but its baselines can hold it: no pause, every cluster in sight and on stable alone."""
    rollout = draft.active
    if rollout is None or scene.spec.paused or scene.problems or current_wave(rollout) is not None:
        return None
    upcoming = next_wave(scene, rollout)
    if upcoming is None or obstacle_in(scene, upcoming[1]) is not None:
        return None
    stable = draft.status.stable_revision
    if stable is not None and not all(settled_on(scene, cluster, stable) for cluster in upcoming[1]):
        return None
    return upcoming


def baseline_for(scene: Scene, draft: Draft) -> tuple[str, tuple[str, ...]] | None:
    """The wave whose evidence has to begin: the next one, one that lost a cluster; of a first bake, any without."""
    rollout = draft.active
    if rollout is None or not is_watched(scene, draft, rollout):
        return None
    if draft.is_first:
        unwatched = [wave for wave in rollout.waves if evidence_of(draft, rollout, wave.name) is None]
        return next(((wave.name, there) for wave in unwatched if (there := members(scene, wave))), None)
    wave = current_wave(rollout)
    if wave is None:
        return ready_to_start(scene, draft)
    if is_full(scene, draft, wave) or not members(scene, wave):
        return None
    entry = evidence_of(draft, rollout, wave.name)
    if entry is not None and set(entry.clusters) == set(members(scene, wave)):
        return None
    return wave.name, members(scene, wave)


def start_wave(scene: Scene, draft: Draft) -> Draft:
    """The next wave takes the revision: membership frozen, first weight asked for, evidence begun."""
    rollout, upcoming = draft.active, ready_to_start(scene, draft)
    if rollout is None or upcoming is None:
        return draft
    name, clusters = upcoming
    if is_gated(scene, draft, rollout):
        entry = begin(scene, draft, rollout, name, clusters, step=0)
        if not isinstance(entry, WaveEvidence):
            return draft
        draft = _with_outlook(scene, with_evidence(draft, rollout, entry), rollout, name, clusters)
    straight = draft.is_first or rollout.promote_full
    record = StepRecord(
        weight=100 if straight else scene.steps[0].weight, started_at=scene.now, shifted_s=rollout.shifted_s
    )
    wave = WaveRecord(
        name=name,
        clusters=clusters,
        started_at=scene.now,
        steps=(record,),
        ungated=rollout.promote_full and not draft.is_first,
    )
    draft = draft.with_wave(wave)
    return draft.saying(Reason.WAVE_STARTED, f"Wave {name} ({', '.join(clusters)}) began at weight {record.weight}.")


def _with_outlook(scene: Scene, draft: Draft, rollout: RolloutRecord, wave: str, clusters: tuple[str, ...]) -> Draft:
    hopeless = cannot_be_proved(scene, rollout, wave, clusters)
    draft = replace(draft, unprovable=hopeless)
    return draft.saying(Reason.MARGIN_UNPROVABLE, f"{hopeless}.", warning=True) if hopeless else draft


def restart_evidence(scene: Scene, draft: Draft) -> Draft:
    """A cluster left the wave on trial: the evidence over the others starts anew, for the mix is another one."""
    rollout, lacking = draft.active, baseline_for(scene, draft)
    wave = current_wave(rollout) if rollout else None
    if rollout is None or lacking is None or wave is None:
        return draft
    entry = begin(scene, draft, rollout, wave.name, lacking[1], step=len(wave.steps) - 1)
    return with_evidence(draft, rollout, entry) if isinstance(entry, WaveEvidence) else draft


def observe(scene: Scene, draft: Draft) -> Draft:
    """The weight asked for last is in effect in every cluster of the wave."""
    rollout = draft.active
    wave = current_wave(rollout) if rollout else None
    if wave is not None and not members(scene, wave):
        return draft.with_wave(replace(wave, passed_at=scene.now))  # all its clusters left: nothing to wait for
    if wave is None or wave.steps[-1].observed_at is not None or not in_effect(scene, draft, wave):
        return draft
    seen = replace(wave.steps[-1], observed_at=scene.now)
    full = is_full(scene, draft, wave)
    draft = draft.with_wave(
        replace(wave, steps=(*wave.steps[:-1], seen), passed_at=scene.now if full else wave.passed_at)
    )
    where = ", ".join(members(scene, wave))
    if full:
        kept = f"; {100 - seen.weight} % stays on stable to compare with" if seen.weight < 100 else ""
        how = "fully" if kept else "alone"
        return draft.saying(Reason.WAVE_PASSED, f"Wave {wave.name} serves the revision {how} in {where}{kept}.")
    return draft.saying(Reason.STEP_OBSERVED, f"Weight {seen.weight} is in effect in {where}.")


def advance(scene: Scene, draft: Draft) -> Draft:
    """A step on trial ends: the next weight, or, after the last one, the wave's clusters take the revision fully."""
    rollout = draft.active
    wave = current_wave(rollout) if rollout else None
    if rollout is None or wave is None or scene.spec.paused or is_full(scene, draft, wave):
        return draft
    if rollout.promote_full:
        draft = draft.with_wave(replace(_with_step(scene, rollout, wave, 100), ungated=True))
        return draft.saying(Reason.STEP_STARTED, f"Wave {wave.name} goes to weight 100, ungated.", warning=True)
    if held_back(scene, draft, rollout, wave) is not None:
        return draft
    index, step, _ = step_of(scene, wave)
    if index + 1 < len(scene.steps):
        weight = scene.steps[index + 1].weight
        draft = draft.with_wave(_with_step(scene, rollout, wave, weight))
        done = f"Step {index + 1} of wave {wave.name} (weight {step.weight}) is done"
        return draft.saying(Reason.STEP_COMPLETED, f"{done}; weight {weight} is next.")
    draft = draft.with_wave(_with_step(scene, rollout, wave, scene.full_weight))
    entry = evidence_of(draft, rollout, wave.name)
    if entry is None:
        return draft.saying(Reason.STEP_COMPLETED, f"Wave {wave.name}: its steps are done; it has no gates.")
    return draft.saying(Reason.GATE_PASSED, f"Wave {wave.name} ({', '.join(entry.clusters)}): {passed(entry)}.")


def _with_step(scene: Scene, rollout: RolloutRecord, wave: WaveRecord, weight: int) -> WaveRecord:
    record = StepRecord(weight=weight, started_at=scene.now, shifted_s=rollout.shifted_s)
    return replace(wave, steps=(*wave.steps, record))


# ----------------------------------------------------------------------------------------------- what holds a step back


def held_back(scene: Scene, draft: Draft, rollout: RolloutRecord, wave: WaveRecord) -> Obstacle | None:
    """Why the step on trial does not end yet; None when it may. The order is the order in which it is told."""
    index, _, record = step_of(scene, wave)
    if (obstacle := obstacle_in(scene, members(scene, wave))) is not None:
        return Obstacle(reason=Reason.WAITING_FOR_MEMBER, message=obstacle.message)
    if record.observed_at is None:
        return Obstacle(reason=Reason.WAITING_FOR_WEIGHT, message=f"weight {record.weight} is not in effect yet")
    waits_for_person = pause_left(scene, draft, rollout, wave) == math.inf
    if is_gated(scene, draft, rollout):
        passed, obstacle = _evidence(scene, draft, rollout, wave, index)
        if obstacle is not None:
            return obstacle
        if passed and not waits_for_person:
            return None
    elif rollout.held:
        return Obstacle(reason=Reason.HELD, message=f"`pilotage promote {scene.metadata.name} --full` goes on")
    if pause_left(scene, draft, rollout, wave) > 0:
        how = (
            f"`pilotage promote {scene.metadata.name}` ends its pause" if waits_for_person else "its pause is not over"
        )
        return Obstacle(reason=Reason.STEP_PAUSED, message=f"step {index + 1} of wave {wave.name}: {how}")
    return None


def _evidence(
    scene: Scene, draft: Draft, rollout: RolloutRecord, wave: WaveRecord, index: int
) -> tuple[bool, Obstacle | None]:
    """Whether every gate passes on evidence of this step, and what is missing to end it."""
    step = scene.steps[index]
    entry = evidence_of(draft, rollout, wave.name)
    if entry is None or set(entry.clusters) != set(members(scene, wave)):
        return False, Obstacle(reason=Reason.WAITING_FOR_BASELINE, message=f"wave {wave.name} waits for its baselines")
    if _unanswered(scene, rollout, wave):
        return False, Obstacle(reason=Reason.WAITING_FOR_EVIDENCE, message=f"wave {wave.name} waits for its metrics")
    of_this_step = entry.step == index
    passed = of_this_step and entry.verdict == Outcome.PASS
    needs_pass = index + 1 == len(scene.steps) or step.require is Require.PASS
    if passed or (of_this_step and entry.step_ready and not needs_pass and not rollout.held):
        return passed, None
    if entry.step_ready and of_this_step and step.require is Require.PASS:
        missing = ", ".join(_undecided(scene, entry))
        message = f"step {index + 1} of wave {wave.name} requires a Pass of every blocking gate; undecided: {missing}"
        return False, Obstacle(reason=Reason.WAITING_FOR_PASS, message=message)
    if entry.step_ready and of_this_step:
        return False, Obstacle(reason=Reason.WAITING_FOR_EVIDENCE, message=f"wave {wave.name}: the gates are undecided")
    if not of_this_step:
        message = f"step {index + 1} of wave {wave.name} counts once the labels of the weight before have matured"
        return False, Obstacle(reason=Reason.WAITING_FOR_LABELS, message=message)
    return False, Obstacle(
        reason=Reason.WAITING_FOR_LABELS,
        message=f"step {index + 1} of wave {wave.name} waits for {scene.spec.analysis.min_samples} labels per gate",
    )


def _undecided(scene: Scene, entry: WaveEvidence) -> list[str]:
    needed = {gate.name for gate in scene.analysis.gates if gate.needed_for_pass} if scene.analysis else set()
    return [gate.name for gate in entry.gates if gate.name in needed and gate.verdict != Outcome.PASS]


def _unanswered(scene: Scene, rollout: RolloutRecord, wave: WaveRecord) -> bool:
    """The last question about some cluster of the wave got no answer: what we have may be stale."""
    return any(
        isinstance(reading, Unavailable)
        and isinstance(reading.query, BlockQuery)
        and (reading.query.wave, reading.query.canary) == (wave.name, rollout.revision)
        and reading.query.cluster in scene.placed
        and reading.query.asked_at >= wave.started_at
        for reading in scene.observed.readings
    )


def pause_left(scene: Scene, draft: Draft, rollout: RolloutRecord, wave: WaveRecord) -> float:
    """Seconds of the step's pause that are left; inf while it waits for a person, 0 when there is none."""
    index, step, record = step_of(scene, wave)
    if step.pause_s is None or record.observed_at is None:
        return 0.0
    if draft.status.verbs.get("promote") == f"{rollout.name}/{wave.name}/{index}":
        return 0.0
    return max(0.0, record.observed_at + step.pause_s - scene.now)
