"""`decide(observed, now) -> Decision`: the whole rollout semantics, as an ordered list of small rules.

Rules run from top to bottom, again and again, until none has anything to change; so a decision on its own written
output changes nothing (fixpoint), and a crash between any two writes replays to the same end. Each rule is one
transition of the written record; intents, queries and everything shown derive from the record afterwards. Pure: no
I/O, no clock, no randomness, no logging. Golden traces of every rule stand in tests/plan/traces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pilotage.api.reasons import Reason
from pilotage.api.times import seconds
from pilotage.api.types import Outcome, RevisionStatus
from pilotage.gate import Outcome as Verdict
from pilotage.plan import bake, deadlines, progress, rollouts, verbs
from pilotage.plan.cleanup import forgotten_revisions, say_goodbye
from pilotage.plan.decision import Decision
from pilotage.plan.intents import intents
from pilotage.plan.looks import evidence_of, look
from pilotage.plan.observed import Observed
from pilotage.plan.places import cluster_states, with_leavers
from pilotage.plan.questions import questions
from pilotage.plan.scene import Draft, Scene, set_the_scene
from pilotage.plan.states import with_conditions
from pilotage.plan.summary import situation, with_columns, with_pauses
from pilotage.plan.unusable import leave_it

Rule = Callable[[Scene, Draft], Draft]

_ROUNDS = 50
"""Far more than any chain of transitions that one moment can cause; more is a defect."""


def take_readings(scene: Scene, draft: Draft) -> Draft:
    """Every wave that carries the revision looks at its evidence, those that have passed too."""
    rollout = draft.active
    if rollout is None or not progress.is_watched(scene, draft, rollout):
        return draft
    for wave in rollout.waves:
        draft = look(bake.as_watched(scene, draft), draft, wave)
    return draft


def fail(scene: Scene, draft: Draft) -> Draft:
    """One wave has failed, or the waves' shares of fail evidence together reach 1/beta."""
    rollout = draft.active
    if rollout is None or not progress.is_watched(scene, draft, rollout):
        return draft
    entries = [entry for wave in rollout.waves if (entry := evidence_of(draft, rollout, wave.name)) is not None]
    failed = next((entry for entry in entries if entry.verdict == Verdict.FAIL), None)
    if failed is None and sum(entry.fail_weight for entry in entries) < 1 / scene.spec.analysis.beta:
        return draft
    if failed is not None:
        message = f"wave {failed.wave} ({', '.join(failed.clusters)}): {failed.reason}"
    else:
        message = f"the fail evidence of waves {', '.join(entry.wave for entry in entries)} together reached 1/beta"
    if draft.is_first:
        message += "; nothing is stable to return to, so it goes on serving"
    return rollouts.end(scene, draft, Outcome.ROLLED_BACK, Reason.GATE_FAILED, message)


RULES: tuple[Rule, ...] = (
    rollouts.finish_recorded_end,  # a crash fell between the two writes of an end
    rollouts.follow_spec,  # the target is what the spec names
    rollouts.restore_record,  # somebody deleted the revision's record
    rollouts.supersede,  # another spec than the rollout's
    verbs.abort,  # a person's word comes before what the machine would do
    verbs.promote_full,
    verbs.promote_step,
    verbs.retry,
    verbs.retry_fresh,
    rollouts.start,  # neither stable nor latched
    deadlines.stand_still,  # paused, a member out of reach
    take_readings,  # labels into e-values
    fail,  # the only thing that comes before every deadline
    deadlines.expire,  # back to stable, or held
    progress.start_wave,  # membership frozen, baselines in
    progress.restart_evidence,  # a cluster left the wave on trial
    progress.observe,  # the weight is in effect
    progress.advance,  # the step ends
    bake.start_bake,  # every wave has passed
    bake.open_evidence,  # what a first deployment is watched by
    rollouts.promote,  # and the bake, if there is one, is over
    with_leavers,  # what left the placement owes a clean-up
)


def decide(observed: Observed, now: float) -> Decision:
    """What should be true, given what is observed at `now` (unix seconds)."""
    now = seconds(now)
    deployment = observed.deployment
    if deployment.metadata.deletion_timestamp is not None:
        return say_goodbye(observed, now)
    if deployment.spec is None:
        return leave_it(observed, now)
    scene = set_the_scene(observed, deployment.spec, now)
    before = Draft(status=deployment.status, revisions=observed.revisions)
    draft = _settle(scene, before)
    draft = _shown(scene, draft)
    return _decision(scene, before, draft)


def _settle(scene: Scene, draft: Draft) -> Draft:
    for _ in range(_ROUNDS):
        after = draft
        for rule in RULES:
            after = rule(scene, after)
        if after == draft:
            return after
        draft = after
    raise AssertionError(f"the rules do not come to rest: {draft.status}")


def _shown(scene: Scene, draft: Draft) -> Draft:
    draft = draft.with_status(observed_generation=scene.metadata.generation, clusters=cluster_states(scene, draft))
    draft = with_columns(scene, with_pauses(scene, draft))
    phase, why = situation(scene, draft)
    draft = with_conditions(scene, draft, phase, why)
    return draft.with_status(phase=phase, message=why.message[:1000])


def _decision(scene: Scene, before: Draft, draft: Draft) -> Decision:
    due, next_question = questions(scene, draft)
    times = [at for at in (next_question, deadlines.next_deadline(scene, draft)) if at is not None]
    forgotten = forgotten_revisions(scene, draft)
    return Decision(
        status=draft.status,
        create=tuple(replace(draft.revisions[name], status=RevisionStatus()) for name in draft.created),
        revision_status={
            name: revision.status
            for name, revision in draft.revisions.items()
            if _status_before(before, name) != revision.status and name not in forgotten
        },
        remove_revisions=forgotten,
        intents=intents(scene, draft),
        events=draft.events,
        queries=due,
        requeue_after_s=max(0.05, seconds(min(times) - scene.now)) if times else None,
    )


def _status_before(before: Draft, name: str) -> RevisionStatus:
    revision = before.revisions.get(name)
    return revision.status if revision else RevisionStatus()
