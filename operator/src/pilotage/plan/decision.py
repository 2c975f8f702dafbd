"""What a decision says should be true: statuses to write first, then objects each member should have.

The shell carries it out in this order and stops at the first write that does not take: finalizer, revision creations,
revision statuses (evidence and verdicts), deployment status, events, intents, queries, revision deletions. Replaying
from any point leads to the same end because everything is derived from what was persisted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pilotage.api.types import DeploymentStatus, ModelRevision, RevisionStatus
from pilotage.evidence.reading import Query
from pilotage.plan.observed import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line in `kubectl describe`: `type` is Normal or Warning, `reason` from `api.reasons`, `note` a sentence."""

    type: str
    reason: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """Everything this ModelDeployment should have in one member, in apply order.

    `apply` is the complete set of objects to server-side apply. `delete` names objects of ours that the planner
    explicitly dropped, in deletion order (kind, name): the syncer deletes these and nothing else.
    """

    apply: tuple[Manifest, ...] = ()
    delete: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Output of `decide`; see the module's docstring for the order in which it is carried out.

    `create` are ModelRevisions that must exist before the status may name them. `revision_status` maps names to the
    whole new status (absent: unchanged). `status` is the deployment's whole new status. `remove_revisions` are names
    past the history limit. `finalizer` says whether ours must be on the object; a deleted object whose finalizer is
    to go has nothing left in any reachable member. `queries` are due now. `requeue_after_s` None: only an event
    wakes it.
    """

    status: DeploymentStatus
    create: tuple[ModelRevision, ...] = ()
    revision_status: Mapping[str, RevisionStatus] = field(default_factory=dict)
    remove_revisions: tuple[str, ...] = ()
    finalizer: bool = True
    intents: Mapping[str, Intent] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    queries: tuple[Query, ...] = ()
    requeue_after_s: float | None = None
