"""API objects to values. Never raises: what cannot be used comes back as problems, each with path, value and remedy.

The schema refuses most mistakes at `kubectl apply`; this catches what an older schema let through and what only a
second look can see, so that a bad object becomes a condition and not an exception loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pilotage.api import codec
from pilotage.api.types import (
    AnalysisSpec,
    Bake,
    Condition,
    DeploymentSpec,
    DeploymentStatus,
    Feedback,
    GatewayRef,
    MemberCluster,
    MemberFeedback,
    Metadata,
    Model,
    ModelDeployment,
    ModelRevision,
    OnUndecided,
    Placement,
    PrometheusRef,
    RevisionStatus,
    RolloutSpec,
    SecretKeyRef,
    Server,
    Step,
    Traffic,
    TrafficMode,
    Wave,
)

T = TypeVar("T")

# The schema's defaults, repeated for objects that were stored before the schema had them; a parity test compares.
ROLLOUT_DEFAULTS: Mapping[str, Any] = {
    "progressDeadline": "10m",
    "maxDuration": "24h",
    "onInconclusive": OnUndecided.ROLLBACK.value,
    "onInsufficientData": OnUndecided.HOLD.value,
}
ANALYSIS_DEFAULTS: Mapping[str, Any] = {
    "interval": "30s",
    "alpha": 0.05,
    "beta": 0.05,
    "minSamples": 100,
    "minDuration": "0s",
}
FEEDBACK_DEFAULTS: Mapping[str, Any] = {"labelDelay": "10m", "auditRate": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class _RolloutTimes:
    progress_deadline_s: float
    max_duration_s: float
    on_inconclusive: OnUndecided
    on_insufficient_data: OnUndecided
    bake: Bake | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _MemberStatus:
    cluster_uid: str = ""
    conditions: tuple[Condition, ...] = ()


def metadata(obj: Mapping[str, Any]) -> Metadata:
    """The metadata of any object, as far as we use it."""
    raw = obj.get("metadata", {})
    return codec.decode(Metadata, raw, "metadata", []) or Metadata(
        name=str(raw.get("name", "")),
        namespace=str(raw.get("namespace", "")),
        uid=str(raw.get("uid", "")),
        resource_version=str(raw.get("resourceVersion", "")),
    )


def model_deployment(obj: Mapping[str, Any]) -> ModelDeployment:
    """A ModelDeployment; `spec` is None when `problems` has something to say."""
    problems: list[str] = []
    spec = _deployment_spec(obj.get("spec") or {}, problems)
    usable = not problems
    status = codec.decode(DeploymentStatus, obj.get("status") or {}, "status", []) or DeploymentStatus()
    return ModelDeployment(
        metadata=metadata(obj),
        spec=spec if usable else None,
        status=status,
        problems=tuple(problems),
        salvage=None if usable else spec,
    )


def model_revision(obj: Mapping[str, Any]) -> ModelRevision | None:
    """A ModelRevision; None when it is not one of ours any more (its spec cannot be read)."""
    problems: list[str] = []
    spec = obj.get("spec") or {}
    model = codec.decode(Model, spec.get("model") or {}, "spec.model", problems)
    server = codec.decode(Server, spec.get("server") or {}, "spec.server", problems)
    if model is None or server is None:
        return None
    status = codec.decode(RevisionStatus, obj.get("status") or {}, "status", []) or RevisionStatus()
    return ModelRevision(metadata=metadata(obj), model=model, server=server, status=status)


def member_cluster(obj: Mapping[str, Any]) -> MemberCluster:
    """A MemberCluster; `kubeconfig_secret_ref` is None when `problems` has something to say."""
    problems: list[str] = []
    spec = obj.get("spec") or {}
    access = (spec.get("access") or {}).get("kubeconfigSecretRef")
    reference = codec.decode(SecretKeyRef, access or {}, "spec.access.kubeconfigSecretRef", problems)
    prometheus = _optional(PrometheusRef, spec.get("prometheus"), "spec.prometheus", problems)
    gateway = _optional(GatewayRef, spec.get("gateway"), "spec.gateway", problems)
    feedback = _optional(MemberFeedback, spec.get("feedback"), "spec.feedback", problems)
    status = codec.decode(_MemberStatus, obj.get("status") or {}, "status", []) or _MemberStatus()
    return MemberCluster(
        metadata=metadata(obj),
        kubeconfig_secret_ref=None if problems else reference,
        prometheus=prometheus,
        gateway=gateway,
        feedback=feedback,
        conditions=status.conditions,
        cluster_uid=status.cluster_uid,
        problems=tuple(problems),
    )


def _deployment_spec(spec: Mapping[str, Any], problems: list[str]) -> DeploymentSpec | None:
    """The spec; where there are problems, what can be salvaged."""
    placement = spec.get("placement") or {}
    traffic = {"mode": TrafficMode.REPLICAS.value, **(spec.get("traffic") or {})}
    found = {
        "model": codec.decode(Model, spec.get("model") or {}, "spec.model", problems),
        "server": codec.decode(Server, spec.get("server") or {}, "spec.server", problems),
        "placement": codec.decode(
            Placement,
            {"replicasPerCluster": 1, **placement, "clusterSelector": placement.get("clusterSelector") or {}},
            "spec.placement",
            problems,
        ),
        "rollout": _rollout(spec.get("rollout") or {}, problems),
        "analysis": codec.decode(
            AnalysisSpec, {**ANALYSIS_DEFAULTS, **(spec.get("analysis") or {})}, "spec.analysis", problems
        ),
        "traffic": codec.decode(Traffic, traffic, "spec.traffic", problems),
        "feedback": codec.decode(
            Feedback, {**FEEDBACK_DEFAULTS, **(spec.get("feedback") or {})}, "spec.feedback", problems
        ),
    }
    if problems:
        stand_ins = _stand_ins()
        found = {name: stand_ins.get(name) if part is None else part for name, part in found.items()}
    if any(part is None for part in found.values()):
        return None
    written = spec.get("gates") or ()
    gates = tuple(gate for gate in written if isinstance(gate, Mapping)) if problems else tuple(written)
    return DeploymentSpec(**found, gates=gates, paused=bool(spec.get("paused", False)))  # type: ignore[arg-type]


def _stand_ins() -> dict[str, Any]:
    """For parts that say neither where nor how a model is served."""
    return {
        "model": Model(bundle=""),
        "server": Server(image=""),
        "rollout": _rollout({}, []),
        "analysis": codec.decode(AnalysisSpec, ANALYSIS_DEFAULTS, "", []),
    }


def _rollout(rollout: Mapping[str, Any], problems: list[str]) -> RolloutSpec | None:
    steps = tuple(
        _step(step, f"spec.rollout.steps[{n}]", problems) for n, step in enumerate(rollout.get("steps") or ())
    )
    waves = tuple(
        codec.decode(Wave, wave, f"spec.rollout.waves[{n}]", problems)
        for n, wave in enumerate(rollout.get("waves") or ())
    )
    plain = codec.decode(_RolloutTimes, {**ROLLOUT_DEFAULTS, **rollout}, "spec.rollout", problems)
    if plain is None or None in steps or None in waves:
        return None
    return RolloutSpec(
        steps=tuple(step for step in steps if step is not None),
        waves=tuple(wave for wave in waves if wave is not None),
        progress_deadline_s=plain.progress_deadline_s,
        max_duration_s=plain.max_duration_s,
        on_inconclusive=plain.on_inconclusive,
        on_insufficient_data=plain.on_insufficient_data,
        bake=plain.bake,
    )


def _step(step: Any, path: str, problems: list[str]) -> Step | None:
    """`pause: {}` waits for a person: infinitely long."""
    if isinstance(step, Mapping) and step.get("pause") == {}:
        decoded = codec.decode(Step, {**step, "pause": None}, path, problems)
        return None if decoded is None else replace(decoded, pause_s=math.inf)
    return codec.decode(Step, step, path, problems)


def _optional(cls: type[T], value: Any, path: str, problems: list[str]) -> T | None:
    return None if value is None else codec.decode(cls, value, path, problems)
