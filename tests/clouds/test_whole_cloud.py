"""A cloud with everything: its pods are scraped, it lives on while cut off, and its pods die with its owner."""

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localclouds import ALL_COMPONENTS, Cloud, Clouds, images, procfs
from support.clouds import apply, new_namespace
from support.polling import eventually
from support.workloads import Json, a_container, a_pod, register_program

pytestmark = pytest.mark.xdist_group("node")

METRICS_PROGRAM = Path(__file__).parents[1] / "support" / "metricsprogram.py"


@pytest.fixture(scope="module")
def gcp(start_clouds: Callable[..., Clouds]) -> Iterator[Cloud]:
    started = start_clouds(names=["gcp"])
    yield started["gcp"]
    started.stop()


@pytest.fixture(scope="module")
def scraped(gcp: Cloud) -> tuple[str, str]:
    """A running pod that asks to be scraped; its namespace and name."""
    image = images.register(gcp.state, "test/metrics:1", ("python", str(METRICS_PROGRAM)), (METRICS_PROGRAM,))
    namespace = new_namespace(gcp)
    ports = [{"name": name, "containerPort": port} for name, port in (("admin", 9000), ("unused", 9001))]
    pod = a_pod("numbers", a_container(image, ports=ports))
    apply(gcp, with_scrape(pod, port="9000", path="/numbers"), namespace=namespace)
    return namespace, "numbers"


def with_scrape(pod: Json, port: str, path: str) -> Json:
    wish = {"prometheus.io/scrape": "true", "prometheus.io/port": port, "prometheus.io/path": path}
    return {**pod, "metadata": {**pod["metadata"], "annotations": wish}}


def query(prometheus: str, text: str) -> list[dict[str, Any]]:
    url = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
    with urllib.request.urlopen(url, timeout=5) as response:
        found: list[dict[str, Any]] = json.load(response)["data"]["result"]
    return found


def test_every_component_of_a_whole_cloud_runs(gcp: Cloud) -> None:
    assert {row["component"]: row["phase"] for row in gcp.status()} == dict.fromkeys(ALL_COMPONENTS, "running")


def test_a_pod_that_asks_is_scraped_once_with_its_own_labels_kept(gcp: Cloud, scraped: tuple[str, str]) -> None:
    namespace, pod = scraped

    (series,) = eventually(lambda: query(gcp.prometheus_url, 'model_rows_total{model="digits"}'), within_s=30)

    address = series["metric"].pop("instance")
    assert address.endswith(":9000")
    assert series["metric"] == {
        "__name__": "model_rows_total",
        "job": "pods",
        "namespace": namespace,
        "pod": pod,
        "model": "digits",
        "revision": "digits-0a1b2c3d4e",
        "exported_namespace": "claimed",
    }
    assert series["value"][1] == "7"


def test_scrapes_go_on_every_second_while_the_cloud_is_cut_off(gcp: Cloud, scraped: tuple[str, str]) -> None:
    eventually(lambda: query(gcp.facts.prometheus, "model_rows_total"), within_s=30)

    def samples_since(begin: float) -> int:
        (series,) = query(gcp.facts.prometheus, "model_rows_total[1m]")
        return sum(at > begin for at, _ in series["values"])

    with gcp.cut_off():
        begin = time.time()
        eventually(lambda: samples_since(begin) >= 3, within_s=15)


def test_the_gateway_is_scraped_too(gcp: Cloud) -> None:
    assert eventually(lambda: query(gcp.prometheus_url, 'up{job="gateway"} == 1'), within_s=15)


OWNER = """
import sys
from localclouds import Clouds
with Clouds(sys.argv[1], names=["gcp"]):
    print("up", flush=True)
    sys.stdin.read()
"""


def test_pods_die_with_the_owner_of_the_instance(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        cloud = Clouds.attach(tmp_path)["gcp"]
        apply(cloud, a_pod("web", a_container(register_program(cloud))), namespace=new_namespace(cloud))
        program = b"podprogram.py"
        eventually(lambda: pods_of(cloud, program), within_s=30)

        owner.kill()

    instance = cloud.facts.instance
    eventually(lambda: procfs.marked(instance) == [], within_s=15)


def pods_of(cloud: Cloud, program: bytes) -> list[int]:
    """Pids of the instance whose command line names the program."""
    return [pid for pid in procfs.marked(cloud.facts.instance) if program in _command_line(pid)]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
