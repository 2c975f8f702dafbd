"""HTTPRoutes compiled to an ordered list of rules, and which rule takes a request. Pure.

Order of precedence, as the Gateway API has it: longer hostname, exact path, longer path prefix, method, more
headers, more query parameters, older route, name. Filters, timeouts and regular expressions are refused
(`Unsupported`), never ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl

from localclouds.kube import Json, Key, key_of


class Unsupported(Exception):
    """The route asks for something this gateway does not do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A Service port with the weight it has in its rule."""

    service: Key
    port: int
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One condition on requests. An empty `host` takes any; one that begins with a dot takes names that end
    with it.
    """

    host: str
    path: str
    is_exact: bool
    method: str | None
    headers: tuple[tuple[str, str], ...]
    query: tuple[tuple[str, str], ...]

    def takes(self, request: Request) -> bool:
        """Whether the request fulfils it."""
        if self.host and not self._takes_host(request.host):
            return False
        if self.method is not None and self.method != request.method:
            return False
        if request.path != self.path and (self.is_exact or not _is_below(request.path, self.path)):
            return False
        if any(request.headers.get(name) != value for name, value in self.headers):
            return False
        if self.query:
            given = dict(parse_qsl(request.query, keep_blank_values=True))
            return all(given.get(name) == value for name, value in self.query)
        return True

    def _takes_host(self, host: str) -> bool:
        return host.endswith(self.host) if self.host.startswith(".") else host == self.host


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Requests that match go to one of the backends, by weight."""

    route: Key
    match: Match
    backends: tuple[Backend, ...]


class Request(NamedTuple):
    """What routing looks at. Host in lower case without port; header names in lower case."""

    host: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]


def compile_routes(routes: Iterable[Json]) -> tuple[Rule, ...]:
    """Every rule of the routes, best first. Routes that ask for what is not supported give no rules."""
    ordered = []
    for route in routes:
        try:
            rules = _rules(route)
        except Unsupported:
            continue
        age = (route["metadata"].get("creationTimestamp") or "", key_of(route))
        ordered += [(_rank(rule.match), age, rule) for rule in rules]
    ordered.sort(key=lambda entry: entry[:2])
    return tuple(rule for _, _, rule in ordered)


def find_rule(rules: Iterable[Rule], request: Request) -> Rule | None:
    """The first rule that takes the request."""
    for rule in rules:
        if rule.match.takes(request):
            return rule
    return None


def check_supported(route: Json) -> None:
    """Raise Unsupported with the path of the first field this gateway does not do."""
    _rules(route)


def backend_refs(route: Json) -> Iterable[Json]:
    """Every backendRef of the route."""
    for rule in route["spec"].get("rules") or ():
        yield from rule.get("backendRefs") or ()


def backend_problem(reference: Json, route: Json) -> tuple[str, str] | None:
    """Reason and message why a backendRef can never be used, from the reference alone; None when it may."""
    kind = (reference.get("group", ""), reference.get("kind", "Service"))
    if kind != ("", "Service"):
        return "InvalidKind", f"backendRef {reference['name']}: kind {kind[1]} is not supported; use a Service"
    namespace = reference.get("namespace", route["metadata"]["namespace"])
    if namespace != route["metadata"]["namespace"]:
        text = f"backendRef {namespace}/{reference['name']}: other namespaces are not supported; use the route's"
        return "RefNotPermitted", text
    if "port" not in reference:
        return "InvalidKind", f"backendRef {reference['name']}: port is missing"
    return None


def _rules(route: Json) -> list[Rule]:
    hosts = [_host(name) for name in route["spec"].get("hostnames") or ("",)]
    found = []
    for number, rule in enumerate(route["spec"].get("rules") or ()):
        where = f"spec.rules[{number}]"
        for field in ("filters", "timeouts", "retry", "sessionPersistence"):
            if rule.get(field):
                raise Unsupported(f"{where}.{field}: local gateways do not support it; leave it out")
        if any(reference.get("filters") for reference in rule.get("backendRefs") or ()):
            raise Unsupported(f"{where}.backendRefs: local gateways do not support filters; leave them out")
        backends = _backends(rule, route)
        matches: list[Json] = rule.get("matches") or [{}]
        for match in matches:
            found += [Rule(route=key_of(route), match=_match(match, host, where), backends=backends) for host in hosts]
    return found


def _backends(rule: Json, route: Json) -> tuple[Backend, ...]:
    return tuple(
        Backend(
            service=Key(reference.get("namespace", route["metadata"]["namespace"]), reference["name"]),
            port=reference.get("port", 0),
            # One that can never be used keeps its share of requests, and they fail: as the Gateway API
            # demands.
            weight=reference.get("weight", 1),
        )
        for reference in rule.get("backendRefs") or ()
    )


def _match(match: Json, host: str, where: str) -> Match:
    path = match.get("path") or {}
    kind = path.get("type", "PathPrefix")
    if kind not in ("PathPrefix", "Exact"):
        raise Unsupported(f"{where}.matches.path.type: {kind} is not supported; use PathPrefix or Exact")
    for field in ("headers", "queryParams"):
        for entry in match.get(field) or ():
            if entry.get("type", "Exact") != "Exact":
                raise Unsupported(f"{where}.matches.{field}.type: {entry['type']} is not supported; use Exact")
    value = path.get("value", "/")
    return Match(
        host=host,
        path=value if kind == "Exact" else value.rstrip("/") or "/",
        is_exact=kind == "Exact",
        method=match.get("method"),
        headers=tuple((h["name"].lower(), h["value"]) for h in match.get("headers") or ()),
        query=tuple((q["name"], q["value"]) for q in match.get("queryParams") or ()),
    )


def _rank(match: Match) -> tuple[int, ...]:
    wildcard = match.host.startswith(".")
    return (
        -len(match.host) if not wildcard else 0,
        -len(match.host),
        0 if match.is_exact else 1,
        -len(match.path),
        0 if match.method else 1,
        -len(match.headers),
        -len(match.query),
    )


def _is_below(path: str, prefix: str) -> bool:
    return prefix == "/" or (path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] == "/")


def _host(name: str) -> str:
    return name.lower().removeprefix("*")
