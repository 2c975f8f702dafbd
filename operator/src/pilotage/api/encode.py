"""Values to API objects: what we write to the hub. The other direction is `api.decode`."""

from __future__ import annotations

import math
from typing import Any

from pilotage.api import codec
from pilotage.api.names import API_VERSION
from pilotage.api.types import DeploymentStatus, Metadata, Model, ModelRevision, RevisionStatus, Server, Step


def deployment_status(status: DeploymentStatus) -> dict[str, Any]:
    """`ModelDeployment.status`, whole: a writer replaces what was there."""
    encoded: dict[str, Any] = codec.encode(status)
    encoded["observedGeneration"] = status.observed_generation
    encoded["phase"] = status.phase.value
    encoded["weight"] = status.weight
    return encoded


def revision_status(status: RevisionStatus) -> dict[str, Any]:
    """`ModelRevision.status`, whole."""
    encoded: dict[str, Any] = codec.encode(status)
    return encoded


def revision_object(revision: ModelRevision, owner: Metadata) -> dict[str, Any]:
    """The ModelRevision to create: immutable spec, owned by its ModelDeployment, status left to the subresource."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelRevision",
        "metadata": {
            "name": revision.metadata.name,
            "namespace": owner.namespace,
            "labels": dict(revision.metadata.labels),
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "ModelDeployment",
                    "name": owner.name,
                    "uid": owner.uid,
                    "controller": True,
                }
            ],
        },
        "spec": {"model": model_json(revision.model), "server": server_json(revision.server)},
    }


def model_json(model: Model) -> dict[str, Any]:
    """`spec.model` with unset fields omitted."""
    encoded: dict[str, Any] = codec.encode(model)
    return encoded


def server_json(server: Server) -> dict[str, Any]:
    """`spec.server` with unset fields omitted; what the user wrote is passed on unread."""
    encoded: dict[str, Any] = codec.encode(server)
    return encoded


def step_json(step: Step) -> dict[str, Any]:
    """One of `spec.rollout.steps`."""
    found: dict[str, Any] = {"weight": step.weight}
    if step.pause_s is not None:
        found["pause"] = {} if math.isinf(step.pause_s) else codec.format_duration(step.pause_s)
    if step.require is not None:
        found["require"] = step.require.value
    return found
