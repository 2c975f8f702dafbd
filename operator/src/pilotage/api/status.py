"""What the operator writes of a ModelDeployment: `status`, all that is persisted of a rollout but its evidence.

Times in unix seconds; no measured values, so that an unchanged world leaves an unchanged status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Phase(StrEnum):
    """`status.phase`, in Argo's words."""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    DEGRADED = "Degraded"


class Outcome(StrEnum):
    """How a rollout ended."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    ABORTED = "Aborted"
    EXPIRED = "Expired"
    SUPERSEDED = "Superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A metav1.Condition; `status` True, False or Unknown; `reason` from `api.reasons`."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int
    last_transition_time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One weight of one wave: asked for at `started_at`, seen in every cluster of the wave at `observed_at`.

    `shifted_s` is the rollout's at `started_at`: what was added since does not count against progressDeadline.
    """

    weight: int
    started_at: float
    observed_at: float | None = None
    shifted_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveRecord:
    """A wave that has started, its membership frozen. `steps` is the log of its weights; `passed_at`: all at 100.

    The record after the spec's steps (in a first deployment: the only one) asks for 100 and no canary beside it.
    """

    name: str
    clusters: tuple[str, ...]
    started_at: float
    steps: tuple[StepRecord, ...] = ()
    passed_at: float | None = None
    ungated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRecord:
    """One attempt to take one revision everywhere. `outcome` None: under way. `held`: a deadline passed with Hold.

    `shifted_s` is how long deadlines have stood still (paused, unreachable member); `stopped_at`: since when they do.
    `planned_waves` is how many waves there were when it began: each may spend that share of beta. `fresh`: a retry
    that left the earlier attempts' pass evidence behind. `full_at`: since when it serves fully everywhere, and bakes.
    """

    revision: str
    attempt: int
    plan_hash: str
    started_at: float
    waves: tuple[WaveRecord, ...] = ()
    outcome: Outcome | None = None
    reason: str = ""
    message: str = ""
    decided_at: float | None = None
    promote_full: bool = False
    held: bool = False
    shifted_s: float = 0.0
    stopped_at: float | None = None
    planned_waves: int = 1
    fresh: bool = False
    full_at: float | None = None

    @property
    def name(self) -> str:
        """`<mrev>.<attempt>`, the way verbs and logs write it."""
        return f"{self.revision}.{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCleanup:
    """Objects of ours in a member we could not reach, by origin; tried until `give_up_at`."""

    cluster: str
    origin: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseReason:
    """Why nothing new starts: the user's `spec.paused`, a step's pause, a deadline with Hold."""

    reason: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """One cluster in `status.clusters`, for people: what serves there and how it stands. No measured values."""

    name: str
    revision: str = ""
    weight: int = 0
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentStatus:
    """`ModelDeployment.status`. `step`, `weight`, `clusters_summary`, `verdict` feed the printer columns."""

    observed_generation: int = 0
    phase: Phase = Phase.PROGRESSING
    message: str = ""
    step: str = ""
    weight: int = 0
    clusters_summary: str = ""
    verdict: str = ""
    stable_revision: str | None = None
    previous_revision: str | None = None
    target_revision: str | None = None
    latched_revision: str | None = None
    rollout: RolloutRecord | None = None
    verbs: Mapping[str, str] = field(default_factory=dict)
    pause_reasons: tuple[PauseReason, ...] = ()
    pending_cleanup: tuple[PendingCleanup, ...] = ()
    clusters: tuple[ClusterState, ...] = ()
    conditions: tuple[Condition, ...] = ()
