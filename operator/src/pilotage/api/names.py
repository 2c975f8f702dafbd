"""Names that other programs see: API group, labels, annotations, finalizer, and the names of member objects.

A name here is a promise: changing one orphans what is out there. Nothing else in the code spells them out.
"""

from __future__ import annotations

GROUP = "pilotage.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FIELD_MANAGER = "pilotage"
FINALIZER = f"{GROUP}/cleanup"

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "pilotage"
MODEL_LABEL = f"{GROUP}/model"
REVISION_LABEL = f"{GROUP}/revision"
ORIGIN_LABEL = f"{GROUP}/origin"
ARM_LABEL = f"{GROUP}/arm"
"""On every server pod (value `server`): what a Service selects when both arms of a canary should match."""

ABORT = f"{GROUP}/abort"
PROMOTE = f"{GROUP}/promote"
PROMOTE_FULL = f"{GROUP}/promote-full"
RETRY = f"{GROUP}/retry"
RETRY_FRESH = f"{GROUP}/retry-fresh"

SERVER_PORT = 8080
ADMIN_PORT = 8081
COLLECTOR_PORT = 8090
COLLECTOR_ADMIN_PORT = 8091

FEEDBACK_KEY_SECRET = "pilotage-feedback-key"  # noqa: S105 - the name of a Secret, not one
BUNDLE_KEYS_CONFIGMAP = "pilotage-bundle-keys"


def origin(hub_uid: str, deployment_uid: str) -> str:
    """Value of the origin label: which hub and which ModelDeployment an object belongs to (≤ 63 characters)."""
    return f"{hub_uid[:8]}.{deployment_uid}"


def collector_name(deployment: str) -> str:
    """Name of the collector's StatefulSet, Service and ConfigMap."""
    return f"{deployment}-collector"


def stable_service(deployment: str) -> str:
    """Service of the stable arm in Gateway mode."""
    return f"{deployment}-stable"


def canary_service(deployment: str) -> str:
    """Service of the canary arm in Gateway mode."""
    return f"{deployment}-canary"
