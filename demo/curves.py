"""The report's plots out of Prometheus: weights, log-evidence, precision and recall with intervals, per cloud.

The hub's Prometheus has what the operator exports (weights, evidence, estimates), each cloud's has the matured labels.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode
from urllib.request import urlopen

from demo import manifests, plan
from demo.svg import CANARY, FAIL, MEASURED, PASS, REVISIONS, Line, Panel, row

STEP_S = 1.0
MODEL = f'namespace="{manifests.NAMESPACE}",model="{manifests.NAME}"'
ON_HUB = f'model="{manifests.NAME}"'
"""The operator's metrics: the target's namespace is the operator's own, the model's is `exported_namespace` there."""
Points = list[tuple[float, float]]


def draw(hub: str, members: Mapping[str, str], began: float) -> list[tuple[str, str, str]]:
    """(title, explanation, SVG) of every figure, for the time from `began` until now."""
    ends = time.time()
    clock = _Clock(began=began, ends=ends)
    until = ends - began
    confusions = {name: _confusions(url, clock) for name, url in members.items()}
    return [
        (
            "Weights",
            "Percent of each cloud's traffic that a revision is meant to get, and what the gateway sent to the canary.",
            row([_weights(hub, members, name, clock) for name in members], until),
        ),
        (
            "Evidence",
            "Log of the e-values. Green above the upper line promotes, red above it rolls back; looking often is free.",
            row([_evidence(hub, str(gate["name"]), clock) for gate in plan.GATES], until),
        ),
        (
            "The canary's metrics as the gates saw them",
            "Estimate over the production mix with its always-valid interval.",
            row([_estimate(hub, gate, clock) for gate in plan.GATES], until),
        ),
        (
            f"Recall of {plan.GATED_CLASS} in each cloud",
            "From matured labels of the last 20 s, with 95 % Wilson intervals.",
            row([_recall(confusions[name], name) for name in members], until),
        ),
        (
            "Macro precision in each cloud",
            "From matured labels of the last 20 s, with 95 % normal intervals.",
            row([_precision(confusions[name], name) for name in members], until),
        ),
    ]


class _Clock:
    """The time a figure covers, and range queries over it."""

    def __init__(self, *, began: float, ends: float) -> None:
        self.began, self.ends = began, ends

    def ask(self, url: str, expression: str) -> list[tuple[Mapping[str, str], Points]]:
        """Labels and points (seconds since the beginning) of every series."""
        asked = {"query": expression, "start": self.began, "end": self.ends, "step": STEP_S}
        with urlopen(f"{url}/api/v1/query_range?{urlencode(asked)}", timeout=20) as response:
            found = json.load(response)["data"]["result"]
        return [
            (each["metric"], [(float(at) - self.began, float(value)) for at, value in each["values"] if value != "NaN"])
            for each in found
        ]

    def one(self, url: str, expression: str) -> Points:
        """The points of the only series, or none."""
        found = self.ask(url, expression)
        return found[0][1] if found else []


def _weights(hub: str, members: Mapping[str, str], cluster: str, clock: _Clock) -> Panel:
    by_backend = f'gateway_requests_total{{route="{manifests.NAMESPACE}/{manifests.NAME}"'
    share = f'100 * sum(rate({by_backend},backend="{manifests.NAME}-canary"}}[5s])) / sum(rate({by_backend}}}[5s]))'
    lines = [Line(name="measured", colour=MEASURED, points=clock.one(members[cluster], share))]
    asked = clock.ask(hub, f'max by (revision) (pilotage_rollout_weight{{{ON_HUB},cluster="{cluster}"}})')
    for n, (_, points) in enumerate(sorted(asked, key=lambda series: series[1][0])):
        lines.append(Line(name=f"v{n + 1}", colour=REVISIONS[n % len(REVISIONS)], points=points, stepped=True))
    return Panel(title=cluster, lines=lines, low=0, high=100)


def _evidence(hub: str, gate: str, clock: _Clock) -> Panel:
    lines = []
    for side, colour in (("pass", PASS), ("fail", FAIL)):
        points = clock.one(hub, f'max(pilotage_gate_log_e_{side}{{{ON_HUB},gate="{gate}"}})')
        lines.append(Line(name=side, colour=colour, points=points))
    threshold = math.log(1 / float(plan.ANALYSIS["alpha"]))
    references = [("promote / roll back", threshold)]
    return Panel(title=gate, lines=lines, low=-5, high=12, references=references)


def _estimate(hub: str, gate: Mapping[str, object], clock: _Clock) -> Panel:
    series = {
        bound: clock.one(hub, f'max(pilotage_gate_{bound}{{{ON_HUB},gate="{gate["name"]}"}})')
        for bound in ("estimate", "lower", "upper")
    }
    upper = dict(series["upper"])
    band = [(at, low, upper[at]) for at, low in series["lower"] if at in upper]
    references = [("floor", float(str(gate["floor"])))] if "floor" in gate else []
    line = Line(name="canary", colour=CANARY, points=series["estimate"], band=band)
    return Panel(title=str(gate["name"]), lines=[line], low=0.4, high=1.0, references=references)


def _recall(confusions: Sequence[_Series], cluster: str) -> Panel:
    lines = []
    for series in confusions:
        points, band = [], []
        for at, cells in series.cells.items():
            n = sum(count for (actual, _), count in cells.items() if actual == plan.GATED_CLASS)
            if n >= 5:
                rate = cells.get((plan.GATED_CLASS, plan.GATED_CLASS), 0.0) / n
                points.append((at, rate))
                band.append((at, *_wilson(rate, n)))
        lines.append(Line(name=series.name, colour=series.colour, points=points, band=band))
    return Panel(title=cluster, lines=lines, low=0.4, high=1.0, references=[("floor", float(plan.GATES[0]["floor"]))])


def _precision(confusions: Sequence[_Series], cluster: str) -> Panel:
    lines = []
    for series in confusions:
        points, band = [], []
        for at, cells in series.cells.items():
            totals = {name: sum(n for (_, predicted), n in cells.items() if predicted == name) for name in plan.CLASSES}
            if min(totals.values()) >= 1:
                rates = {name: cells.get((name, name), 0.0) / n for name, n in totals.items()}
                mean = sum(rates.values()) / len(rates)
                variance = sum(rate * (1 - rate) / totals[name] for name, rate in rates.items())
                half = 1.96 * math.sqrt(variance) / len(rates)
                points.append((at, mean))
                band.append((at, max(0.0, mean - half), min(1.0, mean + half)))
        lines.append(Line(name=series.name, colour=series.colour, points=points, band=band))
    return Panel(title=cluster, lines=lines, low=0.4, high=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    """One revision in one cloud: matured labels of the last 20 s at each moment, by (actual, predicted)."""

    name: str
    colour: str
    cells: Mapping[float, Mapping[tuple[str, str], float]]


def _confusions(prometheus: str, clock: _Clock) -> list[_Series]:
    """Every revision with labels in this cloud, in the order of their first label."""
    found = clock.ask(prometheus, f"sum by (revision) (pilotage_matured_labels_total{{{MODEL}}}) > 0")
    ordered = sorted((points[0][0], labels["revision"]) for labels, points in found if points)
    return [
        _Series(name=f"v{n + 1}", colour=REVISIONS[n % len(REVISIONS)], cells=_cells(prometheus, revision, clock))
        for n, (_, revision) in enumerate(ordered)
    ]


def _cells(prometheus: str, revision: str, clock: _Clock) -> dict[float, dict[tuple[str, str], float]]:
    of = f'increase(pilotage_matured_labels_total{{{MODEL},revision="{revision}"}}[20s])'
    found: dict[float, dict[tuple[str, str], float]] = {}
    for labels, points in clock.ask(prometheus, f"sum by (actual, predicted) ({of}) > 0"):
        for at, value in points:
            found.setdefault(round(at, 3), {})[labels["actual"], labels["predicted"]] = value
    return dict(sorted(found.items()))


def _wilson(rate: float, n: float, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927)."""
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(max(0.0, rate * (1 - rate) / n + z * z / (4 * n * n)))
    return max(0.0, centre - half), min(1.0, centre + half)
