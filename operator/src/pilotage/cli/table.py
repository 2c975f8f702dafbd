"""The list of ModelDeployments: the columns `kubectl get mdep` has, for one namespace or all. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pilotage.api.types import ModelDeployment
from pilotage.cli.progress import phase_of
from pilotage.cli.words import SYMBOLS, age, short_reference

HEADER = ("NAME", "PHASE", "STEP", "WEIGHT", "CLUSTERS", "VERDICT", "MODEL", "AGE")


def render(deployments: Iterable[ModelDeployment], now: float, all_namespaces: bool) -> str:
    """An aligned table; a sentence when there is nothing to list."""
    lines = [(("NAMESPACE",) if all_namespaces else ()) + HEADER]
    ordered = sorted(deployments, key=lambda each: (each.metadata.namespace, each.metadata.name))
    lines += [((each.metadata.namespace,) if all_namespaces else ()) + _line(each, now) for each in ordered]
    if len(lines) == 1:
        return "No ModelDeployments found.\n"
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = ("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(f"{line.rstrip()}\n" for line in padded)


def _line(deployment: ModelDeployment, now: float) -> tuple[str, ...]:
    status, phase = deployment.status, phase_of(deployment)
    return (
        deployment.metadata.name,
        f"{SYMBOLS[phase]} {phase.value}",
        status.step or "–",
        str(status.weight) if status.step else "–",
        status.clusters_summary or "–",
        status.verdict or "–",
        short_reference(deployment.spec.model.bundle) if deployment.spec else "–",
        age(now - deployment.metadata.creation_timestamp),
    )
