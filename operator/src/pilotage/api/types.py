"""The contract with users as values: what `crds/*.yaml` say, after decoding and with the schema's defaults filled in.

Invariants: frozen, complete (no field of the schema is missing here, a parity test walks both), durations in seconds,
times in unix seconds (`api.times` turns them to and from RFC 3339). Knows no Kubernetes client, no clock, no planner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = Any
"""A JSON value passed through unread."""


class TrafficMode(StrEnum):
    """How a canary gets its share of the traffic."""

    REPLICAS = "Replicas"
    GATEWAY = "Gateway"


class OnUndecided(StrEnum):
    """What a rollout does at its deadline."""

    ROLLBACK = "Rollback"
    HOLD = "Hold"


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


# ---------------------------------------------------------------------------------------------------------------- spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is served: an OCI reference with a digest."""

    bundle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The pods that serve it. Everything but `image` is passed to the pod as written."""

    image: str
    resources: Mapping[str, Json] | None = None
    env: tuple[Mapping[str, Json], ...] | None = None
    node_selector: Mapping[str, str] | None = None
    tolerations: tuple[Mapping[str, Json], ...] | None = None
    image_pull_secrets: tuple[Mapping[str, Json], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector:
    """Kubernetes' label selector over MemberClusters; empty matches all."""

    match_labels: Mapping[str, str] = field(default_factory=dict)
    match_expressions: tuple[Mapping[str, Json], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Which clusters, and how many server pods in each."""

    cluster_selector: LabelSelector
    replicas_per_cluster: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A canary weight in percent; `pause_s` seconds to stay at least, None: no pause, inf: until a person promotes."""

    weight: int
    pause_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Clusters that take a revision together: by name, or every cluster not named before when `clusters` is None."""

    name: str
    clusters: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """How a revision travels. Empty `steps` means one step at 100; empty `waves` one wave of all clusters."""

    steps: tuple[Step, ...]
    waves: tuple[Wave, ...]
    progress_deadline_s: float
    max_duration_s: float
    on_inconclusive: OnUndecided
    on_insufficient_data: OnUndecided


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSpec:
    """How often we look and how sure we must be."""

    interval_s: float
    alpha: float
    beta: float
    min_samples: int
    min_duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How requests are divided; `hostnames` for the HTTPRoute of mode Gateway."""

    mode: TrafficMode
    hostnames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSpec:
    """`ModelDeployment.spec`. `gates` stays JSON: `pilotage.gate` decodes its own subtree."""

    model: Model
    server: Server
    placement: Placement
    rollout: RolloutSpec
    label_delay_s: float
    gates: tuple[Mapping[str, Json], ...]
    analysis: AnalysisSpec
    traffic: Traffic
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The facts of an object's metadata that we use; `deletion_timestamp` in unix seconds."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    creation_timestamp: float = 0.0
    deletion_timestamp: float | None = None


# -------------------------------------------------------------------------------------------------------------- status


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
    that left the earlier attempts' pass evidence behind.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDeployment:
    """A ModelDeployment. `spec` is None when it could not be decoded; `problems` then says why."""

    metadata: Metadata
    spec: DeploymentSpec | None
    status: DeploymentStatus
    problems: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------------------ revision


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """A gate as last judged: estimate and bounds of the canary's metric over the mix, log-evidence, labels per arm."""

    name: str
    verdict: str
    reason: str = ""
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    log_e_pass: float | None = None
    log_e_fail: float | None = None
    labels_stable: int = 0
    labels_canary: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBoundary:
    """Where a cluster's last block ended (see `evidence.reading.Boundary`)."""

    cluster: str
    at: float
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveEvidence:
    """The e-processes of one wave: state as `pilotage.gate` wrote it, block boundaries, verdict of the last block.

    `step` is the one whose window is being counted, from 0; `clusters` are those the state was started with.
    `step_ready`: every gate has its minSamples of this step. `fail_weight`: this wave's share of the fail evidence.
    """

    wave: str
    step: int
    state: Mapping[str, Json]
    clusters: tuple[str, ...] = ()
    boundaries: tuple[EvidenceBoundary, ...] = ()
    verdict: str = "InsufficientData"
    reason: str = ""
    step_ready: bool = False
    fail_weight: float = 0.0
    gates: tuple[GateResult, ...] = ()
    blocks: int = 0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutHistory:
    """A past attempt: what `status.history` keeps of it (≤ 10)."""

    attempt: int
    outcome: Outcome
    reason: str
    message: str
    clusters: tuple[str, ...]
    gates: tuple[GateResult, ...]
    started_at: float
    decided_at: float
    ungated: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionStatus:
    """`ModelRevision.status`: evidence and verdict of its rollout, and what became of earlier attempts.

    `carried` is what a retry's pass side continues: `{"stable": mrev, "waves": {wave: gate state}}`.
    """

    attempt: int = 0
    evidence: tuple[WaveEvidence, ...] = ()
    clusters: tuple[str, ...] = ()
    verdict: str = ""
    outcome: Outcome | None = None
    carried: Mapping[str, Json] | None = None
    history: tuple[RolloutHistory, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRevision:
    """A ModelRevision: what makes a revision, immutable, and its status. Owned by its ModelDeployment."""

    metadata: Metadata
    model: Model
    server: Server
    status: RevisionStatus = field(default_factory=RevisionStatus)


# -------------------------------------------------------------------------------------------------------------- member


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKeyRef:
    """A key of a Secret in the operator's own namespace."""

    name: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusRef:
    """Where the cluster's Prometheus answers, and how to prove who we are (a bearer token or user:password)."""

    url: str
    auth_secret_ref: SecretKeyRef | None = None
    ca_secret_ref: SecretKeyRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRef:
    """The Gateway that HTTPRoutes of this cluster attach to."""

    name: str
    namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberCluster:
    """A MemberCluster. `access` None and `problems` set when it could not be decoded."""

    metadata: Metadata
    kubeconfig_secret_ref: SecretKeyRef | None
    prometheus: PrometheusRef | None = None
    gateway: GatewayRef | None = None
    conditions: tuple[Condition, ...] = ()
    cluster_uid: str = ""
    problems: tuple[str, ...] = ()
