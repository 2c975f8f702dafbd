"""The stage of the end-to-end tests, set anew: for whoever must not count what a test before has counted."""

from __future__ import annotations

from demo import manifests, story
from demo.setup import MEMBERS
from pilotage.api.types import Outcome
from support.clouds import kubectl, until_gone


def anew(stage: story.Stage) -> None:
    """Delete the deployment with all it owns, ledgers included, and deploy v1 for the first time."""
    hub = stage.clouds["hub"]
    kubectl(hub, "delete", "mdep", manifests.NAME, "-n", manifests.NAMESPACE, "--timeout=90s")
    for name in MEMBERS:
        until_gone(stage.clouds[name], "deployments,statefulsets,services,configmaps,httproutes", manifests.NAMESPACE)
    story.apply(stage, "v1")
    story.follow(stage, story.ended(Outcome.PROMOTED), 120)
