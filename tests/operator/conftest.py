"""Fixtures for the operator on real control planes; what they are made of is `support.realfleet`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from localclouds import WITH_CONTROLLERS, Clouds, Component
from support.clouds import get, install_crds, kubectl
from support.kubelet import Kubelet
from support.operators import NAMESPACE
from support.realfleet import MEMBERS, Fleet


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Started once; members are joined, no operator runs."""
    components = {"hub": WITH_CONTROLLERS, **dict.fromkeys(MEMBERS, (*WITH_CONTROLLERS, Component.FRONT))}
    with ExitStack() as stack:
        clouds = stack.enter_context(
            Clouds(tmp_path_factory.mktemp("fleet"), names=["hub", *MEMBERS], components=components)
        )
        started = Fleet(clouds)
        install_crds(started.hub)
        kubectl(started.hub, "create", "namespace", NAMESPACE)
        for name in MEMBERS:
            stack.enter_context(Kubelet(started.member(name)))
            started.join(name)
        yield started


@pytest.fixture
def models(fleet: Fleet) -> Iterator[str]:
    """A namespace of its own, on the hub and in every member; its ModelDeployment is gone afterwards."""
    name = f"models-{uuid.uuid4().hex[:8]}"
    for cloud in (fleet.hub, *(fleet.member(each) for each in MEMBERS)):
        kubectl(cloud, "create", "namespace", name)
    yield name
    found = get(fleet.hub, "mdep", "-n", name)["items"]
    for each in found:
        patch = '{"metadata": {"finalizers": null}}'  # no operator runs any more that would take it off
        kubectl(fleet.hub, "patch", "mdep", each["metadata"]["name"], "-n", name, "--type=merge", "-p", patch)
    kubectl(fleet.hub, "delete", "mdep", "--all", "-n", name)
