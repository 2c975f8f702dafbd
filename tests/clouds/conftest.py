"""One cloud with controllers, node agent and gateway for all tests of those two, and a namespace for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from localclouds import WITH_CONTROLLERS, Cloud, Clouds
from localclouds.names import Component
from support.clouds import kubectl, new_namespace
from support.workloads import Namespace, register_program

NODE_AND_GATEWAY = (*WITH_CONTROLLERS, Component.NODE, Component.GATEWAY)


@pytest.fixture(scope="session")
def cloud(start_clouds: Callable[..., Clouds]) -> Cloud:
    """A cloud that runs pods and serves them."""
    return start_clouds(names=["aws"], components=NODE_AND_GATEWAY)["aws"]


@pytest.fixture(scope="session")
def image(cloud: Cloud) -> str:
    """The pinned reference of the test program."""
    return register_program(cloud)


@pytest.fixture
def space(cloud: Cloud) -> Iterator[Namespace]:
    """A namespace of this test's own. It is deleted without waiting: its pods end while other tests run."""
    namespace = Namespace(cloud, new_namespace(cloud))
    yield namespace
    kubectl(cloud, "delete", "namespace", namespace.name, "--wait=false")
