"""The condition `Gated`: whether evidence decides in this rollout, and what its guarantee rests on and does not hold.

What the gate finds broken (labels late, arms that are not alike, …) withholds a Pass and is told here, with one event
when it begins. A margin that cannot be proved by the deadline is told and blocks nothing. The message keeps the figures
it began with: a condition is a state; the figures of now are in the ModelRevision.
"""

from __future__ import annotations

import re

from pilotage.api.conditions import find
from pilotage.api.reasons import ConditionType, Reason
from pilotage.api.types import EvidenceCondition, RolloutRecord
from pilotage.plan.looks import evidence_of
from pilotage.plan.progress import is_gated
from pilotage.plan.scene import Draft, Scene

_FIGURES = re.compile(r"\d+(\.\d+)?")
_TRUE, _FALSE = "True", "False"


def gated(scene: Scene, draft: Draft) -> tuple[str, Reason, str]:
    """Status, reason and message."""
    rollout = draft.rollout
    if not scene.has_gates:
        return _FALSE, Reason.NO_GATES, "the spec has no gates: steps end on readiness and pauses alone"
    if rollout is not None and rollout.promote_full:
        return _FALSE, Reason.PROMOTED_FULL, f"{rollout.name} was promoted without its gates"
    stable, before = draft.status.stable_revision, draft.status.previous_revision
    if draft.is_first or (before is None and rollout is not None and rollout.revision == stable):
        return _FALSE, Reason.FIRST_DEPLOYMENT, "a first deployment has nothing to compare with"
    active = draft.active
    if active is not None and (found := broken(scene, draft, active)):
        return _FALSE, found[0][0], _kept(draft, "; ".join(text for _, text in found))
    if active is not None and (hopeless := _unprovable(draft)):
        return _TRUE, Reason.MARGIN_UNPROVABLE, hopeless
    return _TRUE, Reason.GATED, "every gate decides with counted labels"


def broken(scene: Scene, draft: Draft, rollout: RolloutRecord) -> tuple[tuple[Reason, str], ...]:
    """What does not hold in the rollout under way, gravest first, each with a sentence that names its place."""
    if not is_gated(scene, draft, rollout):
        return ()
    entries = [entry for wave in rollout.waves if (entry := evidence_of(draft, rollout, wave.name)) is not None]
    found = [(_reason(each), _said(entry.wave, each)) for entry in entries for each in entry.conditions]
    return tuple(sorted(dict.fromkeys(found), key=lambda pair: list(Reason).index(pair[0])))


def with_news(scene: Scene, draft: Draft) -> Draft:
    """An event for everything that is broken now and was not when the status was written last."""
    rollout = draft.active
    if rollout is None:
        return draft
    before = find(draft.status.conditions, ConditionType.GATED)
    said = _plain(before.message) if before is not None and before.status == _FALSE else ""
    for reason, text in broken(scene, draft, rollout):
        if _plain(text) not in said:
            draft = draft.saying(reason, f"{text}. Nothing passes meanwhile.", warning=True)
    return draft


def _reason(condition: EvidenceCondition) -> Reason:
    return Reason(condition.type) if condition.type in set(Reason) else Reason.EVIDENCE_UNSOUND


def _said(wave: str, condition: EvidenceCondition) -> str:
    where = f" in {condition.cluster}" if condition.cluster else ""
    return f"wave {wave}{where}: {condition.message.rstrip('.')}"


def _kept(draft: Draft, message: str) -> str:
    """The message as it stands, if it says the same but for its figures."""
    before = find(draft.status.conditions, ConditionType.GATED)
    same = before is not None and _plain(before.message) == _plain(message[:1000])
    return before.message if before is not None and same else message


def _unprovable(draft: Draft) -> str:
    """What was found when the wave under way began; the condition itself remembers it until the rollout ends."""
    if draft.unprovable is not None:
        return draft.unprovable
    before = find(draft.status.conditions, ConditionType.GATED)
    return before.message if before is not None and before.reason == Reason.MARGIN_UNPROVABLE else ""


def _plain(text: str) -> str:
    return _FIGURES.sub("#", text)
