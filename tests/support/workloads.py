"""Pods, Services and requests for tests against a cloud with a node agent: valid builders, and waits on facts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from localclouds import Cloud
from localclouds.images import register
from support import polling
from support.clouds import try_kubectl

Json = dict[str, Any]
T = TypeVar("T")

PROGRAM = Path(__file__).with_name("podprogram.py")
IMAGE = "test/program:1"


def register_program(cloud: Cloud) -> str:
    """Register the test program with the cloud's instance and return its pinned reference."""
    return register(Path(cloud.facts.dir).parent, IMAGE, ("python", str(PROGRAM)), (PROGRAM,))


def eventually(look: Callable[[], T | None], what: str, within_s: float = 20.0) -> T:
    """Wait until `look` returns something true and return that; fail with what was awaited and seen last."""
    try:
        found = polling.eventually(look, within_s=within_s)
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from error
    assert found is not None
    return found


def a_container(image: str, name: str = "main", *, env: dict[str, str] | None = None, **fields: Any) -> Json:
    """A container with the test program, its address in POD_IP and its pod's name in POD_NAME."""
    return {
        "name": name,
        "image": image,
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            *({"name": key, "value": value} for key, value in (env or {}).items()),
        ],
        "ports": [{"name": "http", "containerPort": 8080}],
        **fields,
    }


def a_pod(name: str, *containers: Json, labels: dict[str, str] | None = None, **spec: Any) -> Json:
    """A pod that is deleted quickly and has no token, unless said otherwise."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": name}},
        "spec": {
            "containers": list(containers),
            "terminationGracePeriodSeconds": 5,
            "automountServiceAccountToken": False,
            **spec,
        },
    }


def a_deployment(name: str, replicas: int, template: Json, **strategy: int) -> Json:
    """A Deployment of a pod from `a_pod`, rolling without ever being short of a replica."""
    rolling = {"maxSurge": 1, "maxUnavailable": 0, **strategy}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": template["metadata"]["labels"]},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "template": {"metadata": {"labels": template["metadata"]["labels"]}, "spec": template["spec"]},
        },
    }


def a_service(name: str, selector: dict[str, str], port: int = 8080) -> Json:
    """A Service for pods of the test program."""
    ports = [{"name": "http", "port": port, "targetPort": "http"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector, "ports": ports},
    }


def ready_by_http(path: str = "/health", **fields: Any) -> Json:
    """A readiness probe that asks every second."""
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, "failureThreshold": 1, **fields}


class Namespace:
    """One namespace of a cloud, as tests look at it."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self.cloud = cloud
        self.name = name

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace and return its output; fails with its stderr."""
        done = try_kubectl(self.cloud, "--namespace", self.name, *arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, *objects: Json) -> None:
        """Apply objects."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(items))

    def find(self, kind: str, name: str) -> Json | None:
        """An object, or None."""
        text = self.kubectl("get", kind, name, "--ignore-not-found", "-o", "json")
        found: Json | None = json.loads(text) if text else None
        return found

    def pods(self, selector: str = "") -> list[Json]:
        """The namespace's pods, by name."""
        found: list[Json] = json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        return found

    def container(self, pod: str, name: str = "main") -> Json:
        """The status of a pod's container, {} while there is none."""
        found = self.find("pod", pod) or {}
        statuses = found.get("status", {}).get("containerStatuses") or []
        return next((status for status in statuses if status["name"] == name), {})

    def await_container(self, pod: str, check: Callable[[Json], object], what: str, within_s: float = 20) -> Json:
        """Wait until a container's status fulfils the check, and return it."""
        return eventually(
            lambda: (lambda status: status if status and check(status) else None)(self.container(pod)),
            f"container of {pod}: {what}",
            within_s,
        )

    def await_ready(self, pod: str, within_s: float = 20) -> Json:
        """Wait until a pod is Ready and return it."""
        return eventually(lambda: self._if_ready(pod), f"pod {pod} is ready", within_s)

    def await_gone(self, kind: str, name: str, within_s: float = 20) -> None:
        """Wait until an object is gone."""
        eventually(lambda: self.find(kind, name) is None, f"{kind} {name} is gone", within_s)

    def ask(self, pod: str, path: str) -> str:
        """What the test program in a pod answers, as soon as it listens; fails unless it is 200."""
        found = self.find("pod", pod)
        assert found is not None
        url = f"http://{found['status']['podIP']}:8080{path}"
        code, text = eventually(lambda: (lambda got: got if got[0] else None)(fetch(url)), f"{pod} answers")
        assert code == 200, text
        return text

    def log(self, pod: str, container: str = "main") -> str:
        """Everything a container wrote."""
        path = Path(self.cloud.facts.dir) / "pods" / f"{self.name}_{pod}" / f"{container}.log"
        return path.read_text() if path.exists() else ""

    def _if_ready(self, name: str) -> Json | None:
        pod = self.find("pod", name)
        conditions = (pod or {}).get("status", {}).get("conditions") or []
        held = {condition["type"] for condition in conditions if condition["status"] == "True"}
        return pod if "Ready" in held else None


def fetch(url: str, *, host: str | None = None, timeout_s: float = 10) -> tuple[int, str]:
    """GET a URL: status code and body; code 0 when nothing answers."""
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)
