"""One cluster per test, twice: the simulator, and a real kube-apiserver that the session shares."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from localclouds import Cloud
from pilotage.kube.endpoint import Endpoint, from_kubeconfig
from support.conformance import Subject, served, simulated


@pytest.fixture(scope="session")
def real_endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """Name the session's own API server, or the cluster of the kubeconfig that KUBECONFIG_TEST names."""
    named = os.environ.get("KUBECONFIG_TEST")
    if named:
        return from_kubeconfig(yaml.safe_load(Path(named).read_text()))
    hub: Cloud = request.getfixturevalue("hub")
    return from_kubeconfig(yaml.safe_load(hub.kubeconfig.read_text()))


@pytest.fixture(params=["simulator", pytest.param("kube-apiserver", marks=pytest.mark.clouds)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Give two clients of one cluster that serves Gadgets, and a namespace of the test's own."""
    if request.param == "simulator":
        yield simulated()
    else:
        async with served(request.getfixturevalue("real_endpoint")) as real:
            yield real
