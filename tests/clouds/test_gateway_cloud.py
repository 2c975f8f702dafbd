"""The gateway before pods of a real control plane."""

from __future__ import annotations

import pytest

from localclouds import Cloud
from localclouds.bootstrap import GATEWAY_NAME, GATEWAY_NAMESPACE
from support.traffic import Traffic
from support.workloads import (
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


def arms(image: str, *names: str, replicas: int = 1, env: dict[str, str] | None = None) -> list[Json]:
    """A Deployment and a Service for each name."""
    found = []
    for name in names:
        container = a_container(image, env=env, readinessProbe=ready_by_http())
        found += [a_deployment(name, replicas, a_pod(name, container)), a_service(name, {"app": name})]
    return found


def a_route(space: Namespace, **weights: int) -> Json:
    """An HTTPRoute of the cloud's Gateway for the host <namespace>.example.com."""
    references = [{"name": name, "port": 8080, "weight": weight} for name, weight in weights.items()]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "digits"},
        "spec": {
            "parentRefs": [{"name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE}],
            "hostnames": [f"{space.name}.example.com"],
            "rules": [{"backendRefs": references}],
        },
    }


def conditions(space: Namespace) -> dict[str, Json]:
    """What the gateway says about the route, by condition type."""
    route = space.find("httproute", "digits")
    parents = (route or {}).get("status", {}).get("parents") or [{"conditions": []}]
    return {condition["type"]: condition for condition in parents[0]["conditions"]}


def await_in_force(space: Namespace) -> None:
    """Wait until the route's newest generation is accepted and resolved."""

    def is_in_force() -> bool:
        route = space.find("httproute", "digits")
        assert route is not None
        told = conditions(space)
        return {"Accepted", "ResolvedRefs"} <= set(told) and all(
            c["status"] == "True" and c["observedGeneration"] == route["metadata"]["generation"] for c in told.values()
        )

    eventually(is_in_force, "the route is in force")


def rolled_out(space: Namespace, *names: str) -> None:
    """Wait until Deployments are complete."""
    for name in names:
        space.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")


def test_the_gateway_and_its_class_are_accepted(space: Namespace, cloud: Cloud) -> None:
    def conditions_of(kind: str, *where: str) -> str:
        return space.kubectl(*where, "get", kind, "-o", "jsonpath={.items[*].status.conditions[*].type}")

    eventually(lambda: "Programmed" in conditions_of("gateway", "-n", GATEWAY_NAMESPACE), "is programmed")
    eventually(lambda: "Accepted" in conditions_of("gatewayclass"), "the class is accepted")
    assert fetch(f"{cloud.facts.gateway_admin}/healthz") == (200, "ok")


def test_requests_are_shared_by_weight_and_a_change_is_in_force_when_the_status_says_so(
    space: Namespace, cloud: Cloud, image: str
) -> None:
    space.apply(*arms(image, "stable", "canary"), a_route(space, stable=80, canary=20))
    rolled_out(space, "stable", "canary")
    await_in_force(space)
    host = f"{space.name}.example.com"
    eventually(lambda: fetch(cloud.gateway_url, host=host)[0] == 200, "the gateway has seen the pods")

    with Traffic(cloud.gateway_url, host=host, pause_s=0) as traffic:
        eventually(lambda: traffic.sent >= 2000, "2000 requests are answered", within_s=60)
    assert set(traffic.codes) == {200}, traffic.failures[:3]
    canary = sum(count for name, count in traffic.bodies.items() if name.startswith("canary"))
    # Six standard deviations of a share of 0.2 among 2000: 0.054.
    assert abs(canary / traffic.sent - 0.2) < 0.054

    space.apply(a_route(space, stable=0, canary=100))
    await_in_force(space)
    assert all(fetch(cloud.gateway_url, host=host)[1].startswith("canary") for _ in range(50))


def test_a_route_to_a_missing_service_says_so_and_recovers(space: Namespace, image: str) -> None:
    space.apply(a_route(space, stable=1))
    eventually(lambda: conditions(space).get("ResolvedRefs", {}).get("reason") == "BackendNotFound", "says so")
    assert conditions(space)["ResolvedRefs"]["message"] == f"Service {space.name}/stable does not exist"
    space.apply(a_service("stable", {"app": "stable"}))
    await_in_force(space)


def test_no_request_fails_while_a_deployment_rolls(space: Namespace, cloud: Cloud, image: str) -> None:
    slow_to_go = {"LINGER_S": "1"}
    space.apply(*arms(image, "web", replicas=2, env=slow_to_go), a_route(space, web=1))
    rolled_out(space, "web")
    host = f"{space.name}.example.com"
    eventually(lambda: fetch(cloud.gateway_url, host=host)[0] == 200, "it serves")

    with Traffic(cloud.gateway_url, host=host) as traffic:
        for version in ("2", "3"):
            space.apply(*arms(image, "web", replicas=2, env={**slow_to_go, "VERSION": version}))
            rolled_out(space, "web")
        eventually(lambda: len(space.pods("app=web")) == 2, "the old pods are gone")
    assert set(traffic.codes) == {200}, traffic.failures[:5]
    assert len(traffic.bodies) >= 6
    assert traffic.sent > 200


def test_requests_under_way_are_finished_by_a_pod_that_leaves(space: Namespace, cloud: Cloud, image: str) -> None:
    space.apply(*arms(image, "web", replicas=2))
    rolled_out(space, "web")
    url = f"{cloud.gateway_url}/services/{space.name}/web"
    eventually(lambda: fetch(f"{url}/name")[0] == 200, "it serves")
    pods = [pod["metadata"]["name"] for pod in space.pods("app=web")]

    with Traffic(f"{url}/slow?0.3", clients=6, pause_s=0) as slow:
        eventually(lambda: slow.sent > 12, "requests are under way")
        space.kubectl("delete", "pod", pods[0], "--wait=false")
        eventually(lambda: "leaving" in space.log(pods[0]), "it is told to go")
        eventually(lambda: space.find("pod", pods[0]) is None, "it is gone")
    assert set(slow.codes) == {200}, slow.failures[:3]


def test_a_service_without_ready_pods_is_refused_and_counted(space: Namespace, cloud: Cloud, image: str) -> None:
    space.apply(a_service("nobody", {"app": "nobody"}))
    url = f"{cloud.gateway_url}/services/{space.name}/nobody/"
    eventually(lambda: fetch(url)[0] == 503, "the gateway has seen the Service")
    assert fetch(cloud.gateway_url, host=f"nobody.{space.name}") == (
        503,
        f"no pod of Service {space.name}/nobody is ready\n",
    )
    metrics = fetch(f"{cloud.facts.gateway_admin}/metrics")[1]
    labels = f'route="service:{space.name}/nobody",backend="nobody",code="503"'
    assert f"gateway_requests_total{{{labels}}}" in metrics


def test_traffic_goes_on_while_the_api_server_is_frozen(space: Namespace, cloud: Cloud, image: str) -> None:
    space.apply(*arms(image, "web", replicas=2))
    rolled_out(space, "web")
    url = f"{cloud.gateway_url}/services/{space.name}/web/name"
    eventually(lambda: fetch(url)[0] == 200, "it serves")
    with cloud.paused("kube-apiserver"), Traffic(url) as traffic:
        eventually(lambda: traffic.sent > 300, "requests are answered")
    assert set(traffic.codes) == {200}, traffic.failures[:3]


def test_a_killed_gateway_is_back_with_the_same_routes(space: Namespace, cloud: Cloud, image: str) -> None:
    space.apply(*arms(image, "web"), a_route(space, web=1))
    rolled_out(space, "web")
    host = f"{space.name}.example.com"
    eventually(lambda: fetch(cloud.gateway_url, host=host)[0] == 200, "it serves")
    cloud.kill("gateway")
    eventually(lambda: fetch(cloud.gateway_url, host=host)[0] == 200, "it serves again")
