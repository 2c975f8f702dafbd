"""Which pod gets a request, and what routes are told about themselves."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from localclouds.gateway.routes import Request
from localclouds.gateway.status import Ours, attached, gateway_status, route_parents
from localclouds.gateway.table import Refusal, Table, Target
from localclouds.kube import Key
from support.gatewayworld import Json, a_pod, a_route, a_rule, a_service, by_key

CONTROLLER = "pilotage.dev/localclouds-gateway"
NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def a_request(path: str = "/", host: str = "digits.example.com", **more: Any) -> Request:
    return Request(host, more.get("method", "GET"), path, more.get("query", ""), more.get("headers", {}))


def a_table(*routes: Json, pods: tuple[Json, ...] = (), services: tuple[Json, ...] = ()) -> Table:
    named = {"stable", "canary", "a", "b", "c"}
    made = tuple(a_service(name, name) for name in sorted(named)) + services
    ready = pods or tuple(a_pod(f"{name}-1", name) for name in sorted(named))
    return Table(lambda: routes, by_key(*made), by_key(*ready), random.Random(7))


def backend(table: Table, request: Request) -> str | int:
    match table.choose(request):
        case Target(backend=name):
            return name
        case Refusal(code=code):
            return code


def test_shares_are_what_the_weights_say() -> None:
    table = a_table(a_route("digits", a_rule(("stable", 90), ("canary", 10))))
    drawn = [backend(table, a_request()) for _ in range(20_000)]
    # Six standard deviations of a binomial share of 0.1: 0.0127.
    assert abs(drawn.count("canary") / len(drawn) - 0.1) < 0.013
    assert drawn.count("stable") + drawn.count("canary") == len(drawn)


def test_requests_are_drawn_one_by_one() -> None:
    table = a_table(a_route("digits", a_rule(("stable", 50), ("canary", 50))))
    drawn = [backend(table, a_request()) == "canary" for _ in range(20_000)]
    changes = sum(first != second for first, second in itertools.pairwise(drawn))
    # Independent draws change half of the time; taking turns would always.
    assert abs(changes / len(drawn) - 0.5) < 0.03


def test_a_weight_of_zero_gets_nothing_and_all_zero_is_an_error() -> None:
    table = a_table(a_route("digits", a_rule(("stable", 1), ("canary", 0))))
    assert {backend(table, a_request()) for _ in range(200)} == {"stable"}
    assert backend(a_table(a_route("digits", a_rule(("stable", 0)))), a_request()) == 500
    assert backend(a_table(a_route("digits", a_rule())), a_request()) == 500


def test_an_arm_without_ready_pods_refuses_its_share_only() -> None:
    pods = (a_pod("stable-1", "stable"), a_pod("canary-1", "canary", ready=False))
    table = a_table(a_route("digits", a_rule(("stable", 50), ("canary", 50))), pods=pods)
    drawn = [backend(table, a_request()) for _ in range(2000)]
    assert set(drawn) == {"stable", 503}
    assert 850 < drawn.count(503) < 1150


def test_ready_pods_take_turns_and_leaving_ones_get_nothing() -> None:
    pods = (
        a_pod("stable-1", "stable", ip="127.0.1.1"),
        a_pod("stable-2", "stable", ip="127.0.1.2"),
        a_pod("stable-3", "stable", ip="127.0.1.3", leaving=True),
        a_pod("stable-4", "stable", ip="127.0.1.4", ready=False),
    )
    table = a_table(a_route("digits", a_rule(("stable", 1))), pods=pods)
    chosen = [table.choose(a_request()) for _ in range(10)]
    hosts = [target.endpoint.host for target in chosen if isinstance(target, Target)]
    assert sorted(hosts) == ["127.0.1.1"] * 5 + ["127.0.1.2"] * 5


def test_a_missing_service_or_port_is_an_error() -> None:
    rule = a_rule(("nobody", 1))
    assert backend(a_table(a_route("digits", rule)), a_request()) == 500
    rule = a_rule(("stable", 1))
    rule["backendRefs"][0]["port"] = 9
    assert backend(a_table(a_route("digits", rule)), a_request()) == 500


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (a_request("/", "digits.example.com"), "a"),
        (a_request("/", "other.example.com"), "b"),
        (a_request("/", "elsewhere.org"), "c"),
    ],
)
def test_the_longer_hostname_wins(request_: Request, expected: str) -> None:
    table = a_table(
        a_route("any", a_rule(("c", 1))),
        a_route("wild", a_rule(("b", 1)), hostnames=["*.example.com"]),
        a_route("one", a_rule(("a", 1)), hostnames=["digits.example.com"]),
    )
    assert backend(table, request_) == expected


def by_path(kind: str, value: str, **more: Any) -> list[Json]:
    return [{"path": {"type": kind, "value": value}, **more}]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (a_request("/v2/models"), "a"),
        (a_request("/v2/models/digits"), "b"),
        (a_request("/v2"), "b"),
        (a_request("/v2x"), "c"),
        (a_request("/v2/models", method="POST"), "a"),
        (a_request("/v2/x", headers={"x-arm": "c"}), "c"),
        (a_request("/v2/x", headers={"x-arm": "d"}), "b"),
        (a_request("/", query="arm=a&b=1"), "a"),
    ],
)
def test_the_more_special_rule_wins(request_: Request, expected: str) -> None:
    table = a_table(
        a_route(
            "digits",
            a_rule(("c", 1)),
            a_rule(("b", 1), matches=by_path("PathPrefix", "/v2/")),
            a_rule(("a", 1), matches=by_path("Exact", "/v2/models")),
            a_rule(("c", 1), matches=by_path("PathPrefix", "/v2", headers=[{"name": "X-Arm", "value": "c"}])),
            a_rule(("a", 1), matches=[{"queryParams": [{"name": "arm", "value": "a"}]}]),
        )
    )
    assert backend(table, request_) == expected


def test_the_older_route_wins_a_tie() -> None:
    old, new = a_route("z-old", a_rule(("a", 1))), a_route("a-new", a_rule(("b", 1)))
    new["metadata"]["creationTimestamp"] = LATER
    assert backend(a_table(new, old), a_request()) == "a"


@pytest.mark.parametrize(
    ("path", "host", "expected"),
    [
        ("/services/models/stable/v2/x", "any", ("stable", "/v2/x")),
        ("/services/models/stable", "any", ("stable", "/")),
        ("/v2/x", "stable.models", ("stable", "/v2/x")),
    ],
)
def test_a_plain_service_is_reached_by_path_or_host(path: str, host: str, expected: tuple[str, str]) -> None:
    chosen = a_table().choose(a_request(path, host))
    assert isinstance(chosen, Target)
    assert (chosen.backend, chosen.path) == expected
    assert chosen.route == "service:models/stable"


def test_nothing_that_fits_is_404() -> None:
    assert backend(a_table(), a_request("/services/models/nobody/x", "nobody.models")) == 404


def ours(*listeners: Json) -> Ours:
    http = {"name": "http", "port": 8080, "protocol": "HTTP"}
    gateway = {
        "metadata": {"name": "public", "namespace": "ingress", "generation": 1},
        "spec": {"gatewayClassName": "localclouds", "listeners": list(listeners) or [http]},
    }
    return Ours(controller=CONTROLLER, gateways=by_key(gateway))


def told(route: Json, *services: Json) -> dict[str, tuple[str, str, str]]:
    parents = route_parents(route, ours(), by_key(*services), NOW)
    assert parents is not None
    (entry,) = parents
    assert entry["controllerName"] == CONTROLLER
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in entry["conditions"]}


def test_a_good_route_is_accepted_and_resolved() -> None:
    found = told(a_route("digits", a_rule(("stable", 1))), a_service("stable"))
    assert found == {
        "Accepted": ("True", "Accepted", ""),
        "ResolvedRefs": ("True", "ResolvedRefs", ""),
    }


@pytest.mark.parametrize(
    ("rule", "reason", "message"),
    [
        (a_rule(("nobody", 1)), "BackendNotFound", "Service models/nobody does not exist"),
        ({"backendRefs": [{"name": "stable", "port": 9}]}, "BackendNotFound", "Service stable has no port 9"),
        (
            {"backendRefs": [{"name": "x", "kind": "Bucket", "group": "g", "port": 1}]},
            "InvalidKind",
            "backendRef x: kind Bucket is not supported; use a Service",
        ),
        (
            {"backendRefs": [{"name": "x", "namespace": "other", "port": 1}]},
            "RefNotPermitted",
            "backendRef other/x: other namespaces are not supported; use the route's",
        ),
    ],
)
def test_a_backend_that_cannot_be_used_is_named(rule: Json, reason: str, message: str) -> None:
    found = told(a_route("digits", rule), a_service("stable"))
    assert found["Accepted"][0] == "True"
    assert found["ResolvedRefs"] == ("False", reason, message)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (a_rule(("stable", 1), filters=[{"type": "URLRewrite"}]), "spec.rules[0].filters: local gateways do not"),
        (a_rule(("stable", 1), timeouts={"request": "1s"}), "spec.rules[0].timeouts: local gateways do not"),
        (
            a_rule(("stable", 1), matches=by_path("RegularExpression", ".*")),
            "spec.rules[0].matches.path.type: RegularExpression is not supported; use PathPrefix or Exact",
        ),
    ],
)
def test_what_is_not_supported_is_refused_and_not_served(rule: Json, message: str) -> None:
    route = a_route("digits", rule)
    found = told(route, a_service("stable"))
    assert found["Accepted"][:2] == ("False", "UnsupportedValue")
    assert found["Accepted"][2].startswith(message)
    assert not attached(route, ours())


def test_a_route_of_another_gateway_is_left_alone() -> None:
    route = a_route("digits", a_rule(("stable", 1)))
    route["spec"]["parentRefs"] = [{"name": "theirs", "namespace": "ingress"}]
    theirs = {"parentRef": route["spec"]["parentRefs"][0], "controllerName": "example.com/other", "conditions": []}
    route["status"] = {"parents": [theirs]}
    assert route_parents(route, ours(), {}, NOW) is None
    assert not attached(route, ours())


def test_a_listener_that_is_not_there_is_no_parent() -> None:
    route = a_route("digits", a_rule(("stable", 1)))
    route["spec"]["parentRefs"][0]["sectionName"] = "https"
    assert told(route, a_service("stable"))["Accepted"][:2] == ("False", "NoMatchingParent")
    assert not attached(route, ours())


def test_status_is_written_once_per_generation_and_keeps_its_times() -> None:
    route = a_route("digits", a_rule(("stable", 1)))
    services = by_key(a_service("stable"))
    route["status"] = {"parents": route_parents(route, ours(), services, NOW)}
    assert route_parents(route, ours(), services, LATER) is None

    route["metadata"]["generation"] = 2
    again = route_parents(route, ours(), services, LATER)
    assert again is not None
    conditions = again[0]["conditions"]
    assert {c["observedGeneration"] for c in conditions} == {2}
    assert {c["lastTransitionTime"] for c in conditions} == {NOW}

    route["status"] = {"parents": again}
    gone = route_parents(route, ours(), {}, LATER)
    assert gone is not None
    times = {c["type"]: c["lastTransitionTime"] for c in gone[0]["conditions"]}
    assert times == {"Accepted": NOW, "ResolvedRefs": LATER}


def test_a_gateway_counts_its_routes_and_refuses_other_protocols() -> None:
    https = {"name": "https", "port": 443, "protocol": "HTTPS"}
    us = ours({"name": "http", "port": 8080, "protocol": "HTTP"}, https)
    gateway = us.gateways[Key("ingress", "public")]
    routes = [a_route("digits", a_rule(("stable", 1))), a_route("bad", a_rule(filters=[{"type": "X"}]))]
    status = gateway_status(gateway, routes, us, "127.0.0.2", NOW)
    assert status is not None
    assert status["addresses"] == [{"type": "IPAddress", "value": "127.0.0.2"}]
    by_name = {listener["name"]: listener for listener in status["listeners"]}
    assert by_name["http"]["attachedRoutes"] == 1
    assert {c["reason"] for c in by_name["https"]["conditions"]} == {"UnsupportedProtocol", "Invalid"}
    gateway["status"] = status
    assert gateway_status(gateway, routes, us, "127.0.0.2", LATER) is None
