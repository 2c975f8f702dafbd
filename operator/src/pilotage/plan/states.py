"""The conditions of a ModelDeployment, each a small question with a reason and a sentence as its answer.

States, never measurements: a condition changes when the situation does. What cannot be seen now keeps the answer it
had. A condition that turns bad is also an event.
"""

from __future__ import annotations

from collections.abc import Iterable

from pilotage.api.conditions import find, set_conditions
from pilotage.api.reasons import ConditionType as Kind
from pilotage.api.reasons import Reason
from pilotage.api.types import Condition, Phase
from pilotage.evidence.reading import Unavailable
from pilotage.plan.bake import not_baked
from pilotage.plan.gated import gated, with_news
from pilotage.plan.observed import Fresh, NotSynced
from pilotage.plan.places import Place
from pilotage.plan.progress import baseline_for, is_watched
from pilotage.plan.scene import Draft, Obstacle, Scene
from pilotage.plan.waiting import evidence_problem
from pilotage.plan.waves import wants

Answer = tuple[str, Reason, str]
"""Status, reason, message."""

_TRUE, _FALSE, _UNKNOWN = "True", "False", "Unknown"
_BAD: dict[Kind, str] = {
    Kind.SPEC_VALID: _FALSE,
    Kind.MEMBERS_REACHABLE: _FALSE,
    Kind.METRICS_AVAILABLE: _FALSE,
    Kind.AVAILABLE: _FALSE,
    Kind.ROLLBACK_INCOMPLETE: _TRUE,
}
_TROUBLE = (
    Reason.PROGRESS_DEADLINE_EXCEEDED,
    Reason.NO_CLUSTER_MATCHES,
    Reason.NAME_TAKEN,
    Reason.UNCLAIMED,
    Reason.GATEWAY_MISSING,
    Reason.APPLY_REFUSED,
    Reason.FORBIDDEN,
    Reason.ROUTE_NOT_ACCEPTED,
    Reason.BUNDLE_UNAVAILABLE,
    Reason.BUNDLE_REFUSED,
    Reason.IMAGE_UNAVAILABLE,
    Reason.MEMBER_SECRET_MISSING,
    Reason.PODS_FAILING,
    Reason.COUNTERS_MISSING,
)


def with_conditions(scene: Scene, draft: Draft, phase: Phase, why: Obstacle) -> Draft:
    """All conditions, and an event for each that has turned bad or is bad for another reason than before."""
    answers: dict[Kind, Answer] = {
        Kind.AVAILABLE: _available(scene, draft),
        Kind.PROMOTED: _promoted(scene, draft),
        Kind.PROGRESSING: _progressing(draft, phase, why),
        Kind.SPEC_VALID: _spec_valid(scene, draft),
        Kind.MEMBERS_REACHABLE: _members_reachable(scene, draft),
        Kind.METRICS_AVAILABLE: _metrics_available(scene, draft),
        Kind.GATED: gated(scene, draft),
        Kind.ROLLBACK_INCOMPLETE: _rollback_incomplete(scene, draft),
    }
    draft = with_news(scene, draft)
    before = draft.status.conditions
    after = set_conditions(before, _conditions(scene, answers))
    for kind, (status, reason, message) in answers.items():
        known = find(before, kind)
        if known is not None and (known.status, known.reason) == (status, reason.value):
            continue
        bad = _BAD.get(kind) == status and not (kind is Kind.AVAILABLE and draft.is_first)
        if (bad and reason is not Reason.ROLLING_BACK) or (kind is Kind.PROGRESSING and reason in _TROUBLE):
            draft = draft.saying(reason, message, warning=True)
    return draft.with_status(conditions=after)


def _conditions(scene: Scene, answers: dict[Kind, Answer]) -> Iterable[Condition]:
    for kind, (status, reason, message) in answers.items():
        yield Condition(
            type=kind.value,
            status=status,
            reason=reason.value,
            message=message[:1000],
            observed_generation=scene.metadata.generation,
            last_transition_time=scene.now,
        )


def _as_before(draft: Draft, kind: Kind, otherwise: Answer) -> Answer:
    known = find(draft.status.conditions, kind)
    return otherwise if known is None else (known.status, Reason(known.reason), known.message)


def _available(scene: Scene, draft: Draft) -> Answer:
    asked = wants(scene, draft)
    seen = [name for name in asked if name in scene.sights]
    if draft.is_first and (not asked or set(asked) != set(scene.placed)):
        return _FALSE, Reason.FIRST_DEPLOYMENT, "not every cluster serves yet: this is the first deployment"
    if not seen:
        return _as_before(draft, Kind.AVAILABLE, (_UNKNOWN, Reason.CONNECTING, "no cluster can be seen yet"))
    coming = {state.name for state in draft.status.clusters if state.state in (Place.WAITING, Place.STARTING)}
    serving = {name: (asked[name].base, asked[name].canary) for name in seen if draft.is_first or name not in coming}
    dark = [name for name, arms in serving.items() if not any(scene.sights[name].ready(arm) for arm in arms)]
    if dark:
        reason = Reason.FIRST_DEPLOYMENT if draft.is_first else Reason.PODS_UNAVAILABLE
        return _FALSE, reason, f"no ready pod in {', '.join(dark)}"
    return _TRUE, Reason.SERVING, "ready pods serve in every cluster that can be seen"


