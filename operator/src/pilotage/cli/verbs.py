"""The verbs as patches: a ModelDeployment in, what to write to it out. Pure.

Verbs travel as annotations whose value names what they act on, so a verb that comes late acts on nothing. A verb that
would do nothing now is refused here, with what could be said instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pilotage.api import names
from pilotage.api.types import ModelDeployment, Outcome, RolloutRecord, WaveRecord
from pilotage.cli.errors import CommandFailed

Patch = Mapping[str, Any]


def abort(deployment: ModelDeployment) -> Patch:
    """End the rollout under way and return every cluster to stable."""
    rollout = _under_way(deployment, "abort")
    return _annotate(names.ABORT, rollout.name)


def promote(deployment: ModelDeployment) -> Patch:
    """End the pause of the step under way; gates still decide."""
    rollout = _under_way(deployment, "promote")
    wave = _wave_under_way(rollout)
    if rollout.full_at is not None:
        name = deployment.metadata.name
        raise CommandFailed(f"{name} bakes: no step pauses; `pilotage promote {name} --full` ends the bake, ungated")
    if wave is None or not wave.steps:
        raise CommandFailed(f"{deployment.metadata.name}: no step is under way yet; wait for the first weight")
    return _annotate(names.PROMOTE, f"{rollout.name}/{wave.name}/{len(wave.steps) - 1}")


def promote_full(deployment: ModelDeployment) -> Patch:
    """Skip steps and gates; the record will say that the revision was promoted ungated."""
    return _annotate(names.PROMOTE_FULL, _under_way(deployment, "promote").name)


def retry(deployment: ModelDeployment, fresh: bool) -> Patch:
    """Another attempt of the revision that was taken back; `fresh` forgets the evidence gathered so far."""
    rollout = deployment.status.rollout
    if rollout is None or rollout.outcome not in (Outcome.ROLLED_BACK, Outcome.ABORTED, Outcome.EXPIRED):
        raise CommandFailed(
            f"{deployment.metadata.name}: nothing to retry; the last rollout was not rolled back, aborted or expired"
        )
    return _annotate(names.RETRY_FRESH if fresh else names.RETRY, rollout.name)


def pause(deployment: ModelDeployment) -> Patch:
    """Start nothing new: no step, wave or first deployment. Rollback and repair go on."""
    if deployment.spec is not None and deployment.spec.paused:
        raise CommandFailed(f"{deployment.metadata.name} is paused already; `pilotage resume` lifts it")
    return {"spec": {"paused": True}}


def resume(deployment: ModelDeployment) -> Patch:
    """Lift the pause."""
    if deployment.spec is not None and not deployment.spec.paused:
        raise CommandFailed(
            f"{deployment.metadata.name} is not paused by spec.paused; a step's pause ends with `pilotage promote`"
        )
    return {"spec": {"paused": False}}


def _annotate(verb: str, value: str) -> Patch:
    return {"metadata": {"annotations": {verb: value}}}


def _under_way(deployment: ModelDeployment, verb: str) -> RolloutRecord:
    rollout = deployment.status.rollout
    if rollout is None or rollout.outcome is not None:
        ended = "" if rollout is None else f" (the last one, {rollout.name}, ended {rollout.outcome})"
        raise CommandFailed(f"{deployment.metadata.name}: no rollout is under way to {verb}{ended}")
    return rollout


def _wave_under_way(rollout: RolloutRecord) -> WaveRecord | None:
    return next((wave for wave in reversed(rollout.waves) if wave.passed_at is None), None)
