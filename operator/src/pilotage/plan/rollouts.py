"""A rollout begins and ends here, and nowhere else: attempt numbers, latch, history, what a retry carries over.

The revision's record is written before the deployment's, so an end or a beginning that only the revision remembers is
finished from there. Rules map a draft to the next; which rule runs when is `plan.decide`.
"""

from __future__ import annotations

from dataclasses import replace

from pilotage.api.reasons import Reason
from pilotage.api.types import (
    GateResult,
    Json,
    Metadata,
    ModelRevision,
    Outcome,
    RevisionStatus,
    RolloutHistory,
    RolloutRecord,
)
from pilotage.plan.bake import not_baked
from pilotage.plan.facts import why_ended
from pilotage.plan.placement import waves_to_come
from pilotage.plan.scene import Draft, Scene
from pilotage.plan.waves import is_full_everywhere, settled_on, taken_by

HISTORY_LIMIT = 10
_FOR_EVIDENCE = (Reason.GATE_FAILED, Reason.INCONCLUSIVE, Reason.INSUFFICIENT_DATA)
_LATCHING = (Outcome.ROLLED_BACK, Outcome.ABORTED, Outcome.EXPIRED)


def follow_spec(scene: Scene, draft: Draft) -> Draft:
    """The target is what the spec names; another target than the latched one lifts the latch."""
    if scene.problems:
        return draft
    if scene.desired not in draft.revisions:
        revision = ModelRevision(
            metadata=Metadata(
                name=scene.desired,
                namespace=scene.metadata.namespace,
                creation_timestamp=scene.now,
            ),
            model=scene.spec.model,
            server=scene.spec.server,
        )
        draft = replace(
            draft,
            revisions={**draft.revisions, scene.desired: revision},
            created=(*draft.created, scene.desired),
        )
    latched = draft.status.latched_revision
    return draft.with_status(
        target_revision=scene.desired, latched_revision=latched if latched == scene.desired else None
    )


def finish_recorded_end(scene: Scene, draft: Draft) -> Draft:
    """A crash fell between the two writes of an end: the revision says how it ended."""
    rollout = draft.active
    revision = draft.revisions.get(rollout.revision) if rollout else None
    if rollout is None or revision is None or revision.status.attempt != rollout.attempt:
        return draft
    if revision.status.outcome is None or not revision.status.history:
        return draft
    entry = revision.status.history[-1]
    return _ended(draft, entry.outcome, Reason(entry.reason), entry.message, entry.decided_at)


def restore_record(scene: Scene, draft: Draft) -> Draft:
    """The revision's record was lost (deleted by hand, made anew by `follow_spec`): its evidence begins again."""
    rollout = draft.active
    revision = draft.revisions.get(rollout.revision) if rollout else None
    if rollout is None or revision is None or revision.status.attempt == rollout.attempt:
        return draft
    history = revision.status.history
    return draft.with_revision(rollout.revision, RevisionStatus(attempt=rollout.attempt, history=history))


def supersede(scene: Scene, draft: Draft) -> Draft:
    """The spec changed under a rollout: another revision, or another plan for the same one."""
    rollout = draft.active
    if rollout is None or scene.problems:
        return draft
    if rollout.revision == scene.desired and rollout.plan_hash == scene.plan_hash:
        return draft
    if scene.desired == draft.status.stable_revision:
        message = f"the spec names the stable revision {scene.desired} again"
        return end(scene, draft, Outcome.SUPERSEDED, Reason.RETURNED_TO_STABLE, message)
    if scene.desired == rollout.revision:
        message = "steps, gates, labelDelay, alpha, beta or minSamples changed; the revision starts anew under them"
    else:
        message = f"the spec names {scene.desired} now"
    return end(scene, draft, Outcome.SUPERSEDED, Reason.SUPERSEDED, message)


def start(scene: Scene, draft: Draft) -> Draft:
    """A revision that is neither stable nor latched gets a rollout, once everyone is back from the last one."""
    desired = scene.desired
    if draft.active or scene.problems or scene.spec.paused or not scene.placed:
        return draft
    if desired in (draft.status.stable_revision, draft.status.latched_revision) or returning(scene, draft):
        return draft
    fresh = draft.rollout is not None and draft.status.verbs.get("retry-fresh") == draft.rollout.name
    before = draft.revisions[desired].status
    begun = before.outcome is None and before.attempt > 0 and not _is_on_record(draft, desired, before.attempt)
    attempt = before.attempt if begun else before.attempt + 1
    rollout = RolloutRecord(
        revision=desired,
        attempt=attempt,
        plan_hash=scene.plan_hash,
        started_at=scene.now,
        planned_waves=max(1, len(waves_to_come(scene.spec.rollout.waves, {}, scene.placed))),
        fresh=fresh,
    )
    status = RevisionStatus(attempt=attempt, carried=None if fresh else before.carried, history=before.history)
    draft = draft.with_status(rollout=rollout).with_revision(desired, status)
    if draft.is_first:
        return draft.saying(
            Reason.FIRST_DEPLOYMENT, f"Rollout {rollout.name} began: nothing is stable yet, so readiness alone decides."
        )
    anew = ", its evidence anew" if fresh else ""
    return draft.saying(Reason.ROLLOUT_STARTED, f"Rollout {rollout.name} began{anew}: {scene.spec.model.bundle}.")


