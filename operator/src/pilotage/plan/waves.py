"""Waves and steps on record: which is under way, who takes part, what each cluster should serve because of it.

Questions about records, no rules: the rules that move them are in `plan.progress`. A wave is *full* once its clusters
are asked to serve the revision alone, or with only the bake's holdback beside it; before that its last step record is
the weight on trial.
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotage.api.types import RolloutRecord, Step, StepRecord, WaveRecord
from pilotage.plan.placement import waves_to_come
from pilotage.plan.scene import Draft, Obstacle, Scene
from pilotage.plan.traffic import Layout, Want, lay_out
from pilotage.plan.views import Sight


def current_wave(rollout: RolloutRecord) -> WaveRecord | None:
    """The wave that has started and not passed."""
    return next((wave for wave in rollout.waves if wave.passed_at is None), None)


def next_wave(scene: Scene, rollout: RolloutRecord) -> tuple[str, tuple[str, ...]] | None:
    """Name and clusters of the wave that starts next, as of now."""
    started = {wave.name: wave.clusters for wave in rollout.waves}
    return next(iter(waves_to_come(scene.spec.rollout.waves, started, scene.placed)), None)


def members(scene: Scene, wave: WaveRecord) -> tuple[str, ...]:
    """The wave's clusters that are still placed."""
    return tuple(cluster for cluster in wave.clusters if cluster in scene.placed)


def is_full(scene: Scene, draft: Draft, wave: WaveRecord) -> bool:
    """Its clusters serve the revision fully (but for a holdback), or are asked to."""
    return draft.is_first or wave.ungated or len(wave.steps) > len(scene.steps)


def is_full_everywhere(scene: Scene, rollout: RolloutRecord) -> bool:
    """Every wave has passed and no cluster is left to take the revision."""
    started = {wave.name: wave.clusters for wave in rollout.waves}
    if not rollout.waves or any(wave.passed_at is None for wave in rollout.waves):
        return False
    return bool(scene.placed) and not waves_to_come(scene.spec.rollout.waves, started, scene.placed)


def step_of(scene: Scene, wave: WaveRecord) -> tuple[int, Step, StepRecord]:
    """The step of a wave on trial: its index, what the spec says, what is on record."""
    index = len(wave.steps) - 1
    return index, scene.steps[index], wave.steps[-1]


def taken_by(rollout: RolloutRecord) -> tuple[str, ...]:
    """Every cluster that took the revision in this rollout."""
    return tuple(cluster for wave in rollout.waves for cluster in wave.clusters)


def wants(scene: Scene, draft: Draft) -> Mapping[str, Want]:
    """What each placed cluster should serve; a cluster without an entry is left as it is."""
    found = {}
    for cluster in scene.placed:
        want = _want(scene, draft, cluster)
        if want is not None:
            found[cluster] = want
    return found


def _want(scene: Scene, draft: Draft, cluster: str) -> Want | None:
    # A first deployment that ended serves on: there is nothing else, and what serves is repaired and scaled.
    rollout, stable = draft.rollout if draft.is_first else draft.active, draft.status.stable_revision
    wave = next((wave for wave in rollout.waves if cluster in wave.clusters), None) if rollout else None
    match stable, rollout, wave:
        case None, RolloutRecord(revision=first), WaveRecord():
            return Want(base=first, base_needs=scene.spec.placement.replicas_per_cluster)
        case None, _, _:
            return None
        case _, RolloutRecord(revision=canary), WaveRecord(steps=steps):
            weight, full = steps[-1].weight, is_full(scene, draft, wave)
            return Want(base=stable, canary=canary, weight=weight, is_full=full)
        case _:
            return Want(base=stable)


def layout(scene: Scene, sight: Sight, want: Want) -> Layout:
    """The next safe step of a cluster towards what it should serve."""
    return lay_out(
        sight,
        want,
        mode=scene.spec.traffic.mode,
        deployment=scene.metadata.name,
        replicas=scene.spec.placement.replicas_per_cluster,
    )


def in_effect(scene: Scene, draft: Draft, wave: WaveRecord) -> bool:
    """Every cluster of the wave can be seen, and serves what it should."""
    asked = wants(scene, draft)
    return all(
        cluster in scene.sights
        and cluster not in scene.obstacles
        and layout(scene, scene.sights[cluster], asked[cluster]).in_effect
        for cluster in members(scene, wave)
    )


def settled_on(scene: Scene, cluster: str, base: str) -> bool:
    """The cluster can be seen and serves `base` and nothing else, ready or not."""
    sight = scene.sights.get(cluster)
    return sight is not None and layout(scene, sight, Want(base=base)).clean


def obstacle_in(scene: Scene, clusters: tuple[str, ...]) -> Obstacle | None:
    """The first of the clusters that cannot be worked on now."""
    return next((scene.obstacles[cluster] for cluster in clusters if cluster in scene.obstacles), None)
