"""A member cluster and its labels, as far as a planner can tell: objects, pods that take time, traffic, matured counts.

All arithmetic, no chance: predictions follow the traffic that the objects really cause, and counts are their expected
numbers rounded down, so increments between two times always add up. Used by `support.world`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pilotage.api import names
from pilotage.evidence.reading import (
    Baseline,
    BaselineQuery,
    Block,
    BlockQuery,
    Boundary,
    Counts,
    Query,
    Reading,
    Unavailable,
)
from pilotage.plan.decision import Intent
from pilotage.plan.observed import Fresh, Link

Objects = dict[tuple[str, str], dict[str, Any]]


@dataclass(frozen=True)
class Quality:
    """How a model answers in a world of two equally frequent classes, and whether its pods start."""

    recall_yes: float = 0.9
    recall_no: float = 0.9
    starts: bool = True


@dataclass
class Member:
    """One cluster."""

    name: str
    link: Link = field(default_factory=Fresh)
    objects: Objects = field(default_factory=dict)
    taken: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    labels_per_s: float = 20.0
    pods_take_s: float = 5.0
    sick: set[str] = field(default_factory=set)
    gateway_answers: bool = True
    metrics: bool = True
    classes: tuple[str, ...] = ("no", "yes")
    becomes_ready: dict[str, tuple[float, int]] = field(default_factory=dict)
    shares: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    writes: int = 0
    changes: int = 0

    # ------------------------------------------------------------------------------------------------------ objects

    def obey(self, intent: Intent, now: float) -> None:
        """What the syncer and the member's controllers do with an intent."""
        for manifest in intent.apply:
            self._apply(manifest, now)
        for key in intent.delete:
            assert key in self.objects, f"{self.name}: {key} is to be deleted and does not exist"
            self.writes += 1
            self.changes += 1
            del self.objects[key]
            self.becomes_ready.pop(key[1], None)
        self.settle(now)

    def _apply(self, manifest: Mapping[str, Any], now: float) -> None:
        key = (manifest["kind"], manifest["metadata"]["name"])
        assert key not in self.taken, f"{self.name}: wrote over {key}, which is not ours"
        known = self.objects.get(key)
        if known is not None and {**known["said"]} == manifest:
            return
        self.writes += 1
        self.changes += 1
        live = copy.deepcopy(dict(manifest))
        live["metadata"]["generation"] = known["metadata"]["generation"] + 1 if known else 1
        live["status"] = known["status"] if known else {}
        live["said"] = manifest
        self.objects[key] = live
        if key[0] == "Deployment":
            wanted = manifest["spec"]["replicas"]
            ready = live["status"].get("readyReplicas", 0)
            if wanted <= ready:
                live["status"] = {"readyReplicas": wanted}
                self.becomes_ready.pop(key[1], None)
            else:
                self.becomes_ready[key[1]] = (now + self.pods_take_s, wanted)

    def settle(self, now: float) -> None:
        """Let time do its work."""
        before = [obj["status"] for obj in self.objects.values()]
        for name, (at, wanted) in list(self.becomes_ready.items()):
            if at <= now and name not in self.sick:
                self.objects["Deployment", name]["status"] = {"readyReplicas": wanted}
                del self.becomes_ready[name]
        for key, obj in self.objects.items():
            if key[0] == "Deployment" and key[1] in self.sick:
                obj["status"] = {"readyReplicas": 0}
                self.becomes_ready[key[1]] = (now + self.pods_take_s, obj["spec"]["replicas"])
            if key[0] == "HTTPRoute" and self.gateway_answers:
                obj["status"] = _accepted(obj)
        shares = self._traffic()
        if not self.shares or self.shares[-1][1] != shares:
            self.shares.append((now, shares))
            self.changes += 1
        self.changes += before != [obj["status"] for obj in self.objects.values()]

    def next_event(self, now: float) -> float | None:
        """When pods get ready next."""
        times = [at for name, (at, _) in self.becomes_ready.items() if at > now and name not in self.sick]
        return min(times, default=None)

    def live(self) -> tuple[dict[str, Any], ...]:
        """Our objects, as an informer would hold them."""
        return tuple({k: v for k, v in obj.items() if k != "said"} for obj in self.objects.values())

    def ready(self, revision: str) -> int:
        obj = self.objects.get(("Deployment", revision))
        return int(obj["status"].get("readyReplicas", 0)) if obj else 0

    # ------------------------------------------------------------------------------------------------------ traffic

    def _selected(self, service: str) -> dict[str, int]:
        """Ready pods behind a Service, by revision."""
        obj = self.objects.get(("Service", service))
        if obj is None:
            return {}
        revision = obj["spec"]["selector"].get(names.REVISION_LABEL)
        arms = [key[1] for key in self.objects if key[0] == "Deployment"]
        return {arm: self.ready(arm) for arm in arms if revision in (None, arm) and self.ready(arm)}

    def _traffic(self) -> dict[str, float]:
        """Share of the requests each revision answers; what nobody answers is missing from the sum."""
        routes = [obj for key, obj in self.objects.items() if key[0] == "HTTPRoute"]
        found: dict[str, float] = {}
        for weight, service in _backends(routes[0]) if routes else self._plain_services():
            pods = self._selected(service)
            for revision, count in pods.items():
                found[revision] = found.get(revision, 0.0) + weight * count / sum(pods.values())
        return found

    def _plain_services(self) -> list[tuple[float, str]]:
        plain = [key[1] for key in self.objects if key[0] == "Service" and not key[1].endswith("-collector")]
        return [(1.0, name) for name in plain[:1]]

    def share(self, revision: str) -> float:
        """The share of traffic a revision has now."""
        return self.shares[-1][1].get(revision, 0.0) if self.shares else 0.0

    def answered(self, revision: str, until: float) -> float:
        """Labelled requests a revision has answered until then."""
        total = 0.0
        for index, (start, shares) in enumerate(self.shares):
            end = self.shares[index + 1][0] if index + 1 < len(self.shares) else until
            total += max(0.0, min(end, until) - start) * shares.get(revision, 0.0) * self.labels_per_s
        return total

    # ------------------------------------------------------------------------------------------------------- labels

    def answer(self, query: Query, now: float, quality: Mapping[str, Quality]) -> Reading:
        """What this cluster's Prometheus says."""
        if not self.metrics:
            return Unavailable(query=query, reason="PrometheusUnreachable", message="no route to host")
        match query:
            case BaselineQuery():
                return Baseline(
                    query=query,
                    rows=int(600 * self.labels_per_s),
                    history=self._counts(query.stable, now - query.history_window_s, now, quality),
                    classes=self.classes,
                )
            case BlockQuery():
                return self._block(query, now, quality)

    def _block(self, query: BlockQuery, now: float, quality: Mapping[str, Quality]) -> Block:
        closes = query.window.closes
        until = now if closes is None else min(now, closes)
        since = query.since.at if query.since else query.window.opens
        first, last = since - query.label_delay_s, max(since, until) - query.label_delay_s
        return Block(
            query=query,
            boundary=Boundary(at=max(since, until), checksum=f"{query.canary}@{until:.3f}"),
            stable=self._counts(query.stable, first, last, quality) if query.stable else Counts(),
            canary=self._counts(query.canary, first, last, quality),
            complete=closes is not None and now >= closes,
        )

    def _counts(self, revision: str, since: float, until: float, quality: Mapping[str, Quality]) -> Counts:
        model = quality.get(revision, Quality())
        before, after = self.answered(revision, since), self.answered(revision, until)
        cells: dict[str, dict[str, int]] = {}
        for actual, predicted, share in _cells(model):
            cells.setdefault(actual, {})[predicted] = int(after * share) - int(before * share)
        return Counts(confusion=cells)


def _cells(model: Quality) -> Iterator[tuple[str, str, float]]:
    for actual, other, recall in (("yes", "no", model.recall_yes), ("no", "yes", model.recall_no)):
        yield actual, actual, 0.5 * recall
        yield actual, other, 0.5 * (1 - recall)


def _backends(route: Mapping[str, Any]) -> list[tuple[float, str]]:
    return [
        (backend["weight"] / 100, backend["name"]) for rule in route["spec"]["rules"] for backend in rule["backendRefs"]
    ]


def _accepted(route: Mapping[str, Any]) -> dict[str, Any]:
    generation = route["metadata"]["generation"]
    conditions = [
        {"type": kind, "status": "True", "observedGeneration": generation, "reason": kind}
        for kind in ("Accepted", "ResolvedRefs")
    ]
    return {"parents": [{"parentRef": route["spec"]["parentRefs"][0], "conditions": conditions}]}