def _is_on_record(draft: Draft, revision: str, attempt: int) -> bool:
    rollout = draft.rollout
    return rollout is not None and (rollout.revision, rollout.attempt) == (revision, attempt)


def returning(scene: Scene, draft: Draft) -> tuple[str, ...]:
    """Clusters in sight that took the last revision and are not back on stable yet."""
    rollout, stable = draft.rollout, draft.status.stable_revision
    if rollout is None or stable is None or rollout.outcome in (None, Outcome.PROMOTED):
        return ()
    return tuple(
        cluster
        for cluster in taken_by(rollout)
        if cluster in scene.placed and cluster in scene.sights and not settled_on(scene, cluster, stable)
    )


def promote(scene: Scene, draft: Draft) -> Draft:
    """Every wave has passed, no cluster is left and the bake is over: the revision is stable everywhere."""
    rollout = draft.active
    if rollout is None or not is_full_everywhere(scene, rollout) or not_baked(scene, draft, rollout) is not None:
        return draft
    message = f"{rollout.revision} is stable in {', '.join(c for c in taken_by(rollout) if c in scene.placed)}"
    if rollout.promote_full:
        message += "; ungated, by promote-full"
    return end(scene, draft, Outcome.PROMOTED, Reason.PROMOTED, message)


def end(scene: Scene, draft: Draft, outcome: Outcome, reason: Reason, message: str) -> Draft:
    """The rollout under way ends: outcome, latch, history, and what a retry may go on with."""
    rollout = draft.active
    assert rollout is not None
    revision = draft.revisions.get(rollout.revision)
    if revision is not None and revision.status.attempt == rollout.attempt and revision.status.outcome is None:
        draft = draft.with_revision(rollout.revision, _closed(scene, draft, rollout, outcome, reason, message))
    draft = _ended(draft, outcome, reason, message, scene.now)
    note = f"Rollout {rollout.name} ended {outcome}: {message}."
    if reason in _FOR_EVIDENCE and (counted := why_ended(draft, rollout)):
        note += f" Counted in {counted}."
    return draft.saying(reason, note, warning=outcome in _LATCHING)


def _ended(draft: Draft, outcome: Outcome, reason: Reason, message: str, at: float) -> Draft:
    draft = draft.with_rollout(
        outcome=outcome, reason=reason.value, message=message, decided_at=at, held=False, stopped_at=None
    )
    assert draft.rollout is not None
    if outcome is Outcome.PROMOTED and draft.status.stable_revision != draft.rollout.revision:
        return draft.with_status(stable_revision=draft.rollout.revision, previous_revision=draft.status.stable_revision)
    return draft.with_status(latched_revision=draft.rollout.revision) if outcome in _LATCHING else draft


def _closed(
    scene: Scene, draft: Draft, rollout: RolloutRecord, outcome: Outcome, reason: Reason, message: str
) -> RevisionStatus:
    status = draft.revisions[rollout.revision].status
    entry = RolloutHistory(
        attempt=rollout.attempt,
        outcome=outcome,
        reason=reason.value,
        message=message,
        clusters=taken_by(rollout),
        gates=_last_judged(scene, status),
        started_at=rollout.started_at,
        decided_at=scene.now,
        ungated=rollout.promote_full,
        fresh=rollout.fresh,
    )
    return replace(
        status,
        outcome=outcome,
        clusters=taken_by(rollout),
        carried=_carried(draft, status, outcome),
        history=(*status.history, entry)[-HISTORY_LIMIT:],
    )


def _last_judged(scene: Scene, status: RevisionStatus) -> tuple[GateResult, ...]:
    if not status.evidence:
        return not_applicable(scene)
    return status.evidence[-1].gates or _every_gate(scene, "InsufficientData")


def not_applicable(scene: Scene) -> tuple[GateResult, ...]:
    """What the gates say of a rollout that nothing was compared in."""
    return _every_gate(scene, "NotApplicable")


def _every_gate(scene: Scene, verdict: str) -> tuple[GateResult, ...]:
    return tuple(GateResult(name=str(gate.get("name", "")), verdict=verdict) for gate in scene.spec.gates)


def _carried(draft: Draft, status: RevisionStatus, outcome: Outcome) -> dict[str, Json] | None:
    """Gate states by wave, those of this attempt over earlier ones; worthless against another stable revision."""
    stable = draft.status.stable_revision or ""
    before = status.carried if status.carried and status.carried.get("stable") == stable else {}
    waves = {**(before or {}).get("waves", {}), **{entry.wave: dict(entry.state) for entry in status.evidence}}
    return {"stable": stable, "waves": waves} if waves and outcome is not Outcome.PROMOTED else None
