"""Requests, labels, a collector and a Prometheus for one simulated cluster, all arithmetic and no chance.

Every second `rate` rows arrive and are divided over the ready server pods as the route (or the Service) says. Each
bundle answers with fixed confusion rates, a share of errors and a log loss; fractions are carried over, so counts are
the expected ones to a row. A row's label matures `labelDelay` after its prediction, and each second is a scrape of the
collector, each fifth one of the pods. `scrapes` is also the oracle.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pilotage.api import names
from pilotage.evidence.errors import Unreachable
from pilotage.evidence.promql import DURATIONS, REQUESTS, SERVED
from pilotage.kube import Clock, Key
from pilotage.kube.resources import CONFIG_MAPS, DEPLOYMENTS, HTTP_ROUTES, PODS, SERVICES
from support.apisim import ApiSim
from support.apisim.workloads import is_ready, ready_pods

Rates = Mapping[str, Mapping[str, float]]
"""Actual class → predicted class → share of all rows."""
TICK_S = 1.0
PODS_SCRAPED_S = 5.0
LOSS_DEVIATION = 0.3
"""Standard deviation of a row's log loss, whatever its mean."""


class Cell(NamedTuple):
    revision: str
    actual: str
    predicted: str


class Counter(NamedTuple):
    """One counter of a revision's pods; they never die, and count as one."""

    metric: str
    revision: str
    label: str
    value: str


class Scrape(NamedTuple):
    at: float
    delay_s: float
    cells: Mapping[Cell, int]
    rows: Mapping[str, int]
    pods: Mapping[Counter, int]


