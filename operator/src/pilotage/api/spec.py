"""What a user writes: `ModelDeployment.spec`, with the schema's defaults filled in. Durations in seconds."""

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


class Require(StrEnum):
    """What a step waits for besides its labels."""

    PASS = "Pass"  # noqa: S105  (a verdict, no password)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A canary weight in percent; `pause_s` seconds to stay at least, None: no pause, inf: until a person promotes.

    `require` PASS: the step ends only with a pass of every gate; None: with minSamples labels and no fail.
    """

    weight: int
    pause_s: float | None = None
    require: Require | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Clusters that take a revision together: by name, or every cluster not named before when `clusters` is None."""

    name: str
    clusters: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bake:
    """Watching on after full promotion for `duration_s`; `holdback` percent of the traffic stays on what was stable."""

    duration_s: float
    holdback: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSpec:
    """How a revision travels. Empty `steps` means one step at 100; empty `waves` one wave of all clusters."""

    steps: tuple[Step, ...]
    waves: tuple[Wave, ...]
    progress_deadline_s: float
    max_duration_s: float
    on_inconclusive: OnUndecided
    on_insufficient_data: OnUndecided
    bake: Bake | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A volume claim for the collector's database: Kubernetes quantity and class (None: the cluster's default)."""

    size: str
    storage_class_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who may post labels: a Secret in each member's namespace, one bearer token per identity; never read by the hub.

    `rate`: labels a second that one identity may post to one pod; 0: no limit, None: the server's default.
    """

    secret_name: str
    rate: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Labels posted in the wrong cluster are handed on; `secret_name` holds a bearer token per cluster, if any."""

    secret_name: str | None = None


class Omit(StrEnum):
    """Metrics of the collector that are for people alone."""

    QUALITY = "quality"
    COHORTS = "cohorts"
    CONFUSION = "confusion"
    SCORES = "scores"
    SLICES = "slices"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """How labels come back. `audit_rate` in [0, 1]: share of requests picked at random for labelling.

    `credentials` None: whoever reaches the endpoint may post. `sealed_tokens`: only the cluster can read its tokens.
    `relay` None: labels stay in the cluster they were posted to. `omit`: metrics nobody wants. `window_labels`: how
    many labels `model_quality` is made of; None: the collector's default.
    """

    label_delay_s: float
    audit_rate: float = 0.0
    storage: Storage | None = None
    credentials: Credentials | None = None
    sealed_tokens: bool = False
    relay: Relay | None = None
    omit: tuple[Omit, ...] = ()
    window_labels: int | None = None


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
    feedback: Feedback
    gates: tuple[Mapping[str, Json], ...]
    analysis: AnalysisSpec
    traffic: Traffic
    paused: bool = False

    @property
    def label_delay_s(self) -> float:
        """A label counts when its prediction is this old."""
        return self.feedback.label_delay_s
