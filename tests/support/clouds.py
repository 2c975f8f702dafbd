"""Real control planes for tests, started once per session (per xdist worker) and only when a test asks.

    def test_…(hub):          etcd and API server, our CRDs installed; about three seconds, once
    def test_…(clouds):       hub, aws, gcp and azure with everything; about fifteen seconds, once
    def test_…(hub, namespace):   a namespace of its own on the hub

A test that breaks something (pauses, kills, cuts) does it in a block that mends it, such as
`with clouds["aws"].cut_off():`, or starts its own with `start_clouds`. Mark whole files that use `clouds` with
`pytest.mark.xdist_group("clouds")`, so that one worker has them all and the other needs no second set.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import yaml

from localclouds import CONTROL_PLANE, Cloud, Clouds
from support.polling import eventually

REPOSITORY = Path(__file__).resolve().parents[2]
CRDS = REPOSITORY / "crds"


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A hub's API server with our CRDs and RBAC, without controllers: what is written stays as it was written."""
    state = tmp_path_factory.mktemp("hub")
    with Clouds(state, names=["hub"], components=CONTROL_PLANE) as started:
        install_crds(started["hub"])
        yield started["hub"]


@pytest.fixture(scope="session")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clouds]:
    """The four clouds with everything in them, our CRDs on the hub."""
    with Clouds(tmp_path_factory.mktemp("clouds")) as started:
        install_crds(started["hub"])
        yield started


@pytest.fixture
def namespace(hub: Cloud) -> str:
    """The name of a new namespace on the hub, for this test alone."""
    return new_namespace(hub)


def new_namespace(cloud: Cloud) -> str:
    """Make a namespace with a name of its own and return the name."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    kubectl(cloud, "create", "namespace", name)
    return name


def install_crds(cloud: Cloud) -> None:
    """Apply crds/ and wait until the API server serves them."""
    kubectl(cloud, "apply", "--server-side", "-f", str(CRDS))
    kubectl(cloud, "wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))


def kubectl(cloud: Cloud, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl as the cloud's admin and return what it printed; raises KubectlFailed."""
    done = try_kubectl(cloud, *arguments, stdin=stdin)
    if done.returncode:
        raise KubectlFailed(f"kubectl {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def try_kubectl(cloud: Cloud, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run kubectl as the cloud's admin; for tests of refusals, which look at exit code and stderr."""
    beside = Path(sys.executable).with_name("kubectl")
    program = str(beside) if beside.exists() else which("kubectl") or "kubectl"
    command = [program, "--kubeconfig", str(cloud.kubeconfig), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120)


def apply(cloud: Cloud, *objects: dict[str, Any], namespace: str | None = None) -> None:
    """Server-side apply objects as field manager kubectl."""
    where = ("--namespace", namespace) if namespace else ()
    kubectl(cloud, "apply", "--server-side", *where, "-f", "-", stdin=yaml.safe_dump_all(objects))


def get(cloud: Cloud, *arguments: str) -> Any:
    """`kubectl get … -o yaml`, parsed."""
    return yaml.safe_load(kubectl(cloud, "get", *arguments, "-o", "yaml"))


class KubectlFailed(AssertionError):
    """kubectl ended with a non-zero exit code; the text has its stderr."""


@pytest.fixture(scope="session")
def start_clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Clouds]]:
    """A function that starts clouds of a test's own (arguments of `Clouds` but the state); all end with the session."""
    begun: list[Clouds] = []

    def start(**arguments: Any) -> Clouds:
        begun.append(Clouds(tmp_path_factory.mktemp("own"), **arguments))
        return begun[-1].start()

    yield start
    for each in begun:
        each.stop()


def until_gone(cloud: Cloud, kinds: str, namespace: str, within_s: float = 60.0) -> None:
    """Wait until nothing of Pilotage's is left in a namespace; AssertionError names what is."""
    selected = ("-n", namespace, "-l", "app.kubernetes.io/managed-by=pilotage", "-o", "name")

    def gone() -> bool:
        left = kubectl(cloud, "get", kinds, *selected)
        assert not left, f"still there in {cloud.name}: {left}"
        return True

    eventually(gone, within_s, every_s=0.5)


def until_seen(hub: Cloud, name: str, namespace: str, within_s: float = 60.0) -> None:
    """Wait until the operator has looked at the newest generation of a ModelDeployment."""

    def seen() -> bool:
        found = get(hub, "modeldeployments.pilotage.dev", name, "-n", namespace)
        looked_at, newest = found.get("status", {}).get("observedGeneration"), found["metadata"]["generation"]
        assert looked_at == newest, f"generation {newest} was not looked at, the last was {looked_at}"
        return True

    eventually(seen, within_s, every_s=0.5)
