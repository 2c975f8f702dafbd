"""The node agent's pure parts: what containers find, what is reported, when probes count."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localclouds.kube import Backoff, Endpoint, ready_endpoints
from localclouds.node.addresses import OutOfAddresses, PodAddresses
from localclouds.node.atomic import File, write_all
from localclouds.node.contents import Material, TokenRequest, files, needed_objects, needed_tokens
from localclouds.node.deadline import Deadline
from localclouds.node.environment import (
    ConfigError,
    Surroundings,
    container_environment,
    expand,
    service_variables,
)
from localclouds.node.probes import Probe, Tally
from localclouds.node.proxy import Front, ServiceProxy
from localclouds.node.status import Record, Running, Terminated, Waiting, pod_status, seed
from localclouds.node.terminationlog import TerminationLog
from support import gatewayworld as world

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
POD: Json = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"b": 'x"y', "a": "1"}},
    "spec": {"nodeName": "node", "serviceAccountName": "me", "containers": []},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-2"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(C) $A $", "$(C) $A $"),
        ("$(A", "$(A"),
        ("$()", "$()"),
    ],
)
def test_variables_expand_as_in_a_kubelet(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


@given(st.text(alphabet=string.printable.replace("$", "")))
def test_a_text_without_dollars_stays_as_it_is(text: str) -> None:
    assert expand(text, {"A": "1"}) == text


def around(**objects: Json) -> Surroundings:
    return Surroundings(
        pod=POD,
        pod_ip="127.0.0.9",
        host_ip="127.0.0.4",
        services=[world.a_service("digits-collector")],
        api_server=("127.0.0.1", 6443),
        objects={("configmaps", name): obj for name, obj in objects.items()},
        base={"PATH": "/bin"},
    )


def test_services_without_an_address_give_no_variables() -> None:
    headless = world.a_service("headless")
    headless["spec"]["clusterIP"] = "None"
    plain = world.a_service("digits-collector")
    plain["spec"]["clusterIP"] = "127.0.16.3"
    found = service_variables([headless, plain], ("h", 1))
    assert {name for name in found if not name.startswith("KUBERNETES")} == {
        "DIGITS_COLLECTOR_SERVICE_HOST",
        "DIGITS_COLLECTOR_SERVICE_PORT",
        "DIGITS_COLLECTOR_SERVICE_PORT_HTTP",
    }


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"fieldRef": {"fieldPath": "spec.nothing"}}, "fieldPath spec.nothing: the local node agent knows no such"),
        ({"configMapKeyRef": {"name": "no", "key": "k"}}, 'configmap "no" not found'),
        ({"configMapKeyRef": {"name": "there", "key": "k"}}, "couldn't find key k in configmap there"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "resourceFieldRef limits.cpu: the container sets none"),
    ],
)
def test_what_is_not_there_is_named(entry: Json, says: str) -> None:
    container = {"env": [{"name": "X", "valueFrom": entry}]}
    with pytest.raises(ConfigError, match=says.replace(".", r"\.")):
        container_environment(container, around(there={"kind": "ConfigMap", "data": {}}))


def material(**objects: Json) -> Material:
    found = {("secrets" if "type" in obj else "configmaps", name): obj for name, obj in objects.items()}
    tokens = {TokenRequest(audience="", seconds=3600): "abc"}
    return Material(objects=found, tokens=tokens, pod=POD, pod_ip="1", host_ip="2")


def test_a_projected_volume_holds_all_its_sources() -> None:
    secret = {"type": "Opaque", "data": {"k1": base64.b64encode(b"\x00\xff").decode()}}
    volume = {
        "name": "all",
        "projected": {
            "defaultMode": 0o440,
            "sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"configMap": {"name": "c", "items": [{"key": "a", "path": "d/a", "mode": 0o400}]}},
                {"secret": {"name": "s"}},
                {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            ],
        },
    }
    assert list(needed_objects(volume)) == [("configmaps", "c"), ("secrets", "s")]
    assert list(needed_tokens(volume)) == [TokenRequest(audience="", seconds=3600)]
    assert files(volume, material(c={"data": {"a": "1", "b": "2"}}, s=secret)) == {
        "token": File(content=b"abc", mode=0o440),
        "d/a": File(content=b"1", mode=0o400),
        "k1": File(content=b"\x00\xff", mode=0o440),
        "l": File(content=b'a="1"\nb="x\\"y"', mode=0o440),
    }


def test_a_missing_key_is_an_error_unless_optional() -> None:
    volume: Json = {"configMap": {"name": "c", "items": [{"key": "x", "path": "x"}]}}
    with pytest.raises(ConfigError, match='configmap "c" has no key x'):
        files(volume, material(c={"data": {}}))
    volume["configMap"]["optional"] = True
    assert files(volume, material(c={"data": {}})) == {}
    assert files(volume, material()) == {}


def test_files_of_a_volume_change_all_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    assert write_all(folder, {"a": File(content=b"1"), "deep/b": File(content=b"1")})
    assert not write_all(folder, {"a": File(content=b"1"), "deep/b": File(content=b"1")})
    before = (folder / "..data").readlink()
    with (folder / "a").open("rb") as held:
        assert write_all(folder, {"a": File(content=b"2"), "c": File(content=b"2", mode=0o600)})
        assert held.read() == b"1"
    assert (folder / "..data").readlink() != before
    assert sorted(p.name for p in folder.iterdir() if not p.name.startswith("..")) == ["a", "c"]
    assert (folder / "a").read_bytes() == b"2"
    assert (folder / "c").stat().st_mode & 0o777 == 0o600
    assert len([p for p in folder.iterdir() if p.name.startswith("..v")]) == 1


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "..data", ""])
def test_no_file_leaves_its_volume(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside a volume"):
        write_all(tmp_path / "volume", {path: File(content=b"")})


def a_probe(**fields: Any) -> Probe:
    return Probe.read({"tcpSocket": {"port": 1}, **fields})


def test_a_probe_counts_only_after_its_threshold() -> None:
    probe = a_probe(failureThreshold=3, successThreshold=2)
    seen, tally = [], Tally()
    for ok in (True, True, False, False, True, False, False, False, True, True):
        tally = tally.after(ok, probe)
        seen.append(tally.verdict)
    assert seen == [None, True, True, True, True, True, True, False, False, True]


@given(st.lists(st.booleans(), max_size=50), st.integers(1, 5), st.integers(1, 5))
def test_a_verdict_changes_only_on_a_full_row(results: list[bool], successes: int, failures: int) -> None:
    probe = a_probe(failureThreshold=failures, successThreshold=successes)
    tally = Tally()
    for index, ok in enumerate(results):
        before, tally = tally.verdict, tally.after(ok, probe)
        if tally.verdict is not before:
            row = results[index + 1 - (successes if ok else failures) : index + 1]
            assert set(row) == {ok}
            assert len(row) == (successes if ok else failures)


def test_a_probe_has_kubernetes_defaults() -> None:
    probe = a_probe()
    assert (probe.delay_s, probe.period_s, probe.timeout_s, probe.successes, probe.failures) == (0, 10, 1, 1, 3)


def test_addresses_are_unique_and_come_round_late() -> None:
    addresses = PodAddresses(ipaddress.IPv4Network("127.9.1.0/29"))
    first = [addresses.take(str(number)) for number in range(5)]
    assert first == ["127.9.1.2", "127.9.1.3", "127.9.1.4", "127.9.1.5", "127.9.1.6"]
    with pytest.raises(OutOfAddresses, match=r"all 5 pod addresses of 127\.9\.1\.0/29 are taken"):
        addresses.take("one more")
    addresses.release("1")
    addresses.release("4")
    assert addresses.take("new") == "127.9.1.3"
    assert addresses.take("new") == "127.9.1.3"


def test_a_pod_keeps_the_address_it_had() -> None:
    addresses = PodAddresses(ipaddress.IPv4Network("127.9.1.0/24"))
    assert addresses.take("old", "127.9.1.77") == "127.9.1.77"
    assert addresses.take("other", "127.9.1.77") != "127.9.1.77"
    assert addresses.take("moved", "127.8.1.77").startswith("127.9.1.")


def test_backoff_doubles_to_its_limit() -> None:
    backoff, waits = Backoff(first_s=1, most_s=10), []
    for _ in range(6):
        backoff = backoff.next()
        waits.append(backoff.wait_s)
    assert waits == [1, 2, 4, 8, 10, 10]
    assert backoff.reset().wait_s == 0


def report(*records: Record, is_over: bool = False, pod: Json = POD, **more: Any) -> Json:
    return pod_status(
        pod,
        pod_ip="127.0.0.9",
        host_ip="127.0.0.4",
        containers=records,
        init_containers=more.get("init", ()),
        volumes_made=more.get("volumes_made", True),
        is_over=is_over,
        started_at=NOW,
        now=NOW,
    )


def held(status: Json) -> set[str]:
    return {condition["type"] for condition in status["conditions"] if condition["status"] == "True"}


def a_running(name: str = "main", *, ready: bool = True) -> Record:
    return Record(name=name, image="i", state=Running(started_at=NOW), is_ready=ready, is_started=True)


def an_ended(code: int) -> Terminated:
    return Terminated(
        exit_code=code, reason="Error", message="", started_at=NOW, finished_at=NOW, container_id="process://1"
    )


def test_a_pod_is_ready_when_every_container_is() -> None:
    assert "Ready" in held(report(a_running("a"), a_running("b")))
    status = report(a_running("a"), a_running("b", ready=False))
    assert "Ready" not in held(status)
    (ready,) = [c for c in status["conditions"] if c["type"] == "Ready"]
    assert (ready["reason"], ready["message"]) == ("ContainersNotReady", "containers with unready status: [b]")


def test_readiness_gates_hold_a_pod_back() -> None:
    pod = {**POD, "spec": {**POD["spec"], "readinessGates": [{"conditionType": "example.com/warm"}]}}
    assert held(report(a_running(), pod=pod)) >= {"ContainersReady"}
    assert "Ready" not in held(report(a_running(), pod=pod))
    pod["status"] = {"conditions": [{"type": "example.com/warm", "status": "True"}]}
    assert "Ready" in held(report(a_running(), pod=pod))


@pytest.mark.parametrize(
    ("records", "is_over", "phase"),
    [
        ([Record(name="a", image="i")], False, "Pending"),
        ([a_running()], False, "Running"),
        ([Record(name="a", image="i", state=Waiting(reason="CrashLoopBackOff"), last=an_ended(1))], False, "Running"),
        ([Record(name="a", image="i", state=an_ended(0))], True, "Succeeded"),
        (
            [Record(name="a", image="i", state=an_ended(0)), Record(name="b", image="i", state=an_ended(1))],
            True,
            "Failed",
        ),
    ],
)
def test_phases(records: list[Record], is_over: bool, phase: str) -> None:
    assert report(*records, is_over=is_over)["phase"] == phase


def test_conditions_keep_their_time_while_they_do_not_change() -> None:
    first = report(a_running())
    earlier = "2025-01-01T00:00:00Z"
    for condition in first["conditions"]:
        condition["lastTransitionTime"] = earlier
    again = report(a_running(ready=False), pod={**POD, "status": first})
    times = {c["type"]: c["lastTransitionTime"] for c in again["conditions"]}
    assert times["Initialized"] == earlier
    assert times["Ready"] == "2026-01-01T00:00:00Z"


def test_a_container_that_ran_when_the_agent_ended_counts_as_restarted() -> None:
    record = a_running()
    record.restarts = 4
    known = record.status()
    taken_over = Record(name="main", image="i")
    assert not seed(taken_over, known, NOW)
    assert taken_over.restarts == 5
    assert taken_over.last is not None
    assert taken_over.last.exit_code == 137


def test_a_container_that_had_ended_stays_ended() -> None:
    record = Record(name="main", image="i", state=an_ended(3), restarts=2)
    taken_over = Record(name="main", image="i")
    assert seed(taken_over, record.status(), NOW)
    assert taken_over.restarts == 2
    assert taken_over.state == an_ended(3)


def test_only_the_last_run_speaks(tmp_path: Path) -> None:
    log = tmp_path / "log"
    spec = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    ending = TerminationLog(spec, tmp_path / "ending", log)
    ending.begin()
    log.write_text("first run\n")
    ending.begin()
    with log.open("a") as file:
        file.write("".join(f"line {number}\n" for number in range(100)))
    lines = ending.message(1).splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("line 20", "line 99", 80)
    assert ending.message(0) == ""
    (tmp_path / "ending").write_text("x" * 5000)
    assert ending.message(1) == "x" * 4096


async def test_a_deadline_can_come_nearer_while_someone_waits() -> None:
    deadline = Deadline.after(1000)
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(deadline.wait_for(never))
    await asyncio.sleep(0)
    deadline.shorten(0)
    async with asyncio.timeout(5):
        assert await waiting is False
    assert not never.done()
    deadline.leave_at_least(50)
    assert 40 < deadline.left_s <= 50
    never.set_result(None)
    assert await deadline.wait_for(never) is True


def test_named_target_ports_are_looked_up_in_each_pod() -> None:
    service = world.a_service("digits")
    service["spec"]["ports"][0]["targetPort"] = "http"
    with_port, without = world.a_pod("a"), world.a_pod("b")
    with_port["spec"]["containers"] = [{"ports": [{"name": "http", "containerPort": 9}]}]
    found = ready_endpoints(service, service["spec"]["ports"][0], [without, with_port])
    assert found == (Endpoint("127.0.0.1", 9, "a"),)


def test_the_service_proxy_chooses_in_turn_among_ready_pods() -> None:
    pods = [
        world.a_pod("a", ip="127.0.1.1"),
        world.a_pod("b", ip="127.0.1.2"),
        world.a_pod("c", ip="127.0.1.3", leaving=True),
    ]
    service = world.a_service("digits")
    service["spec"]["clusterIP"] = "127.0.16.1"
    proxy = ServiceProxy(lambda: [service], lambda: pods)
    front = Front("127.0.16.1", 8080)
    proxy.look()
    hosts = [endpoint.host for endpoint in (proxy.choose(front) for _ in range(4)) if endpoint]
    assert hosts == ["127.0.1.1", "127.0.1.2", "127.0.1.1", "127.0.1.2"]
    pods.clear()
    assert proxy.choose(front) is None
