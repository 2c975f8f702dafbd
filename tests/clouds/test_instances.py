"""Instances: side by side, one per state directory, and gone with their owner, however it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localclouds import (
    CONTROL_PLANE,
    AlreadyRunning,
    Cloud,
    Clouds,
    CloudsError,
    Component,
    NotRunning,
    StartFailed,
    UnknownName,
    addresses,
    procfs,
)
from localclouds.state import read_facts
from support.clouds import kubectl
from support.polling import eventually

OWNER = """
import sys
from localclouds import CONTROL_PLANE, Clouds
clouds = Clouds(sys.argv[1], names=["hub"], components=CONTROL_PLANE).start()
if "detach" in sys.argv:
    clouds.detach()
else:
    print("up", flush=True)
    sys.stdin.read()
"""


@contextmanager
def owner_of(state: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that has started a hub in `state` and waits."""
    command = [sys.executable, "-c", OWNER, str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        try:
            yield owner
        finally:
            owner.kill()


def instance_of(state: Path) -> tuple[str, int]:
    """The id of the instance in `state` and its supervisor's pid."""
    record = json.loads((state / "instance.json").read_text())
    return record["instance"], record["supervisor"]["pid"]


def everything_is_gone(state: Path, instance: str, supervisor: int) -> bool:
    alive = procfs.marked(instance)
    assert alive == [], f"still alive: {alive}"
    assert procfs.start_time(supervisor) is None, "the supervisor is still alive"
    with pytest.raises(NotRunning):
        Clouds.attach(state)
    return True


def test_two_instances_run_side_by_side(start_clouds: Callable[..., Clouds]) -> None:
    first = start_clouds(names=["hub"], components=CONTROL_PLANE)
    second = start_clouds(names=["hub"], components=CONTROL_PLANE)

    kubectl(first["hub"], "create", "namespace", "only-here")

    assert first["hub"].api_server != second["hub"].api_server
    assert first["hub"].facts.pod_cidr != second["hub"].facts.pod_cidr
    assert first["hub"].facts.service_cidr != second["hub"].facts.service_cidr
    assert "only-here" not in kubectl(second["hub"], "get", "namespaces")
    first.stop()
    assert "default" in kubectl(second["hub"], "get", "namespaces")
    second.stop()


def test_a_state_directory_has_one_owner(hub: Cloud) -> None:
    instance, _ = instance_of(hub.state)

    with pytest.raises(AlreadyRunning, match=f"clouds are running in {hub.state}; stop them with"):
        Clouds(hub.state, names=["aws"], components=CONTROL_PLANE).start()

    assert instance_of(hub.state)[0] == instance
    assert "default" in kubectl(hub, "get", "namespaces")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_everything_dies_with_its_owner(tmp_path: Path, how: signal.Signals) -> None:
    with owner_of(tmp_path) as owner:
        instance, supervisor = instance_of(tmp_path)
        claimed = int(read_facts(tmp_path / "hub").address.split(".")[1])
        assert len(procfs.marked(instance)) == 2

        owner.send_signal(how)

        eventually(lambda: everything_is_gone(tmp_path, instance, supervisor))
    claim = addresses.claim(claimed - addresses.FIRST_RANGE)
    claim.release()
    assert claim.range == claimed, "its addresses were not given back"


def test_an_owner_interrupted_while_starting_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as owner:
        eventually(lambda: (tmp_path / "instance.json").exists(), within_s=60)
        instance, supervisor = instance_of(tmp_path)
        eventually(lambda: procfs.marked(instance), within_s=60)

        owner.send_signal(signal.SIGINT)

        assert owner.wait(60) != 0
    assert everything_is_gone(tmp_path, instance, supervisor)


def test_everything_dies_with_the_supervisor(tmp_path: Path) -> None:
    with owner_of(tmp_path):
        instance, supervisor = instance_of(tmp_path)

        os.kill(supervisor, signal.SIGKILL)

        eventually(lambda: procfs.marked(instance) == [])


def test_what_a_killed_supervisor_left_behind_is_swept_at_the_next_start(tmp_path: Path) -> None:
    with owner_of(tmp_path):
        instance, supervisor = instance_of(tmp_path)
        os.kill(supervisor, signal.SIGKILL)
    (tmp_path / "hub" / "node").mkdir()
    environment = {**os.environ, "PILOTAGE_CLOUDS_INSTANCE": instance}
    lost = [sys.executable, "-S", "-c", "import signal; signal.pause()"]
    with (
        subprocess.Popen(lost, env=environment, start_new_session=True) as survivor,
        Clouds(tmp_path, names=["hub"], components=CONTROL_PLANE) as clouds,
    ):
        assert survivor.wait(5) == -signal.SIGKILL
        assert instance_of(tmp_path)[0] != instance
        assert not (clouds["hub"].facts.path / "node").exists()
        assert "default" in kubectl(clouds["hub"], "get", "namespaces")


def test_a_detached_instance_outlives_its_owner_and_can_be_stopped_by_anybody(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", OWNER, str(tmp_path), "detach"], check=True, timeout=120)

    found = Clouds.attach(tmp_path)

    instance, supervisor = instance_of(tmp_path)
    assert list(found) == ["hub"]
    assert "default" in kubectl(found["hub"], "get", "namespaces")
    found.stop()
    eventually(lambda: everything_is_gone(tmp_path, instance, supervisor))


def test_stopping_leaves_the_logs_and_nothing_else(tmp_path: Path) -> None:
    with Clouds(tmp_path, names=["hub"], components=CONTROL_PLANE):
        pass

    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "instance.json", "lock", "supervisor.log"]
    assert sorted(path.name for path in (tmp_path / "hub").iterdir()) == ["audit.log", "logs"]


@pytest.mark.parametrize("name", ["hub", "oci"])
def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("dear")

    with pytest.raises(StartFailed, match=f"{name} exists and was not made by local clouds; move it away"):
        Clouds(tmp_path, names=["hub"], components=CONTROL_PLANE).start()

    assert (tmp_path / name / "thesis.txt").read_text() == "dear"


def test_a_component_that_cannot_start_is_named_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = tmp_path / "bin"
    ready.mkdir()
    for program, words in (("etcd", "no space left on device"), ("kube-apiserver", "never started")):
        (ready / program).write_text(f"#!/bin/sh\necho {words}\nexit 1\n")
        (ready / program).chmod(0o755)
    monkeypatch.setenv("PILOTAGE_BIN_DIR", str(ready))
    state = tmp_path / "state"

    with pytest.raises(StartFailed, match=r"(?s)hub/etcd is not ready .*no space left on device"):
        Clouds(state, names=["hub"], components=CONTROL_PLANE).start()

    with pytest.raises(NotRunning):
        Clouds.attach(state)


@pytest.mark.parametrize("name", ["", "AWS", "a_b", "-a", "oci", "x" * 33])
def test_names_that_cannot_be_clouds_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CloudsError, match="use lower-case letters, digits and dashes"):
        Clouds(tmp_path, names=[name])


def test_a_cloud_without_an_api_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CloudsError, match="cloud hub: components must include kube-apiserver"):
        Clouds(tmp_path, names=["hub"], components=[Component.ETCD])


def test_asking_for_a_cloud_that_is_not_there_names_those_that_are(hub: Cloud) -> None:
    clouds = Clouds.attach(hub.state)

    with pytest.raises(UnknownName, match=r"there is no cloud aws in .*; there are: hub"):
        clouds["aws"]
    assert "aws" not in clouds
