"""What people asked for with annotations: abort, promote, promote-full, retry, retry-fresh.

A verb names what it acts on, so a stale one does nothing. What was acted on is kept in `status.verbs`, which also makes
a promoted pause and a fresh retry survive a restart. Meaning and names are Argo's. Source: design.md §4.
"""

from __future__ import annotations

from pilotage.api import names
from pilotage.api.reasons import Reason
from pilotage.api.types import Outcome
from pilotage.plan.progress import pause_left
from pilotage.plan.rollouts import end
from pilotage.plan.scene import Draft, Scene
from pilotage.plan.waves import current_wave, is_full


def abort(scene: Scene, draft: Draft) -> Draft:
    """`pilotage.dev/abort: <rollout>`: back to stable, latched."""
    rollout, value = draft.active, scene.metadata.annotations.get(names.ABORT)
    if rollout is None or value != rollout.name:
        return draft
    draft = _acted_on(draft, "abort", value)
    return end(scene, draft, Outcome.ABORTED, Reason.ABORTED, "a person aborted it")


def promote_step(scene: Scene, draft: Draft) -> Draft:
    """`pilotage.dev/promote: <rollout>/<wave>/<step>`: the step's pause is over; no gate is skipped."""
    rollout, value = draft.active, scene.metadata.annotations.get(names.PROMOTE)
    wave = current_wave(rollout) if rollout else None
    if rollout is None or wave is None or value is None or is_full(scene, draft, wave):
        return draft
    index = len(wave.steps) - 1
    if value != f"{rollout.name}/{wave.name}/{index}" or pause_left(scene, draft, rollout, wave) == 0:
        return draft
    draft = _acted_on(draft, "promote", value)
    return draft.saying(Reason.PROMOTE_REQUESTED, f"The pause of step {index + 1} of wave {wave.name} was ended.")


def promote_full(scene: Scene, draft: Draft) -> Draft:
    """`pilotage.dev/promote-full: <rollout>`: on to the end without gates, pauses and steps, and it is on record."""
    rollout, value = draft.active, scene.metadata.annotations.get(names.PROMOTE_FULL)
    if rollout is None or value != rollout.name or rollout.promote_full:
        return draft
    draft = _acted_on(draft, "promote-full", value).with_rollout(promote_full=True, held=False)
    note = f"Rollout {rollout.name} goes on without its gates: a person asked for it, and their guarantee is void."
    return draft.saying(Reason.PROMOTED_FULL, note, warning=True)


def retry(scene: Scene, draft: Draft) -> Draft:
    """`pilotage.dev/retry: <rollout>`: lift the latch; the pass evidence goes on."""
    return _retried(scene, draft, "retry", scene.metadata.annotations.get(names.RETRY))


def retry_fresh(scene: Scene, draft: Draft) -> Draft:
    """`pilotage.dev/retry-fresh: <rollout>`: lift the latch; all evidence anew."""
    return _retried(scene, draft, "retry-fresh", scene.metadata.annotations.get(names.RETRY_FRESH))


def _retried(scene: Scene, draft: Draft, verb: str, value: str | None) -> Draft:
    rollout = draft.rollout
    if rollout is None or rollout.outcome is None or value != rollout.name:
        return draft
    if not rollout.revision == scene.desired == draft.status.latched_revision:
        return draft
    draft = _acted_on(draft, verb, value).with_status(latched_revision=None)
    return draft.saying(Reason.RETRIED, f"{rollout.revision} gets another attempt after {rollout.name}.")


def _acted_on(draft: Draft, verb: str, value: str) -> Draft:
    return draft.with_status(verbs={**draft.status.verbs, verb: value})
