"""One real cloud: what its control plane does, and what the faults do to it."""

import json
import os
import socket
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

import pytest

from localclouds import WITH_CONTROLLERS, Cloud, Clouds, Component, StartFailed, UnknownName
from support.clouds import apply, get, kubectl, new_namespace, try_kubectl
from support.polling import eventually

PARTS = (*WITH_CONTROLLERS, Component.PROMETHEUS, Component.FRONT)


@pytest.fixture(scope="module")
def aws(start_clouds: Callable[..., Clouds]) -> Iterator[Cloud]:
    started = start_clouds(names=["aws"], components=PARTS)
    yield started["aws"]
    started.stop()


def test_it_is_the_kubernetes_it_says(aws: Cloud) -> None:
    version = json.loads(kubectl(aws, "version", "-o", "json"))["serverVersion"]

    assert version["gitVersion"] == "v1.36.3"
    assert (version["major"], version["minor"]) == ("1", "36")


def test_services_get_addresses_in_the_clouds_range(aws: Cloud) -> None:
    namespace = new_namespace(aws)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    apply(aws, {**service, "spec": {"ports": [{"port": 8080}], "selector": {"app": "web"}}}, namespace=namespace)

    address = get(aws, "-n", namespace, "service", "web")["spec"]["clusterIP"]

    assert ip_address(address) in ip_network(aws.facts.service_cidr)


def test_deployments_make_pods_with_a_service_account(aws: Cloud) -> None:
    namespace = new_namespace(aws)
    pod = {"containers": [{"name": "web", "image": "web"}]}
    labels = {"app": "web"}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    apply(
        aws,
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec},
        namespace=namespace,
    )

    pods = eventually(lambda: get(aws, "-n", namespace, "pods")["items"])

    assert pods[0]["spec"]["serviceAccountName"] == "default"


def test_who_has_no_rights_is_refused(aws: Cloud) -> None:
    stranger = ("--as", "stranger")

    answer = try_kubectl(aws, "get", "secrets", "-n", "default", *stranger)

    assert answer.returncode == 1
    assert 'User "stranger" cannot list resource "secrets"' in answer.stderr


def test_every_request_is_in_the_audit_log(aws: Cloud) -> None:
    namespace = new_namespace(aws)

    def created() -> list[dict[str, Any]]:
        events = [json.loads(line) for line in aws.audit_log.read_text().splitlines()]
        return [each for each in events if each["verb"] == "create" and each["objectRef"].get("name") == namespace]

    (event,) = eventually(created)
    assert event["user"]["username"] == "localclouds:admin"
    assert event["objectRef"]["resource"] == "namespaces"
    assert event["level"] == "Metadata"
    assert event["responseStatus"]["code"] == 201


def test_prometheus_scrapes_every_second_and_leaves_metric_labels_alone(aws: Cloud) -> None:
    config = _json(f"{aws.prometheus_url}/api/v1/status/config")["data"]["yaml"]

    assert "scrape_interval: 1s" in config
    assert "honor_labels" not in config  # its default, false, is not printed
    targets = _json(f"{aws.prometheus_url}/api/v1/targets")["data"]
    assert targets["activeTargets"] == []


@pytest.mark.parametrize("component", [Component.ETCD, Component.API_SERVER, Component.PROMETHEUS])
def test_a_killed_component_is_started_again(aws: Cloud, component: Component) -> None:
    before = aws.pid(component)

    aws.kill(component)

    aws.await_ready(component)
    assert aws.pid(component) not in (before, None)
    row = next(row for row in aws.status() if row["component"] == component)
    assert row["restarts"] >= 1
    assert row["last_exit"] == -9


def test_objects_survive_the_death_of_etcd_and_api_server(aws: Cloud) -> None:
    namespace = new_namespace(aws)

    with aws.stopped(Component.API_SERVER, Component.ETCD):
        assert try_kubectl(aws, "get", "namespace", namespace, "--request-timeout=2s").returncode == 1

    assert get(aws, "namespace", namespace)["metadata"]["name"] == namespace


