"""What a decision looks at (`Scene`) and what it has decided so far (`Draft`).

The scene is fixed for one call of `decide`; rules map a draft to the next one. A draft holds the status and revisions
*as they will be written*: every later rule, and every intent, derives from those alone (write-ahead).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pilotage.api import names
from pilotage.api.reasons import Reason
from pilotage.api.revision import plan_hash, revision_name
from pilotage.api.times import seconds
from pilotage.api.types import (
    DeploymentSpec,
    DeploymentStatus,
    Json,
    Metadata,
    ModelRevision,
    RevisionStatus,
    RolloutRecord,
    Step,
    TrafficMode,
    WaveRecord,
)
from pilotage.gate import Analysis, GateSpecError
from pilotage.plan.counting import disagreements
from pilotage.plan.decision import Event
from pilotage.plan.observed import ClusterView, Fresh, NotSynced, Observed, Refused, Unreachable
from pilotage.plan.placement import placed_clusters
from pilotage.plan.views import Sight, sight_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a cluster cannot be worked on now."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything a rule may look at. `sights` has the clusters that can be seen now, and no others.

    `analysis` is None without gates, or when `problems` says what is wrong with them.
    """

    observed: Observed
    now: float
    spec: DeploymentSpec
    desired: str
    plan_hash: str
    analysis: Analysis | None
    problems: tuple[str, ...]
    placed: tuple[str, ...]
    sights: Mapping[str, Sight]
    obstacles: Mapping[str, Obstacle]
    origin: str

    @property
    def metadata(self) -> Metadata:
        """Of the ModelDeployment."""
        return self.observed.deployment.metadata

    @property
    def steps(self) -> tuple[Step, ...]:
        """The spec's steps; without any there is one at 100."""
        return self.spec.rollout.steps or (Step(weight=100),)

    @property
    def has_gates(self) -> bool:
        """The spec asks for evidence."""
        return bool(self.spec.gates)

    @property
    def has_floors(self) -> bool:
        """Some gate has a fixed bound, so that counts of the canary alone may fail it."""
        return any(_is_absolute(gate) for gate in self.spec.gates)

    @property
    def full_weight(self) -> int:
        """The share of the traffic that a revision gets where it has passed: all but the bake's holdback."""
        bake = self.spec.rollout.bake
        return 100 if bake is None else 100 - bake.holdback


def set_the_scene(observed: Observed, spec: DeploymentSpec, now: float) -> Scene:
    """Look at everything once."""
    metadata = observed.deployment.metadata
    analysis, problems = _analysis(spec)
    placed = placed_clusters(spec.placement.cluster_selector, observed.clusters)
    return Scene(
        observed=observed,
        now=seconds(now),
        spec=spec,
        desired=revision_name(metadata.name, spec.model, spec.server),
        plan_hash=plan_hash(spec),
        analysis=analysis,
        problems=problems,
        placed=placed,
        sights={
            name: sight_of(view, deployment=metadata.name, gateway=view.member.gateway if view.member else None)
            for name, view in observed.clusters.items()
            if isinstance(view.link, Fresh)
        },
        obstacles={
            name: obstacle
            for name in placed
            if (obstacle := _obstacle(observed.clusters[name], spec.traffic.mode)) is not None
        },
        origin=names.origin(observed.hub_uid, metadata.uid),
    )


def _analysis(spec: DeploymentSpec) -> tuple[Analysis | None, tuple[str, ...]]:
    if not spec.gates:
        return None, ()
    try:
        analysis = _from_spec(spec, spec.gates)
        problems = disagreements(analysis)
        return None if problems else analysis, problems
    except GateSpecError as error:
        return None, tuple(str(problem) for problem in error.problems)


def floors_alone(spec: DeploymentSpec) -> Analysis | None:
    """The gates as they are where there is nothing to compare with; None without a fixed bound."""
    floors = [
        {key: value for key, value in gate.items() if key != "margin"} for gate in spec.gates if _is_absolute(gate)
    ]
    return _from_spec(spec, floors) if floors else None


def _is_absolute(gate: Mapping[str, Json]) -> bool:
    return "floor" in gate or "ceiling" in gate