def _promoted(scene: Scene, draft: Draft) -> Answer:
    owed = [state.name for state in draft.status.clusters if state.state in (Place.ROLLING_BACK, Place.STUCK)]
    if scene.desired == draft.status.stable_revision and draft.active is None and not owed:
        return _TRUE, Reason.PROMOTED, f"{scene.desired} is stable"
    rollout = draft.rollout
    if draft.active is not None and draft.active.full_at is not None:
        baking = not_baked(scene, draft, draft.active)
        return _FALSE, Reason.BAKING, baking.message if baking else f"{scene.desired} has been baked"
    if owed and draft.active is None:
        return _FALSE, Reason.ROLLING_BACK, f"{', '.join(owed)} on the way back to stable"
    if rollout is not None and rollout.outcome is not None and rollout.revision == draft.status.latched_revision:
        return _FALSE, Reason(rollout.reason), f"{rollout.name} ended {rollout.outcome}"
    return _FALSE, Reason.ROLLOUT_STARTED, f"{scene.desired} is on its way"


def _progressing(draft: Draft, phase: Phase, why: Obstacle) -> Answer:
    moving = phase is Phase.PROGRESSING and why.reason not in (*_TROUBLE, Reason.WAITING_FOR_MEMBER)
    return (_TRUE if moving else _FALSE), why.reason, why.message


def _spec_valid(scene: Scene, draft: Draft) -> Answer:
    if scene.problems:
        return _FALSE, Reason.INVALID_SPEC, "; ".join(scene.problems)
    problem = evidence_problem(scene, draft)
    if problem is not None and problem.reason is Reason.UNKNOWN_CLASS:
        return _FALSE, problem.reason, problem.message
    before = find(draft.status.conditions, Kind.SPEC_VALID)
    same_spec = before is not None and before.observed_generation == scene.metadata.generation
    if before is not None and same_spec and before.reason == Reason.UNKNOWN_CLASS and baseline_for(scene, draft):
        return before.status, Reason.UNKNOWN_CLASS, before.message  # the baselines that said so are being asked again
    return _TRUE, Reason.AS_EXPECTED, "the spec can be used"


def _members_reachable(scene: Scene, draft: Draft) -> Answer:
    links = {name: scene.observed.clusters[name].link for name in scene.placed}
    lost = [name for name, link in links.items() if not isinstance(link, (Fresh, NotSynced))]
    if lost:
        said = "; ".join(scene.obstacles[name].message for name in lost)
        return _FALSE, scene.obstacles[lost[0]].reason, said
    if not scene.placed:
        return _UNKNOWN, Reason.NO_CLUSTER_MATCHES, "no cluster is placed"
    if any(isinstance(link, NotSynced) for link in links.values()):
        waiting = (_UNKNOWN, Reason.CONNECTING, "members are being connected")
        return _as_before(draft, Kind.MEMBERS_REACHABLE, waiting)
    return _TRUE, Reason.AS_EXPECTED, "every placed cluster answers"


def _metrics_available(scene: Scene, draft: Draft) -> Answer:
    rollout = draft.active
    idle = (_UNKNOWN, Reason.NO_QUERY_DUE, "no rollout needs metrics now")
    if rollout is None or not is_watched(scene, draft, rollout):
        return idle
    problem = evidence_problem(scene, draft)
    if draft.trouble:
        return _FALSE, Reason.COUNTERS_INCONSISTENT, draft.trouble
    if problem is not None and problem.reason is Reason.COUNTERS_MISSING:
        return _FALSE, problem.reason, problem.message
    answers = [
        reading
        for reading in scene.observed.readings
        if reading.query.asked_at >= rollout.started_at and reading.query.cluster in scene.placed
    ]
    silent = {r.query.cluster: r for r in answers if isinstance(r, Unavailable)}
    if silent:
        said = "; ".join(f"{name}: {silent[name].message}" for name in sorted(silent))
        first = silent[min(silent)].reason
        return _FALSE, Reason(first) if first in set(Reason) else Reason.PROMETHEUS_REFUSED, said
    if not answers:
        return _as_before(draft, Kind.METRICS_AVAILABLE, idle)
    return _TRUE, Reason.AS_EXPECTED, "every cluster asked has answered"


def _rollback_incomplete(scene: Scene, draft: Draft) -> Answer:
    stuck = [state.name for state in draft.status.clusters if state.state == Place.STUCK]
    if stuck:
        return (
            _TRUE,
            Reason.STABLE_UNAVAILABLE,
            f"no ready pod of stable in {', '.join(stuck)}: the canary goes on there",
        )
    owed = [state.name for state in draft.status.clusters if state.state == Place.ROLLING_BACK]
    unseen = [name for name in owed if name not in scene.sights]
    if unseen:
        return _TRUE, Reason.CLUSTERS_PENDING, f"{', '.join(unseen)} cannot be seen and gets stable on its return"
    if owed:
        return _TRUE, Reason.ROLLING_BACK, f"{', '.join(owed)} on the way back to stable"
    return _FALSE, Reason.AS_EXPECTED, "every cluster is where it should be"