@dataclass(slots=True)
class Traffic:
    """Run it as a task. `quality` maps a bundle reference to its confusion rates, `errors` to the share of requests
    that fail, `loss` to the mean log loss of its rows in nats; `is_up`: Prometheus answers.
    """

    sim: ApiSim
    clock: Clock
    key: Key
    quality: Mapping[str, Rates]
    rate: float = 20.0
    errors: Mapping[str, float] = field(default_factory=dict)
    loss: Mapping[str, float] = field(default_factory=dict)
    is_up: bool = True
    labels_come: bool = True
    scrapes: list[Scrape] = field(default_factory=list)
    counted: dict[Cell, int] = field(default_factory=dict)
    _rows: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _pods: defaultdict[Counter, int] = field(default_factory=lambda: defaultdict(int))
    _carry: defaultdict[Cell, float] = field(default_factory=lambda: defaultdict(float))
    _coming: list[tuple[float, Cell, int]] = field(default_factory=list)

    async def run(self) -> None:
        """Ends: when cancelled."""
        while True:
            now = self.clock.now().timestamp()
            delay_s = self._collector_delay()
            if delay_s is not None:
                self._register()
                self._mature(now)
            for revision, share in self.shares().items():
                self._serve(now, revision, share, delay_s)
            if delay_s is not None:
                self.scrapes.append(Scrape(now, delay_s, dict(self.counted), dict(self._rows), dict(self._pods)))
            await asyncio.sleep(TICK_S)

    def shares(self) -> dict[str, float]:
        """Share of the traffic by revision, as pods, Services and the route make it now."""
        state = self.sim.state
        route = state.find(HTTP_ROUTES, self.key)
        if route is not None:
            backends = {b["name"]: b.get("weight", 1) for r in route["spec"]["rules"] for b in r["backendRefs"]}
        else:
            backends = {self.key.name: 1}
        total, shares = sum(backends.values()), defaultdict[str, float](float)
        for name, weight in backends.items():
            service = state.find(SERVICES, Key(self.key.namespace, name))
            pods = ready_pods(state, service) if service is not None and weight else []
            for pod in pods:
                revision = pod["metadata"]["labels"][names.REVISION_LABEL]
                shares[revision] += weight / total / len(pods)
        return dict(shares)

    def _serve(self, now: float, revision: str, share: float, delay_s: float | None) -> None:
        bundle = self._bundle(revision)
        if bundle is None:
            return
        failing = self.errors.get(bundle, 0.0)
        self._count(Counter(REQUESTS, revision, "code", "500"), self._whole(Cell(revision, "", ""), share * failing))
        for actual, predictions in self.quality[bundle].items():
            for predicted, rate in predictions.items():
                cell = Cell(revision, actual, predicted)
                rows = self._whole(cell, share * (1 - failing) * rate)
                self._rows[revision] += rows
                self._count(Counter(SERVED, revision, "predicted", predicted), rows)
                self._count(Counter(REQUESTS, revision, "code", "200"), rows)
                if rows and delay_s is not None and self.labels_come:
                    self._coming.append((now + delay_s, cell, rows))

    def _whole(self, cell: Cell, share: float) -> int:
        self._carry[cell] += self.rate * TICK_S * share
        rows = int(self._carry[cell] + 1e-9)
        self._carry[cell] -= rows
        return rows

    def _count(self, counter: Counter, rows: int) -> None:
        self._pods[counter] += rows

    def _bundle(self, revision: str) -> str | None:
        found = self.sim.state.find(DEPLOYMENTS, Key(self.key.namespace, revision))
        if found is None:
            return None
        volumes = found["spec"]["template"]["spec"]["volumes"]
        reference: str = next(volume["image"]["reference"] for volume in volumes if volume["name"] == "bundle")
        return reference

    def _collector_delay(self) -> float | None:
        """What the collector waits for a label, None while no collector runs."""
        name = names.collector_name(self.key.name)
        config = self.sim.state.find(CONFIG_MAPS, Key(self.key.namespace, name))
        pods = [pod for pod in self.sim.state.objects(PODS) if pod["metadata"]["name"] == f"{name}-0"]
        if config is None or not any(is_ready(pod) for pod in pods):
            return None
        return float(json.loads(config["data"]["collector.json"])["labelDelaySeconds"])

    def _register(self) -> None:
        """All cells of every revision with a ready pod exist, at zero."""
        classes = sorted({c for rates in self.quality.values() for c in rates})
        for pod in self.sim.state.objects(PODS):
            revision = (pod["metadata"].get("labels") or {}).get(names.REVISION_LABEL)
            if revision and is_ready(pod):
                for cell in (Cell(revision, a, p) for a in classes for p in classes):
                    self.counted.setdefault(cell, 0)

    def _mature(self, now: float) -> None:
        due = [item for item in self._coming if item[0] <= now]
        self._coming = [item for item in self._coming if item[0] > now]
        for _, cell, rows in due:
            self.counted[cell] = self.counted.get(cell, 0) + rows

    # ------------------------------------------------------------------------------------------------- the Prometheus

    async def answer(self, promql: str, at: float | None) -> bytes:
        """`/api/v1/query` for exactly the expressions that `pilotage.evidence` writes."""
        await asyncio.sleep(0.005)
        if not self.is_up:
            raise Unreachable("connection refused")
        now = self.clock.now().timestamp() if at is None else at
        kind, result = self._evaluate(promql, now)
        return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()

    async def answer_through_proxy(self, path: str, query: Mapping[str, str]) -> bytes:
        """The same, behind the API server's proxy of Service `prometheus`."""
        assert path == "/api/v1/namespaces/monitoring/services/http:prometheus:9090/proxy/api/v1/query", path
        return await self.answer(query["query"], float(query["time"]) if "time" in query else None)

    def _evaluate(self, promql: str, at: float) -> tuple[str, Any]:
        if promql == "time()":
            return "scalar", [at, str(at)]
        selected = re.search(r"(\w*)\{([^}]*)\}(?:\[(\d+)ms\])?", promql)
        assert selected is not None, promql
        metric, selector, range_ms = selected.groups()
        labels = {"namespace": self.key.namespace, "model": self.key.name}
        if metric == DURATIONS:
            return "vector", []
        assert all(f'{name}="{value}"' in selector for name, value in labels.items()), promql
        span = int(range_ms) / 1000 if range_ms else 300.0
        scrapes = [scrape for scrape in self.scrapes if at - span < scrape.at <= at]
        if not metric:
            return _pod_samples(promql, selector, scrapes, at)
        if not scrapes:
            return ("matrix" if range_ms and "(" not in promql else "vector"), []
        last = scrapes[-1]
        if metric == "pilotage_label_delay_seconds":
            if promql.startswith("timestamp("):
                return "vector", [{"metric": labels, "value": [at, str(last.at)]}]
            if range_ms:
                return "matrix", [{"metric": labels, "values": [[s.at, str(s.delay_s)] for s in scrapes]}]
            return "vector", [{"metric": labels, "value": [at, str(last.delay_s)]}]
        if metric == "model_rows_total":
            rows = sum(last.rows.values()) - sum(scrapes[0].rows.values())
            return "vector", [{"metric": {}, "value": [at, str(float(rows))]}]
        wanted = re.search(r'revision=~?"([^"]*)"', selector)
        assert wanted is not None, promql
        counters = re.findall(r'"counter","(\w+)"', promql)
        return "vector", list(self._collected(counters, wanted[1].split("|"), last, at))

    def _collected(self, counters: list[str], revisions: list[str], last: Scrape, at: float) -> Iterator[Any]:
        """What the collector counted, by the names that `pilotage.evidence` gives its counters."""
        for revision in revisions:
            cells = {cell: value for cell, value in sorted(last.cells.items()) if cell.revision == revision}
            label = {"ledger": f"ledger-{self.sim.name}", "revision": revision}
            for cell, value in cells.items():
                yield {"metric": label | cell._asdict() | {"counter": "matured"}, "value": [at, str(value)]}
            if "loss" in counters:
                mean = self.loss.get(self._bundle(revision) or "", 0.0)
                rows = sum(cells.values())
                moments = {"count": 1, "sum": round(mean * 1e6), "sumsq": round((mean**2 + LOSS_DEVIATION**2) * 1e12)}
                for moment, each in moments.items():
                    counted = label | {"counter": "loss", "moment": moment}
                    yield {"metric": counted, "value": [at, str(rows * each)]}


