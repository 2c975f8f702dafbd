"""What a ModelDeployment's phase means to somebody who waits for it. Pure.

The phase counts only once the operator has seen the generation it stands for: right after an edit the old `Healthy` is
not an answer to the new spec.
"""

from __future__ import annotations

from pilotage.api.types import ModelDeployment, Phase


def phase_of(deployment: ModelDeployment) -> Phase:
    """The phase, or Progressing while the operator has not looked at this generation."""
    if deployment.status.observed_generation < deployment.metadata.generation:
        return Phase.PROGRESSING
    return deployment.status.phase


def status_line(deployment: ModelDeployment) -> str:
    """`Phase` or `Phase - message`, as Argo prints it."""
    phase, message = phase_of(deployment), deployment.status.message
    return phase.value if phase is Phase.HEALTHY or not message else f"{phase.value} - {message}"


def is_over(deployment: ModelDeployment) -> bool:
    """Whether waiting longer changes nothing by itself: healthy, degraded, or paused for a person."""
    return phase_of(deployment) is not Phase.PROGRESSING