def _from_spec(spec: DeploymentSpec, gates: Iterable[Mapping[str, Json]]) -> Analysis:
    settings = spec.analysis
    return Analysis.from_spec(
        {
            "gates": [dict(gate) for gate in gates],
            "analysis": {
                "interval": settings.interval_s,
                "alpha": settings.alpha,
                "beta": settings.beta,
                "minSamples": settings.min_samples,
                "minDuration": settings.min_duration_s,
            },
        }
    )


def _obstacle(view: ClusterView, mode: TrafficMode) -> Obstacle | None:
    match view.link:
        case NotSynced():
            return Obstacle(reason=Reason.CONNECTING, message=f"{view.name}: its caches are being filled")
        case Unreachable(reason=reason, message=message) | Refused(reason=reason, message=message):
            return Obstacle(reason=_known(reason), message=f"{view.name}: {message}")
        case Fresh():
            pass
    if view.taken:
        what = ", ".join(f"{obj.get('kind')} {obj['metadata']['name']}" for obj in view.taken)
        if any((obj["metadata"].get("labels") or {}).get(names.ORIGIN_LABEL) for obj in view.taken):
            remedy = "left over from another ModelDeployment; delete it or rename this one"
            return Obstacle(reason=Reason.UNCLAIMED, message=f"{view.name}: {what}: {remedy}")
        return Obstacle(reason=Reason.NAME_TAKEN, message=f"{view.name}: {what} exists and is not ours; rename either")
    if mode is TrafficMode.GATEWAY and view.member is not None and view.member.gateway is None:
        return Obstacle(
            reason=Reason.GATEWAY_MISSING,
            message=f"{view.name}: traffic.mode is Gateway; set spec.gateway of its MemberCluster or use Replicas",
        )
    return None


def _known(reason: str) -> Reason:
    return Reason(reason) if reason in set(Reason) else Reason.UNREACHABLE


# --------------------------------------------------------------------------------------------------------------- draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The decision under construction: status and revisions as they will be, and the events of getting there.

    `looked`: looks at the evidence that left no trace, so that one decision does not repeat them. `trouble`: what the
    gate could not make sense of in a reading. `unprovable`: what the wave that begins now cannot prove in time.
    """

    status: DeploymentStatus
    revisions: Mapping[str, ModelRevision]
    created: tuple[str, ...] = ()
    events: tuple[Event, ...] = field(default=())
    looked: frozenset[tuple[str, int]] = field(default=frozenset(), compare=False)
    trouble: str = field(default="", compare=False)
    unprovable: str | None = field(default=None, compare=False)

    @property
    def rollout(self) -> RolloutRecord | None:
        """The rollout on record, under way or ended."""
        return self.status.rollout

    @property
    def active(self) -> RolloutRecord | None:
        """The rollout under way."""
        rollout = self.status.rollout
        return rollout if rollout is not None and rollout.outcome is None else None

    @property
    def is_first(self) -> bool:
        """Nothing has ever been promoted: there is no stable to compare with or to return to."""
        return self.status.stable_revision is None

    def with_status(self, **changes: Any) -> Draft:
        """The draft with fields of its status replaced."""
        return replace(self, status=replace(self.status, **changes))

    def with_rollout(self, **changes: Any) -> Draft:
        """The draft with fields of its rollout replaced."""
        assert self.status.rollout is not None
        return self.with_status(rollout=replace(self.status.rollout, **changes))

    def with_wave(self, wave: WaveRecord) -> Draft:
        """The draft with this wave's record added, or replaced by name."""
        assert self.status.rollout is not None
        waves = self.status.rollout.waves
        if wave.name in {known.name for known in waves}:
            return self.with_rollout(waves=tuple(wave if known.name == wave.name else known for known in waves))
        return self.with_rollout(waves=(*waves, wave))

    def with_revision(self, name: str, status: RevisionStatus) -> Draft:
        """The draft with a revision's status replaced."""
        revision = replace(self.revisions[name], status=status)
        return replace(self, revisions={**self.revisions, name: revision})

    def saying(self, reason: Reason, note: str, *, warning: bool = False) -> Draft:
        """The draft with one more event."""
        event = Event(type="Warning" if warning else "Normal", reason=reason.value, note=note)
        return replace(self, events=(*self.events, event))
