"""Everything a decision may look at, gathered from caches at one moment: plain values, no behaviour but look-ups.

A member that cannot be seen is its own state (`Link`), never an empty cluster; its workloads are then what was last
seen. Built by `engine.gather`, read by `plan.decide`; nobody changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pilotage.api.types import MemberCluster, ModelDeployment, ModelRevision
from pilotage.evidence.reading import Query, Reading

Manifest = Mapping[str, Any]
"""One Kubernetes object as JSON; never mutated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """Connected, caches synced for this namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSynced:
    """Connected or connecting; the caches have not been filled yet since this process started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """Probes fail since `since` (unix seconds); `reason`/`message` as for MembersReachable=False."""

    since: float
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """We will not talk to it: unsafe kubeconfig, missing Secret or key, twin of another MemberCluster, forbidden."""

    reason: str
    message: str


Link = Fresh | NotSynced | Unreachable | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """One MemberCluster as this ModelDeployment sees it.

    `member` is None for a name whose MemberCluster object is gone. `objects` are the live objects in the deployment's
    namespace that carry our origin label for this ModelDeployment, plus objects of the names we want that do not
    (found by GET before the first apply) in `taken`. `pods` are the server and collector pods of this ModelDeployment.
    `apply_error` is the last refusal by the member's API server (reason, message), cleared by a success.
    """

    name: str
    member: MemberCluster | None
    link: Link
    objects: tuple[Manifest, ...] = ()
    pods: tuple[Manifest, ...] = ()
    taken: tuple[Manifest, ...] = ()
    apply_error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Input of `decide`.

    `hub_uid` is the UID of the hub's kube-system namespace. `clusters` has every MemberCluster of the hub by name, and
    names without one that status still mentions. `readings` are the answers to the queries of earlier decisions that
    have not been superseded, at most one per (cluster, wave); `decide` ignores those that do not fit its state.
    """

    hub_uid: str
    deployment: ModelDeployment
    revisions: Mapping[str, ModelRevision]
    clusters: Mapping[str, ClusterView]
    readings: tuple[Reading, ...] = field(default=())
    asked: tuple[Query, ...] = field(default=())
