"""Pods of a real control plane, run by the node agent."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from localclouds import Cloud
from localclouds.images import register
from support.workloads import (
    PROGRAM,
    Json,
    Namespace,
    a_container,
    a_deployment,
    a_pod,
    a_service,
    eventually,
    fetch,
    ready_by_http,
)

pytestmark = pytest.mark.xdist_group("node")


def test_a_deployment_becomes_ready_and_rolls(space: Namespace, image: str) -> None:
    template = a_pod("web", a_container(image, readinessProbe=ready_by_http()))
    space.apply(a_deployment("web", 3, template))
    space.kubectl("rollout", "status", "deployment/web", "--timeout=30s")

    space.apply(a_deployment("web", 3, a_pod("web", a_container(image, env={"NEW": "1"}))))
    space.kubectl("rollout", "status", "deployment/web", "--timeout=30s")

    eventually(lambda: len(space.pods("app=web")) == 3, "only new pods are left")
    assert all("NEW" in str(pod["spec"]) for pod in space.pods("app=web"))
    addresses = {pod["status"]["podIP"] for pod in space.pods("app=web")}
    assert len(addresses) == 3


def test_a_statefulset_pod_keeps_its_name_and_has_its_hostname(space: Namespace, image: str) -> None:
    template = a_pod("store", a_container(image))
    space.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "store"},
            "spec": {
                "serviceName": "store",
                "selector": {"matchLabels": {"app": "store"}},
                "template": {"metadata": {"labels": {"app": "store"}}, "spec": template["spec"]},
            },
        }
    )
    first = space.await_ready("store-0")
    assert json.loads(space.ask("store-0", "/env"))["HOSTNAME"] == "store-0"

    space.kubectl("delete", "pod", "store-0", "--wait=false")

    def is_another() -> bool:
        pod = space._if_ready("store-0")
        return pod is not None and pod["metadata"]["uid"] != first["metadata"]["uid"]

    eventually(is_another, "store-0 is there again, as a new pod")


def test_variables_come_from_services_objects_and_the_pod_itself(space: Namespace, image: str) -> None:
    space.kubectl("create", "configmap", "settings", "--from-literal=COLOUR=blue", "--from-literal=SIZE=9")
    space.kubectl("create", "secret", "generic", "keys", "--from-literal=key=hush")
    space.apply(a_service("digits-collector", {"app": "nothing"}, 8090))
    container = a_container(image, envFrom=[{"configMapRef": {"name": "settings"}, "prefix": "MY_"}])
    container["env"] += [
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
        {"name": "ABSENT", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "no", "optional": True}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "TIER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['tier']"}}},
        {"name": "URL", "value": "http://$(POD_IP):8080/$$(POD_IP)/$(UNKNOWN)"},
    ]
    space.apply(a_pod("env", container, labels={"tier": "gold"}))
    pod = space.await_ready("env")
    service = space.find("service", "digits-collector")
    assert service is not None

    env = json.loads(space.ask("env", "/env"))

    ip = pod["status"]["podIP"]
    assert env["POD_IP"] == ip
    assert env["URL"] == f"http://{ip}:8080/$(POD_IP)/$(UNKNOWN)"
    assert (env["MY_COLOUR"], env["MY_SIZE"], env["KEY"]) == ("blue", "9", "hush")
    assert (env["NODE"], env["TIER"]) == (space.cloud.facts.node_name, "gold")
    assert "ABSENT" not in env
    assert env["DIGITS_COLLECTOR_SERVICE_HOST"] == service["spec"]["clusterIP"]
    assert env["DIGITS_COLLECTOR_SERVICE_PORT"] == env["DIGITS_COLLECTOR_SERVICE_PORT_HTTP"] == "8090"
    where = f"https://{env['KUBERNETES_SERVICE_HOST']}:{env['KUBERNETES_SERVICE_PORT']}"
    assert where == space.cloud.facts.api_server


def test_arguments_expand_variables(space: Namespace, image: str) -> None:
    command = ["sh", "-c", 'echo "$0 $1"; exec sleep 100', "$(POD_NAME)", "$$(POD_NAME)"]
    space.apply(a_pod("args", a_container(image, command=command)))
    space.await_ready("args")
    assert eventually(lambda: space.log("args"), "the log has a line") == "args $(POD_NAME)\n"


def test_a_missing_object_is_named_and_awaited(space: Namespace, image: str) -> None:
    volume = {"name": "late", "configMap": {"name": "late"}}
    container = a_container(image, volumeMounts=[{"name": "late", "mountPath": "/late"}])
    space.apply(a_pod("waits", container, volumes=[volume]))
    waiting = space.await_container("waits", lambda status: "late" in str(status), "says what is missing")
    assert 'configmap "late" not found' in waiting["state"]["waiting"]["message"]

    space.kubectl("create", "configmap", "late", "--from-literal=a=b")
    space.await_ready("waits")
    assert space.ask("waits", "/file?/late/a") == "b"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("test/program:1@sha256:" + "0" * 64, "has digest sha256:"),
        ("registry.example.com/nobody:1", "no such program"),
    ],
    ids=["wrong digest", "unknown image"],
)
def test_an_image_that_is_not_what_was_asked_for_never_runs(
    space: Namespace, image: str, reference: str, says: str
) -> None:
    space.apply(a_pod("wrong", a_container(reference)))
    status = space.await_container("wrong", lambda s: "ImagePullBackOff" in str(s), "image is refused")
    assert says in status["state"]["waiting"]["message"]
    assert status["restartCount"] == 0
    assert space.log("wrong") == ""


def test_an_image_that_appears_later_is_run(space: Namespace, cloud: Cloud) -> None:
    name = f"test/late-{space.name}:1"
    space.apply(a_pod("later", a_container(name)))
    space.await_container("later", lambda s: "ErrImagePull" in str(s) or "BackOff" in str(s), "is refused")
    reference = register(Path(cloud.facts.dir).parent, name, ("python", str(PROGRAM)), (PROGRAM,))
    space.await_ready("later")
    assert space.container("later")["imageID"] == reference.replace(":1@", "@")


def test_readiness_follows_the_probe(space: Namespace, image: str) -> None:
    space.apply(a_pod("moody", a_container(image, readinessProbe=ready_by_http())))
    space.await_ready("moody")
    space.ask("moody", "/ready?no")
    eventually(lambda: space._if_ready("moody") is None, "the pod is not ready")
    assert space.container("moody")["restartCount"] == 0
    space.ask("moody", "/ready?yes")
    space.await_ready("moody")


def test_what_others_write_into_a_status_is_put_right(space: Namespace, image: str) -> None:
    """The node controller marks the pods of a node unready when it misses its lease."""
    space.apply(a_pod("marked", a_container(image)))
    space.await_ready("marked")
    wrong = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    space.kubectl("patch", "pod", "marked", "--subresource=status", "-p", json.dumps(wrong))
    space.await_ready("marked")


def test_a_startup_probe_holds_back_the_others(space: Namespace, image: str) -> None:
    started = {"exec": {"command": ["test", "-e", "/go/on"]}, "periodSeconds": 1, "failureThreshold": 60}
    container = a_container(
        image,
        startupProbe=started,
        livenessProbe={"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 1},
        volumeMounts=[{"name": "go", "mountPath": "/go"}],
    )
    space.apply(a_pod("slow", container, volumes=[{"name": "go", "emptyDir": {}}]))
    space.await_container("slow", lambda s: "running" in s["state"], "runs")
    eventually(lambda: "Startup probe failed" in space.kubectl("get", "events"), "the probe has failed")
    status = space.container("slow")
    assert (status["started"], status["ready"], status["restartCount"]) == (False, False, 0)

    space.ask("slow", "/write?/go/on=1")
    # Now the liveness probe, which can never succeed, is asked at last.
    space.await_container("slow", lambda s: s["restartCount"] >= 1, "is restarted")


def test_a_failing_liveness_probe_restarts_the_container(space: Namespace, image: str) -> None:
    alive = ready_by_http(failureThreshold=2)
    space.apply(a_pod("sick", a_container(image, livenessProbe=alive)))
    space.await_ready("sick")
    space.ask("sick", "/ready?no")
    status = space.await_container("sick", lambda s: s["restartCount"] >= 1 and s["ready"], "is back")
    assert status["lastState"]["terminated"]["exitCode"] == 0

    def said() -> list[str]:
        # Only its own words: asyncio may complain about a connection that was open when it left.
        return [line for line in space.log("sick").splitlines() if line in ("serving", "leaving")]

    # A machine short of breath may fail a probe once more; how it began stays the same.
    eventually(lambda: said()[:3] == ["serving", "leaving", "serving"], "left politely and serves again")


def test_a_crashing_container_waits_longer_each_time(space: Namespace, image: str) -> None:
    space.apply(a_pod("crash", a_container(image, env={"FAIL": "3"})))
    status = space.await_container("crash", lambda s: s["restartCount"] >= 3, "has crashed often")
    assert status["lastState"]["terminated"]["exitCode"] == 3
    status = space.await_container("crash", lambda s: "waiting" in s["state"], "waits")
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert "back-off 4s" in space.kubectl("get", "events") or "back-off 2s" in space.kubectl("get", "events")


@pytest.mark.parametrize(("code", "phase"), [("0", "Succeeded"), ("4", "Failed")])
def test_a_pod_that_never_restarts_ends(space: Namespace, image: str, code: str, phase: str) -> None:
    container = a_container(image, command=["sh", "-c", f"exit {code}"])
    space.apply(a_pod("once", container, restartPolicy="Never"))
    pod = eventually(
        lambda: (lambda p: p if p and p["status"].get("phase") == phase else None)(space.find("pod", "once")),
        f"the pod has {phase}",
    )
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_init_containers_run_first_and_in_order(space: Namespace, image: str) -> None:
    mounts = [{"name": "shared", "mountPath": "/shared"}]

    def step(number: int) -> Json:
        command = ["sh", "-c", f"echo {number} >> /shared/steps"]
        return a_container(image, f"step-{number}", command=command, volumeMounts=mounts)

    space.apply(
        a_pod(
            "steps",
            a_container(image, volumeMounts=mounts),
            initContainers=[step(1), step(2)],
            volumes=[{"name": "shared", "emptyDir": {}}],
        )
    )
    space.await_ready("steps")
    assert space.ask("steps", "/file?/shared/steps") == "1\n2\n"


def test_containers_of_a_pod_share_address_and_volumes(space: Namespace, image: str) -> None:
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    space.apply(
        a_pod(
            "pair",
            a_container(image, volumeMounts=mounts),
            a_container(image, "other", env={"PORT": "8090"}, volumeMounts=mounts, ports=[]),
            volumes=[{"name": "shared", "emptyDir": {}}],
        )
    )
    pod = space.await_ready("pair")
    space.ask("pair", "/write?/shared/note=hello")
    other = f"http://{pod['status']['podIP']}:8090/file?/shared/note"
    assert eventually(lambda: (lambda got: got if got[0] else None)(fetch(other)), "it answers") == (200, "hello")


@pytest.mark.parametrize("policy", ["File", "FallbackToLogsOnError"])
def test_a_container_leaves_a_message(space: Namespace, image: str, policy: str) -> None:
    env = {"FAIL": "7", "SAY": "the bundle is not signed"}
    if policy == "File":
        env["MESSAGE_FILE"] = "/dev/termination-log"
    container = a_container(image, env=env, terminationMessagePolicy=policy)
    space.apply(a_pod("last-words", container, restartPolicy="Never"))
    status = space.await_container("last-words", lambda s: "terminated" in s["state"], "has ended")
    ended = status["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (7, "Error")
    assert ended["message"].strip() == "the bundle is not signed"


def test_a_command_that_is_not_there_is_reported(space: Namespace, image: str) -> None:
    space.apply(a_pod("typo", a_container(image, command=["pilotage-servr"]), restartPolicy="Never"))
    status = space.await_container("typo", lambda s: "terminated" in s["state"], "could not start")
    ended = status["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 127)
    assert "pilotage-servr: command not found" in ended["message"]


def test_deletion_runs_the_hook_then_sigterm_within_the_grace_period(space: Namespace, image: str) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /shared/order; sleep 1"]}}}
    container = a_container(image, lifecycle=hook, volumeMounts=[{"name": "shared", "mountPath": "/shared"}])
    space.apply(a_pod("polite", container, volumes=[{"name": "shared", "emptyDir": {}}]))
    space.await_ready("polite")
    space.kubectl("delete", "pod", "polite", "--wait=false")
    eventually(lambda: "hook" in space.ask("polite", "/file?/shared/order"), "the hook ran, the pod serves")
    assert space.log("polite") == "serving\n"
    space.await_gone("pod", "polite")
    assert space.log("polite") == "serving\nleaving\n"


def test_a_stubborn_process_is_killed_when_its_time_is_over(space: Namespace, image: str) -> None:
    space.apply(a_pod("stubborn", a_container(image, env={"STUBBORN": "1"}), terminationGracePeriodSeconds=2))
    pod = space.await_ready("stubborn")
    space.kubectl("delete", "pod", "stubborn", "--wait=false")
    space.await_gone("pod", "stubborn", within_s=10)
    assert not _processes(pod)


def test_deletion_by_force_kills_at_once(space: Namespace, image: str) -> None:
    container = a_container(image, env={"STUBBORN": "1"})
    space.apply(a_pod("forced", container, terminationGracePeriodSeconds=600))
    pod = space.await_ready("forced")
    space.kubectl("delete", "pod", "forced", "--force", "--grace-period=0")
    eventually(lambda: not _processes(pod), "no process is left", within_s=5)


def test_a_service_reaches_ready_pods_in_turn(space: Namespace, image: str) -> None:
    template = a_pod("pool", a_container(image, readinessProbe=ready_by_http()))
    space.apply(a_deployment("pool", 3, template), a_service("pool", {"app": "pool"}))
    space.kubectl("rollout", "status", "deployment/pool", "--timeout=30s")
    service = space.find("service", "pool")
    assert service is not None
    url = f"http://{service['spec']['clusterIP']}:8080"
    names = [pod["metadata"]["name"] for pod in space.pods("app=pool")]
    eventually(lambda: fetch(f"{url}/name")[0] == 200, "the Service answers")
    answers = [fetch(f"{url}/name")[1] for _ in range(9)]
    assert {name: answers.count(name) for name in names} == dict.fromkeys(names, 3)

    space.ask(names[0], "/ready?no")
    eventually(lambda: space._if_ready(names[0]) is None, "one is not ready")
    assert names[0] not in {fetch(f"{url}/name")[1] for _ in range(9)}


def test_a_pod_that_is_being_deleted_gets_no_new_connection(space: Namespace, image: str) -> None:
    template = a_pod("drain", a_container(image, env={"LINGER_S": "3"}))
    space.apply(a_deployment("drain", 2, template), a_service("drain", {"app": "drain"}))
    space.kubectl("rollout", "status", "deployment/drain", "--timeout=30s")
    service = space.find("service", "drain")
    assert service is not None
    url = f"http://{service['spec']['clusterIP']}:8080"
    eventually(lambda: fetch(f"{url}/name")[0] == 200, "the Service answers")
    leaving = space.pods("app=drain")[0]["metadata"]["name"]
    space.kubectl("delete", "pod", leaving, "--wait=false")
    eventually(lambda: "leaving" in space.log(leaving), "the pod is told to go")
    assert leaving not in {fetch(f"{url}/name")[1] for _ in range(8)}
    assert space.ask(leaving, "/name") == leaving


def test_kubectl_shows_logs(space: Namespace, image: str) -> None:
    space.apply(a_pod("talks", a_container(image, command=["sh", "-c", "seq 5; exec sleep 100"])))
    space.await_ready("talks")
    eventually(lambda: space.log("talks").endswith("5\n"), "everything is written")
    assert space.kubectl("logs", "talks") == "1\n2\n3\n4\n5\n"
    assert space.kubectl("logs", "talks", "--tail=2") == "4\n5\n"


def test_the_node_is_ready_and_its_lease_is_fresh(cloud: Cloud, space: Namespace) -> None:
    name = cloud.facts.node_name
    node = space.find("node", name)
    assert node is not None
    held = {c["type"]: c["status"] for c in node["status"]["conditions"]}
    assert held["Ready"] == "True"

    output = "jsonpath={.spec.renewTime}"
    renewed = space.kubectl("-n", "kube-node-lease", "get", "lease", name, "-o", output)
    assert datetime.now(UTC) - datetime.fromisoformat(renewed.replace("Z", "+00:00")) < timedelta(seconds=15)


def test_after_a_kill_of_the_agent_no_process_is_left_and_pods_come_back(
    cloud: Cloud, space: Namespace, image: str
) -> None:
    mounts = [{"name": "data", "mountPath": "/data"}]
    # A child in a session of its own, which outlives its parent unless someone looks for it.
    command = ["sh", "-c", f"setsid sleep 1000 & exec python {PROGRAM}"]
    container = a_container(image, command=command, volumeMounts=mounts)
    space.apply(a_pod("survivor", container, volumes=[{"name": "data", "emptyDir": {}}]))
    pod = space.await_ready("survivor")
    space.ask("survivor", "/write?/data/kept=yes")
    before = _processes(pod)
    assert len(before) == 2

    with cloud.paused("kube-scheduler"):
        cloud.kill("node")
        eventually(lambda: not before & _processes(pod), "no old process is left", within_s=5)

    status = space.await_container("survivor", lambda s: s["restartCount"] >= 1 and s["ready"], "is back")
    assert status["lastState"]["terminated"]["exitCode"] == 137
    back = space.await_ready("survivor")
    assert back["status"]["podIP"] == pod["status"]["podIP"]
    assert space.ask("survivor", "/file?/data/kept") == "yes"


def test_nothing_is_mounted_outside_the_pods(space: Namespace, image: str) -> None:
    mount = {"name": "data", "mountPath": "/pilotage/data"}
    container = a_container(image, volumeMounts=[mount])
    space.apply(a_pod("mounts", container, volumes=[{"name": "data", "emptyDir": {}}]))
    space.await_ready("mounts")
    space.ask("mounts", "/write?/pilotage/data/x=1")
    assert str(space.cloud.facts.dir) not in Path("/proc/self/mounts").read_text()
    assert not Path("/pilotage").exists()


def _processes(pod: Json) -> set[int]:
    """Processes with the pod's address in their environment."""
    done = subprocess.run(["ps", "-eo", "pid="], capture_output=True, text=True, check=True)
    wanted = f"POD_IP={pod['status']['podIP']}".encode()
    found = set()
    for text in done.stdout.split():
        try:
            environment = Path(f"/proc/{text}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            found.add(int(text))
    return found
