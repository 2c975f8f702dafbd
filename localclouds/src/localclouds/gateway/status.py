"""What is reported about HTTPRoutes, Gateways and GatewayClasses. Pure.

Only our own entries in a route's `parents` change; conditions keep their transition time while they do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from localclouds.gateway.routes import Unsupported, backend_problem, backend_refs, check_supported
from localclouds.kube import Json, Key, NoSuchPort, key_of, service_port

GROUP = "gateway.networking.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The state of one condition."""

    holds: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Who we are: our controller's name, and the Gateways of our classes."""

    controller: str
    gateways: Mapping[Key, Json]


def attached(route: Json, ours: Ours) -> bool:
    """Whether one of our Gateways serves the route."""
    return any(_parent_finding(ref, route, ours).holds for ref in _our_refs(route, ours))


def route_parents(route: Json, ours: Ours, services: Mapping[Key, Json], now: str) -> list[Json] | None:
    """The `status.parents` the route should have, or None when they are right already."""
    known = route.get("status", {}).get("parents") or []
    others = [entry for entry in known if entry["controllerName"] != ours.controller]
    mine = []
    resolved = _resolved(route, services)
    for reference in _our_refs(route, ours):
        before: Json = next(
            (e for e in known if e["controllerName"] == ours.controller and e["parentRef"] == reference), {}
        )
        findings = {"Accepted": _parent_finding(reference, route, ours), "ResolvedRefs": resolved}
        mine.append(
            {
                "parentRef": reference,
                "controllerName": ours.controller,
                "conditions": conditions(findings, before.get("conditions") or [], _generation(route), now),
            }
        )
    wanted = others + mine
    return None if wanted == known else wanted


def gateway_status(gateway: Json, routes: Iterable[Json], ours: Ours, address: str, now: str) -> Json | None:
    """The status a Gateway of ours should have, or None when it is right already. `routes` are all
    HTTPRoutes.
    """
    known = gateway.get("status", {})
    before = {listener["name"]: listener for listener in known.get("listeners") or ()}
    key, generation = key_of(gateway), _generation(gateway)
    fine = Finding(holds=True, reason="Accepted", message="")
    programmed = Finding(holds=True, reason="Programmed", message="")
    attached_routes = [route for route in routes if _attaches_to(route, key, ours)]
    wanted = {
        "addresses": [{"type": "IPAddress", "value": address}],
        "conditions": conditions(
            {"Accepted": fine, "Programmed": programmed}, known.get("conditions") or [], generation, now
        ),
        "listeners": [
            {
                "name": listener["name"],
                "supportedKinds": [{"group": GROUP, "kind": "HTTPRoute"}],
                "attachedRoutes": len(attached_routes),
                "conditions": conditions(
                    _listener_findings(listener),
                    before.get(listener["name"], {}).get("conditions") or [],
                    generation,
                    now,
                ),
            }
            for listener in gateway["spec"]["listeners"]
        ],
    }
    return None if all(known.get(name) == value for name, value in wanted.items()) else wanted


def class_status(gateway_class: Json, now: str) -> Json | None:
    """The status a GatewayClass of ours should have, or None when it is right already."""
    known = gateway_class.get("status", {}).get("conditions") or []
    accepted = Finding(holds=True, reason="Accepted", message="")
    wanted = conditions({"Accepted": accepted}, known, _generation(gateway_class), now)
    return None if wanted == known else {"conditions": wanted}


def conditions(findings: Mapping[str, Finding], known: list[Json], generation: int, now: str) -> list[Json]:
    """Conditions for the findings, in their order."""
    before = {condition["type"]: condition for condition in known}
    found = []
    for kind, finding in findings.items():
        status = "True" if finding.holds else "False"
        last = before.get(kind, {})
        changed = now if last.get("status") != status else last["lastTransitionTime"]
        found.append(
            {
                "type": kind,
                "status": status,
                "reason": finding.reason,
                "message": finding.message,
                "observedGeneration": generation,
                "lastTransitionTime": changed,
            }
        )
    return found


def _our_refs(route: Json, ours: Ours) -> list[Json]:
    return [r for r in route["spec"].get("parentRefs") or () if _gateway_key(r, route) in ours.gateways]


def _gateway_key(reference: Json, route: Json) -> Key | None:
    if (reference.get("group", GROUP), reference.get("kind", "Gateway")) != (GROUP, "Gateway"):
        return None
    return Key(reference.get("namespace", route["metadata"]["namespace"]), reference["name"])


def _attaches_to(route: Json, key: Key, ours: Ours) -> bool:
    return any(
        _gateway_key(reference, route) == key and _parent_finding(reference, route, ours).holds
        for reference in _our_refs(route, ours)
    )


def _parent_finding(reference: Json, route: Json, ours: Ours) -> Finding:
    key = _gateway_key(reference, route)
    assert key is not None
    listeners = ours.gateways[key]["spec"]["listeners"]
    named, port = reference.get("sectionName"), reference.get("port")
    fitting = [
        listener
        for listener in listeners
        if listener["protocol"] == "HTTP" and named in (None, listener["name"]) and port in (None, listener["port"])
    ]
    if not fitting:
        text = f"Gateway {key.namespace}/{key.name} has no HTTP listener with this sectionName and port"
        return Finding(holds=False, reason="NoMatchingParent", message=text)
    try:
        check_supported(route)
    except Unsupported as error:
        return Finding(holds=False, reason="UnsupportedValue", message=str(error))
    return Finding(holds=True, reason="Accepted", message="")


def _resolved(route: Json, services: Mapping[Key, Json]) -> Finding:
    for reference in backend_refs(route):
        problem = backend_problem(reference, route)
        if problem is not None:
            return Finding(holds=False, reason=problem[0], message=problem[1])
        name = f"{route['metadata']['namespace']}/{reference['name']}"
        service = services.get(Key(route["metadata"]["namespace"], reference["name"]))
        if service is None:
            return Finding(holds=False, reason="BackendNotFound", message=f"Service {name} does not exist")
        try:
            service_port(service, reference["port"])
        except NoSuchPort as error:
            return Finding(holds=False, reason="BackendNotFound", message=str(error))
    return Finding(holds=True, reason="ResolvedRefs", message="")


def _listener_findings(listener: Json) -> dict[str, Finding]:
    if listener["protocol"] != "HTTP":
        text = f"protocol {listener['protocol']} is not supported; local gateways speak HTTP"
        refused = Finding(holds=False, reason="UnsupportedProtocol", message=text)
        return {"Accepted": refused, "Programmed": Finding(holds=False, reason="Invalid", message=text)}
    return {
        kind: Finding(holds=True, reason=reason, message="")
        for kind, reason in (
            ("Accepted", "Accepted"),
            ("Programmed", "Programmed"),
            ("ResolvedRefs", "ResolvedRefs"),
        )
    }


def _generation(obj: Json) -> int:
    return int(obj["metadata"].get("generation", 1))