def _pod_samples(promql: str, selector: str, scrapes: list[Scrape], at: float) -> tuple[str, Any]:
    """Raw samples of several metrics of the pods, or the last ones."""
    metrics, revisions = (re.search(rf'{name}=~?"([^"]*)"', selector) for name in ("__name__", "revision"))
    assert metrics is not None, promql
    assert revisions is not None, promql
    found: dict[Counter, list[list[Any]]] = {}
    for scrape in scrapes:
        if scrape.at % PODS_SCRAPED_S < TICK_S:
            for counter, value in scrape.pods.items():
                if counter.metric in metrics[1].split("|") and counter.revision in revisions[1].split("|"):
                    found.setdefault(counter, []).append([scrape.at, str(value)])
    if "resets(" in promql:
        return "vector", [
            {"metric": {"counter": name}, "value": [at, n]} for name, n in (("resets", "0"), ("scrapers", "1"))
        ]
    if promql.startswith("sum by"):
        return "vector", [
            {"metric": {"revision": counter.revision, counter.label: counter.value}, "value": [at, values[-1][1]]}
            for counter, values in found.items()
        ]
    if promql.startswith("last_over_time("):
        return "vector", [{"metric": _labels(c, ()), "value": [at, v[-1][1]]} for c, v in found.items()]
    return "matrix", [{"metric": _labels(c, ("__name__",)), "values": values} for c, values in found.items()]


def _labels(counter: Counter, kept: tuple[str, ...]) -> dict[str, str]:
    name = {"__name__": counter.metric} if kept else {}
    return name | {"revision": counter.revision, "pod": f"{counter.revision}-0", counter.label: counter.value}
