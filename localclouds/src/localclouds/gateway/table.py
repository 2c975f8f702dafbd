"""Routes, Services and pods as they are now, and the one pod that takes a request.

Plain Services can be reached without any HTTPRoute: by the path `/services/<namespace>/<name>/…` (which is
cut off), or by the host `<name>.<namespace>`; their first port is used. Invariants: the arm of a request is
drawn at random by weight, whatever the arms' pods do (an arm without ready pods answers 503 for its share);
among a Service's ready pods requests go round.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from localclouds.gateway.routes import Backend, Request, Rule, compile_routes, find_rule
from localclouds.kube import Endpoint, Json, Key, NoSuchPort, ready_endpoints, service_port

_PLAIN = "/services/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a request goes; `path` replaces its path. `route` and `backend` are labels for the record."""

    endpoint: Endpoint
    route: str
    backend: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why no pod gets the request, with the status code to answer."""

    code: int
    text: str
    route: str = ""
    backend: str = ""


class Table:
    """Answers for one cloud. The three mappings are live; `changed` must be called after any of them changed."""

    def __init__(
        self,
        routes: Callable[[], Iterable[Json]],
        services: Mapping[Key, Json],
        pods: Mapping[Key, Json],
        chance: random.Random | None = None,
    ) -> None:
        self._routes = routes
        self._services = services
        self._pods = pods
        self._chance = chance or random.Random()  # noqa: S311  (shares of traffic, not secrets)
        self._rules: tuple[Rule, ...] | None = None
        self._endpoints: dict[tuple[Key, int | None], tuple[Endpoint, ...] | None] = {}
        self._turns: dict[tuple[Key, int | None], itertools.count[int]] = {}
        self._sums: dict[tuple[Backend, ...], list[int]] = {}

    def changed(self) -> None:
        """Forget what was derived."""
        self._rules = None
        self._endpoints.clear()
        self._sums.clear()

    def choose(self, request: Request) -> Target | Refusal:
        """Decide where a request goes."""
        if request.path.startswith(_PLAIN):
            namespace, _, rest = request.path.removeprefix(_PLAIN).partition("/")
            name, _, path = rest.partition("/")
            if (key := Key(namespace, name)) in self._services:
                return self._to_service(key, None, f"service:{namespace}/{name}", f"/{path}")
        if self._rules is None:
            self._rules = compile_routes(self._routes())
        rule = find_rule(self._rules, request)
        if rule is not None:
            return self._by_rule(rule, request)
        name, _, namespace = request.host.partition(".")
        if (key := Key(namespace, name)) in self._services:
            return self._to_service(key, None, f"service:{namespace}/{name}", request.path)
        return Refusal(code=404, text=f"no route for host {request.host!r} and path {request.path!r}")

    def _by_rule(self, rule: Rule, request: Request) -> Target | Refusal:
        route = f"{rule.route.namespace}/{rule.route.name}"
        sums = self._sums.get(rule.backends)
        if sums is None:
            sums = self._sums[rule.backends] = list(itertools.accumulate(b.weight for b in rule.backends))
        if not sums or sums[-1] == 0:
            return Refusal(code=500, text=f"HTTPRoute {route}: no backend has a weight above 0", route=route)
        backend = rule.backends[bisect.bisect_right(sums, self._chance.randrange(sums[-1]))]
        if backend.service.namespace != rule.route.namespace:
            text = f"HTTPRoute {route}: backend {backend.service.name} cannot be used; see the route's status"
            return Refusal(code=500, text=text, route=route)
        return self._to_service(backend.service, backend.port, route, request.path)

    def _to_service(self, key: Key, port: int | None, route: str, path: str) -> Target | Refusal:
        cached = self._endpoints.get((key, port), ...)
        endpoints = self._find_endpoints(key, port) if cached is ... else cached
        if endpoints is None:
            text = f"Service {key.namespace}/{key.name} or its port {port} does not exist"
            return Refusal(code=500, text=text, route=route, backend=key.name)
        if not endpoints:
            text = f"no pod of Service {key.namespace}/{key.name} is ready"
            return Refusal(code=503, text=text, route=route, backend=key.name)
        turn = next(self._turns.setdefault((key, port), itertools.count()))
        endpoint = endpoints[turn % len(endpoints)]
        return Target(endpoint=endpoint, route=route, backend=key.name, path=path)

    def _find_endpoints(self, key: Key, port: int | None) -> tuple[Endpoint, ...] | None:
        service = self._services.get(key)
        found: tuple[Endpoint, ...] | None = None
        if service is not None:
            try:
                found = ready_endpoints(service, service_port(service, port), self._pods.values())
            except NoSuchPort:
                found = None
        self._endpoints[key, port] = found
        return found
