"""The contract with users as values: what `crds/*.yaml` say, after decoding and with the schema's defaults filled in.

Invariants: frozen, complete (no field of the schema is missing here, a parity test walks both), durations in seconds,
times in unix seconds (`api.times` turns them to and from RFC 3339). Knows no Kubernetes client, no clock, no planner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pilotage.api.evidence import (
    Difference,
    EvidenceBoundary,
    EvidenceCondition,
    GateResult,
    RevisionStatus,
    RolloutHistory,
    WaveEvidence,
)
from pilotage.api.spec import (
    AnalysisSpec,
    Bake,
    Credentials,
    DeploymentSpec,
    Feedback,
    Json,
    LabelSelector,
    Model,
    Omit,
    OnUndecided,
    Placement,
    Relay,
    Require,
    RolloutSpec,
    Server,
    Step,
    Storage,
    Traffic,
    TrafficMode,
    Wave,
)
from pilotage.api.status import (
    ClusterState,
    Condition,
    DeploymentStatus,
    Outcome,
    PauseReason,
    PendingCleanup,
    Phase,
    RolloutRecord,
    StepRecord,
    WaveRecord,
)

__all__ = [
    "AnalysisSpec",
    "Bake",
    "ClusterState",
    "Condition",
    "Credentials",
    "DeploymentSpec",
    "DeploymentStatus",
    "Difference",
    "EvidenceBoundary",
    "EvidenceCondition",
    "Feedback",
    "GateResult",
    "GatewayRef",
    "Json",
    "LabelSelector",
    "MemberCluster",
    "MemberFeedback",
    "Metadata",
    "Model",
    "ModelDeployment",
    "ModelRevision",
    "Omit",
    "OnUndecided",
    "Outcome",
    "PauseReason",
    "PendingCleanup",
    "Phase",
    "Placement",
    "PrometheusRef",
    "ProxiedService",
    "Relay",
    "Require",
    "RevisionStatus",
    "RolloutHistory",
    "RolloutRecord",
    "RolloutSpec",
    "SecretKeyRef",
    "Server",
    "Step",
    "StepRecord",
    "Storage",
    "Traffic",
    "TrafficMode",
    "Wave",
    "WaveEvidence",
    "WaveRecord",
]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDeployment:
    """A ModelDeployment. `spec` is None when it could not be decoded; `problems` then says why.

    `salvage` is then what could be read, with defaults in place of the rest: enough for the way back to stable, if
    placement, traffic and feedback are among it, else None.
    """

    metadata: Metadata
    spec: DeploymentSpec | None
    status: DeploymentStatus
    problems: tuple[str, ...] = ()
    salvage: DeploymentSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRevision:
    """A ModelRevision: what makes a revision, immutable, and its status. Owned by its ModelDeployment."""

    metadata: Metadata
    model: Model
    server: Server
    status: RevisionStatus = field(default_factory=RevisionStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKeyRef:
    """A key of a Secret in the operator's own namespace."""

    name: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxiedService:
    """A Service of the member that is asked through its API server; `path` stands before /api/v1."""

    namespace: str
    name: str
    port: str
    scheme: str = "http"
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusRef:
    """Where the cluster's Prometheus answers: `url`, or `service` through the member's API server.

    To a `url` we prove who we are with a bearer token or user:password; through the API server its credential does.
    """

    url: str = ""
    service: ProxiedService | None = None
    auth_secret_ref: SecretKeyRef | None = None
    ca_secret_ref: SecretKeyRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRef:
    """The Gateway that HTTPRoutes of this cluster attach to."""

    name: str
    namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFeedback:
    """How other clusters reach this one's collectors, and where its labels may go. All public: no secret is in it.

    `url` may hold `{namespace}` and `{model}`; empty: not reachable. `ca_bundle`: PEM; empty: the system's authorities.
    """

    url: str = ""
    jurisdictions: tuple[str, ...] = ()
    ca_bundle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberCluster:
    """A MemberCluster. `access` None and `problems` set when it could not be decoded."""

    metadata: Metadata
    kubeconfig_secret_ref: SecretKeyRef | None
    prometheus: PrometheusRef | None = None
    gateway: GatewayRef | None = None
    feedback: MemberFeedback | None = None
    conditions: tuple[Condition, ...] = ()
    cluster_uid: str = ""
    problems: tuple[str, ...] = ()
