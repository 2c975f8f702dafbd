"""A ready ModelDeployment for a run: its bundle, steps and gates, with comments that say where each bound is from.

Pure text out of a run's document and a few wishes; what it says about labels is a plan, not a promise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from pilotage_server.train.deploy.gates import PlannedGate


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user says about the deployment. `labels_per_day`: of all traffic in a wave, 0 when unknown."""

    name: str
    namespace: str
    image: str
    label_delay: str
    weights: tuple[int, ...]
    alpha: float
    labels_per_day: float


def render(document: Mapping[str, Any], gates: Sequence[PlannedGate], wishes: Wishes) -> str:
    """Write the manifest with its reasoning in comments."""
    spec = {
        "apiVersion": "pilotage.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": wishes.name, "namespace": wishes.namespace},
        "spec": {
            "model": {"bundle": document["reference"]},
            "server": {
                "image": wishes.image,
                "resources": {"requests": {"cpu": "250m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
            },
            "placement": {
                "clusterSelector": {"matchLabels": {"pilotage.dev/tier": "serving"}},
                "replicasPerCluster": 2,
            },
            "rollout": {"steps": [{"weight": weight} for weight in wishes.weights]},
            "feedback": {"labelDelay": wishes.label_delay},
            "analysis": {"alpha": wishes.alpha},
        },
    }
    written = yaml.safe_dump(spec, sort_keys=False, allow_unicode=True)
    return "\n".join(
        [
            f"# {document['name']} {document['version']}: {document['metrics']['rows']} test rows justify these gates.",
            *_plan(gates, wishes),
            written + "  gates:",
            *[line for gate in gates for line in _gate(gate)],
            "",
        ]
    )


def _gate(gate: PlannedGate) -> list[str]:
    body = yaml.safe_dump(dict(gate.spec), sort_keys=False, default_flow_style=True, width=10_000, allow_unicode=True)
    return [f"  # {gate.reason}; {_labels(gate.labels)}", f"  - {body.strip()}"]


def _plan(gates: Sequence[PlannedGate], wishes: Wishes) -> list[str]:
    """How long the slowest gate will take, in labels and in days."""
    slowest = max(gates, key=lambda gate: gate.labels)
    share = wishes.weights[-1] / 100
    lines = [
        f"# Slowest gate: {slowest.spec['name']}, {_labels(slowest.labels)} at weight {wishes.weights[-1]}, if the "
        "canary is as good as its test and stable is like it.",
    ]
    if wishes.labels_per_day and math.isfinite(slowest.labels):
        days = slowest.labels / (wishes.labels_per_day * share)
        lines.append(
            f"# At {wishes.labels_per_day:g} labels a day: about {days:.1f} days per wave, after the label delay."
        )
        if days > 1:
            hours = math.ceil(2 * days * 24)
            lines.append(f"# rollout.maxDuration is 24h unless set: give it at least {hours}h, or widen the margin.")
    return lines


def _labels(count: float) -> str:
    return "out of reach" if math.isinf(count) else f"about {math.ceil(count)} canary labels"
