"""What makes a revision, and what makes a rollout of it another one: two hashes over canonical JSON.

`revision_name` covers `spec.model` and `spec.server` as the user wrote them, unset fields omitted, so neither an
operator upgrade nor a new default re-rolls a model (golden hashes in the tests). `plan_hash` covers what the evidence
was gathered under: steps, gates, labelDelay, alpha, beta, minSamples.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pilotage.api.encode import model_json, server_json, step_json
from pilotage.api.types import DeploymentSpec, Model, Server

_VERSION = "1"


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _hash(value: Any) -> str:
    return hashlib.sha256(_VERSION.encode() + b"\0" + canonical(value)).hexdigest()[:10]


def revision_name(deployment: str, model: Model, server: Server) -> str:
    """`<mdep>-<hash10>`: equal for equal model and server, whatever else the spec says."""
    return f"{deployment}-{_hash({'model': model_json(model), 'server': server_json(server)})}"


def plan_hash(spec: DeploymentSpec) -> str:
    """Hash of what a rollout's evidence depends on; a change starts a new rollout of the same revision."""
    return _hash(
        {
            "steps": [step_json(step) for step in spec.rollout.steps],
            "gates": [dict(gate) for gate in spec.gates],
            "labelDelay": spec.label_delay_s,
            "alpha": spec.analysis.alpha,
            "beta": spec.analysis.beta,
            "minSamples": spec.analysis.min_samples,
        }
    )