def test_a_cloud_that_was_dead_as_a_whole_comes_back_with_its_objects(aws: Cloud) -> None:
    namespace = new_namespace(aws)

    with aws.stopped():
        assert {row["phase"] for row in aws.status()} == {"stopped"}
        with pytest.raises(ConnectionRefusedError):
            _tls_handshake(aws, within_s=2)

    assert get(aws, "namespace", namespace)["metadata"]["name"] == namespace


def test_a_paused_api_server_answers_nobody_until_it_is_resumed(aws: Cloud) -> None:
    with aws.paused(Component.API_SERVER):
        answer = try_kubectl(aws, "get", "namespaces", "--request-timeout=1s")

    assert answer.returncode == 1
    aws.await_ready(Component.API_SERVER)
    assert "default" in kubectl(aws, "get", "namespaces")


def test_a_silently_cut_cloud_hangs_for_outsiders_and_goes_on_inside(aws: Cloud) -> None:
    with aws.cut_off():
        with pytest.raises((TimeoutError, URLError)):
            _json(f"{aws.prometheus_url}/api/v1/query?query=1", within_s=0.5)
        with pytest.raises(TimeoutError):
            _tls_handshake(aws, within_s=0.5)
        assert _json(f"{aws.facts.prometheus}/api/v1/query?query=1")["status"] == "success"
        inside = ["--kubeconfig", str(aws.inside_kubeconfig)]
        assert "default" in kubectl(aws, *inside, "get", "namespaces")

    assert "default" in kubectl(aws, "get", "namespaces")


def test_a_refusing_cut_cloud_refuses_outsiders(aws: Cloud) -> None:
    with aws.cut_off("refused"):
        with pytest.raises(ConnectionRefusedError):
            _tls_handshake(aws, within_s=2)
        assert aws.pid(Component.FRONT) is None

    _tls_handshake(aws, within_s=2)


def test_a_connection_from_before_the_cut_goes_on_after_it(aws: Cloud) -> None:
    address = urlsplit(aws.prometheus_url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as channel:
        answers = channel.makefile("rb")
        ask = b"GET /-/healthy HTTP/1.1\r\nHost: prometheus\r\n\r\n"
        channel.sendall(ask)
        assert b"200" in answers.readline()

        with aws.cut_off():
            channel.sendall(ask)

        while not answers.readline().startswith(b"HTTP/1.1 200"):
            continue


def test_a_restart_returns_when_the_component_is_ready(aws: Cloud) -> None:
    before = aws.pid(Component.CONTROLLER_MANAGER)

    aws.restart(Component.CONTROLLER_MANAGER)

    assert aws.pid(Component.CONTROLLER_MANAGER) not in (before, None)


def test_unknown_names_are_answered_with_the_known_ones(aws: Cloud) -> None:
    with pytest.raises(UnknownName, match=r"aws has no component kubelet; it has etcd, kube-apiserver, front"):
        aws.pause("kubelet")


def test_what_does_not_come_back_is_reported_with_its_last_lines(aws: Cloud) -> None:
    aws.stop(Component.PROMETHEUS)
    config = aws.facts.path / "prometheus.yaml"
    right = config.read_text()
    config.write_text("no: config\n")

    try:
        aws.start(Component.PROMETHEUS)
        with pytest.raises(
            StartFailed, match=r"(?s)aws/prometheus is not ready .*died.*last lines of.*field no not found"
        ):
            aws.await_ready(Component.PROMETHEUS, within_s=30)
    finally:
        config.write_text(right)
    aws.restart(Component.PROMETHEUS)


def test_files_with_keys_are_readable_by_their_owner_only(aws: Cloud) -> None:
    keys = [*aws.facts.pki.glob("*.key"), *aws.facts.pki.glob("*.kubeconfig"), aws.kubeconfig]

    assert keys
    assert {oct(os.stat(key).st_mode & 0o077) for key in keys} == {"0o0"}


def _json(url: str, within_s: float = 10) -> Any:
    with urllib.request.urlopen(url, timeout=within_s) as response:
        return json.load(response)


def _tls_handshake(cloud: Cloud, within_s: float) -> None:
    """Connect to the API server as a client outside does, under strict certificate checks."""
    address = urlsplit(cloud.api_server)
    context = ssl.create_default_context(cafile=str(cloud.ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection((address.hostname or "", address.port or 0), timeout=within_s) as channel,
        context.wrap_socket(channel, server_hostname=address.hostname),
    ):
        pass
