"""The main job, played once per session on clouds of its own; every test here looks at what it left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo import manifests, setup, story
from demo.screen import Screen
from demo.setup import MEMBERS
from localclouds import Clouds
from pilotage.api.types import Outcome
from support.audit import Use, uses
from support.clouds import kubectl, until_gone, until_seen

MORE_THAN_ARE_KEPT = 12
"""Revisions, of which the history keeps ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The main job as it went: whether its own checks were content, its files, its clouds (still running)."""

    good: bool
    said: str
    folder: Path
    clouds: Clouds
    report: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What was used over the whole life of a deployment, by the operator on the hub and in each member."""

    hub: frozenset[Use]
    members: frozenset[Use]


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("demo")
    with (folder / "said.txt").open("w") as said, Clouds(tmp_path_factory.mktemp("e2e")) as clouds:
        screen = Screen(Console(file=said, width=160, highlight=False))
        try:
            good = story.tell(clouds, screen, folder, seed=1)
        finally:
            said.flush()
        yield Played(
            good=good,
            said=(folder / "said.txt").read_text(),
            folder=folder,
            clouds=clouds,
            report=json.loads((folder / "report.json").read_text()),
        )


@pytest.fixture(scope="session")
def rights(played: Played) -> Rights:
    """The rights used from the first install to the last deletion.

    Revisions are made here until the oldest is dropped; then the deployment is deleted, and its members.
    """
    hub = played.clouds["hub"]
    for n in range(MORE_THAN_ARE_KEPT):
        env = json.dumps({"spec": {"paused": True, "server": {"env": [{"name": "N", "value": str(n)}]}}})
        kubectl(hub, "patch", "mdep", manifests.NAME, "-n", manifests.NAMESPACE, "--type=merge", "-p", env)
        until_seen(hub, manifests.NAME, manifests.NAMESPACE)
    kubectl(hub, "delete", "mdep", manifests.NAME, "-n", manifests.NAMESPACE, "--timeout=90s")
    for name in MEMBERS:
        until_gone(played.clouds[name], "deployments,statefulsets,services,configmaps,httproutes", manifests.NAMESPACE)
    kubectl(hub, "delete", "mcl", "--all", "--timeout=30s")
    operator = f"system:serviceaccount:{manifests.OPERATOR_NAMESPACE}:pilotage"
    account = f"system:serviceaccount:{manifests.NAMESPACE}:pilotage-hub"
    return Rights(
        hub=uses(hub.audit_log, operator),
        members=frozenset().union(*(uses(played.clouds[name].audit_log, account) for name in MEMBERS)),
    )


@pytest.fixture(scope="session")
def stage(played: Played, rights: Rights) -> story.Stage:
    """The clouds of the main job, emptied by `rights`, with v1 promoted anew."""
    del rights
    clouds = played.clouds
    for name in MEMBERS:
        setup.connect_member(clouds, name)
    trained = {version: played.folder / version for version in setup.VERSIONS}
    models = setup.load_bundles(trained, played.folder / "keys", clouds)
    found = story.look_at(clouds, models, Screen(), played.folder)
    story.apply(found, "v1")
    story.follow(found, story.ended(Outcome.PROMOTED), 120)
    return found
