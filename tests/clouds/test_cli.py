"""The command `localclouds`: results on stdout, one message and an exit code when something is wrong."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localclouds import CONTROL_PLANE, Cloud, Clouds, Component, NotRunning, procfs
from localclouds.table import components_table
from support.clouds import kubectl, try_kubectl

COMMAND = Path(sys.executable).with_name("localclouds")


def localclouds(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(COMMAND), *words], capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def running(start_clouds: Callable[..., Clouds]) -> Iterator[Clouds]:
    started = start_clouds(names=["hub"], components=(*CONTROL_PLANE, Component.FRONT))
    yield started
    started.stop()


def test_status_shows_every_component(running: Clouds) -> None:
    table = localclouds("status", "--state", str(running.state))
    rows = json.loads(localclouds("status", "-o", "json", "--state", str(running.state)).stdout)

    header, *lines = table.stdout.splitlines()
    assert header.split() == ["CLOUD", "COMPONENT", "STATE", "PID", "AGE", "RESTARTS", "ADDRESS"]
    assert [line.split()[:3] for line in lines] == [
        ["hub", "etcd", "running"],
        ["hub", "kube-apiserver", "running"],
        ["hub", "front", "running"],
    ]
    assert [row["pid"] for row in rows["hub"]] == [running["hub"].pid(row["component"]) for row in rows["hub"]]


def test_the_table_is_aligned_and_says_why_a_component_was_restarted() -> None:
    etcd: dict[str, Any] = {
        "component": "etcd",
        "phase": "running",
        "pid": 71,
        "since": 1000.0,
        "restarts": 0,
        "last_exit": None,
    }
    api = {"component": "kube-apiserver", "phase": "backing off", "pid": None, "since": None, "restarts": 3}
    rows = {
        "hub": [
            {**etcd, "restarts": 0, "last_exit": None, "address": "http://127.16.0.1:2379"},
            {**api, "last_exit": -9, "address": ""},
        ]
    }

    assert components_table(rows, now=1300.0) == (
        "CLOUD  COMPONENT       STATE        PID  AGE  RESTARTS     ADDRESS\n"
        "hub    etcd            running      71   5m   0            http://127.16.0.1:2379\n"
        "hub    kube-apiserver  backing off  -    -    3 (exit -9)  -"
    )


def test_kubeconfig_prints_a_path_that_kubectl_takes(running: Clouds) -> None:
    whole = localclouds("kubeconfig", "--state", str(running.state)).stdout.strip()
    single = localclouds("kubeconfig", "hub", "--state", str(running.state)).stdout.strip()

    assert Path(whole) == running.kubeconfig
    assert Path(single) == running["hub"].kubeconfig
    assert kubectl(running["hub"], "config", "get-contexts", "-o", "name", "--kubeconfig", whole).split() == ["hub"]


def test_faults_from_the_command_line_are_real(running: Clouds) -> None:
    hub, where = running["hub"], ("--state", str(running.state))

    assert localclouds("cut", "hub", "--refuse", *where).returncode == 0
    assert "refused" in try_kubectl(hub, "get", "namespaces").stderr
    assert localclouds("mend", "hub", *where).returncode == 0
    assert "default" in kubectl(hub, "get", "namespaces")

    assert localclouds("pause", "hub", "etcd", *where).returncode == 0
    assert _phase(hub, "etcd") == "paused"
    assert localclouds("resume", "hub", "etcd", *where).returncode == 0
    assert _phase(hub, "etcd") == "running"

    before = hub.pid("etcd")
    assert localclouds("kill", "hub", "etcd", *where).returncode == 0
    assert localclouds("restart", "hub", "etcd", *where).returncode == 0
    assert hub.pid("etcd") not in (before, None)


def test_logs_print_the_last_lines_of_one_component_or_all(running: Clouds) -> None:
    where = ("--state", str(running.state))

    one = localclouds("logs", "hub", "kube-apiserver", "-n", "3", *where).stdout
    everything = localclouds("logs", "hub", *where).stdout

    assert len(one.splitlines()) == 3
    assert everything.count("==> ") == 3
    unknown = localclouds("logs", "hub", "kubelet", *where)
    assert unknown.returncode == 2
    assert "hub has no kubelet; it has etcd, kube-apiserver, front" in " ".join(unknown.stderr.split())


def test_an_unknown_cloud_is_a_failure_that_names_the_known_ones(running: Clouds) -> None:
    answer = localclouds("pause", "aws", "--state", str(running.state))

    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr == f"localclouds: there is no cloud aws in {running.state}; there are: hub\n"


@pytest.mark.parametrize("words", [("status",), ("kubeconfig",), ("kill", "aws"), ("load", ".")], ids=" ".join)
def test_nothing_running_is_told_with_the_remedy(tmp_path: Path, words: tuple[str, ...]) -> None:
    answer = localclouds(*words, "--state", str(tmp_path))

    assert answer.returncode == 1
    assert answer.stderr == (
        f"localclouds: no clouds are running in {tmp_path}; start them with `localclouds up --state {tmp_path}`\n"
    )


@pytest.mark.parametrize(
    "words", [("pause",), ("up", "--scrape-interval", "0"), ("nonsense",), ("status", "-o", "xml")]
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, words: tuple[str, ...]) -> None:
    answer = subprocess.run(
        [str(COMMAND), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PILOTAGE_CLOUDS_STATE": str(tmp_path)},
    )

    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr


def test_down_without_up_is_no_failure(tmp_path: Path) -> None:
    answer = localclouds("down", "--state", str(tmp_path))

    assert answer.returncode == 0
    assert answer.stderr == f"nothing is running in {tmp_path}\n"


def test_help_teaches_the_way_around() -> None:
    text = " ".join(localclouds("--help").stdout.split())

    assert "`localclouds up`" in text
    for command in ("up", "down", "status", "kubeconfig", "logs", "pause", "resume", "kill", "restart", "cut", "mend"):
        assert f" {command} " in text


def test_up_stays_until_down(tmp_path: Path) -> None:
    up = localclouds("up", "--clouds", "hub", "--state", str(tmp_path))

    assert up.returncode == 0, up.stderr
    assert f'export KUBECONFIG="{tmp_path}/kubeconfig"' in up.stdout
    instance = json.loads((tmp_path / "instance.json").read_text())["instance"]
    assert procfs.marked(instance)
    again = localclouds("up", "--clouds", "hub", "--state", str(tmp_path))
    assert again.returncode == 1
    assert again.stderr.startswith(f"localclouds: clouds are running in {tmp_path}; stop them with")

    assert localclouds("down", "--state", str(tmp_path)).returncode == 0

    assert procfs.marked(instance) == []


def test_up_in_the_foreground_takes_all_down_on_ctrl_c(tmp_path: Path) -> None:
    command = [str(COMMAND), "up", "--foreground", "--clouds", "hub", "--state", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        assert up.stdout.readline().startswith("hub  api https://127.")
        instance = json.loads((tmp_path / "instance.json").read_text())["instance"]

        up.send_signal(signal.SIGINT)

        assert up.wait(30) == 0
    assert procfs.marked(instance) == []
    with pytest.raises(NotRunning):
        Clouds.attach(tmp_path)


def _phase(cloud: Cloud, component: str) -> str:
    phase: str = next(row["phase"] for row in cloud.status() if row["component"] == component)
    return phase
