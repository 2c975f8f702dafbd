"""What server pods, and other people's exporters, counted between two times: rows, errors, latencies, bins.

Their counters have no ledger. Sums are enough while nothing happens to a pod (`evidence.calm`); else raw samples are
read with everything that can happen to one (`evidence.pods`), in one query for all counters of ours that are needed.
Times are those at which requests were made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pilotage.evidence import promql
from pilotage.evidence.asking import Asking
from pilotage.evidence.calm import calm_lines
from pilotage.evidence.collector import LOOKBACK_S
from pilotage.evidence.errors import NoSeries, PastChanged
from pilotage.evidence.pods import EARLIER_S, Labels, Line, Span, of_others, of_ours, processes
from pilotage.evidence.promql import Series
from pilotage.evidence.reading import Counts, Foreign, Needs

CONFIDENCE_BUCKETS = 20
_OWN: Mapping[str, tuple[str, ...]] = {
    promql.SERVED: ("predicted",),
    promql.REQUESTS: ("code", "protocol"),
    promql.DURATIONS: ("le",),
    promql.INPUTS: ("feature", "edges", "bin"),
    promql.CONFIDENCE: ("bucket",),
}
"""Every label of a metric that tells its counters apart: one that is missing here makes two of them look like one."""
_EVERYTHING = "+Inf"

_Key = TypeVar("_Key", str, int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Lines of our pods by revision; `edges`: latency bound → the edge of the histogram that is counted, as written."""

    lines: Mapping[str, Sequence[Line]]
    edges: Mapping[float, str] = field(default_factory=dict)

    @property
    def rounded(self) -> Mapping[float, float]:
        """The bounds that are no edges, and the edges below them that stand for them."""
        return {bound: float(edge) for bound, edge in self.edges.items() if float(edge) != bound}

    def within(self, span: Span, revision: str, onto: Counts) -> Counts:
        """`onto` with what the revision's pods counted in a span."""
        found = _Sums()
        for line in self.lines.get(revision, ()):
            found.add(line.labels, line.grown(span))
        return replace(
            onto,
            served={name: count for name, count in found.served.items() if count},
            requests=(found.good, found.good + found.bad) if found.requests else None,
            within={
                bound: (found.under.get(edge, 0), found.under.get(_EVERYTHING, 0)) for bound, edge in self.edges.items()
            },
            inputs={feature: _vector(bins) for feature, bins in found.inputs.items()},
            confidence=_vector(found.confidence, CONFIDENCE_BUCKETS) if found.confidence else (),
        )


@dataclass(slots=True)
class _Sums:
    """Growths added up over processes, by what the metric means."""

    served: dict[str, int] = field(default_factory=dict)
    good: int = 0
    bad: int = 0
    requests: bool = False
    under: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, dict[int, int]] = field(default_factory=dict)
    confidence: dict[int, int] = field(default_factory=dict)

    def add(self, labels: Mapping[str, str], count: int) -> None:
        match labels.get(promql.NAME):
            case promql.SERVED:
                _plus(self.served, labels.get("predicted", ""), count)
            case promql.REQUESTS:
                self.requests = True
                if labels.get("code", "").startswith("5"):
                    self.bad += count
                else:
                    self.good += count
            case promql.DURATIONS:
                _plus(self.under, labels.get("le", ""), count)
            case promql.INPUTS:
                _plus(self.inputs.setdefault(_feature(labels), {}), _index(labels, "bin"), count)
            case promql.CONFIDENCE:
                _plus(self.confidence, _index(labels, "bucket"), count)


async def read_served(asking: Asking, start: float, end: float, *, in_parts: bool = False) -> Served:
    """The lines of everything that is needed of our pods in (start, end]; `in_parts`: for spans inside as well."""
    needs = asking.query.needs
    metrics = [metric for metric, needed in _metrics(needs).items() if needed]
    if not metrics:
        return Served(lines={})
    revisions = "|".join(asking.revisions)
    edges = await _edges(asking, needs.within, revisions, end) if needs.within else {}
    chosen = {"le": "|".join(("", promql.one_of((*sorted(set(edges.values())), _EVERYTHING))))} if edges else {}
    labels = {**asking.labels, "revision": revisions, **chosen}
    selected, own = promql.selector(metrics, **labels), {metric: _OWN[metric] for metric in metrics}
    lines = None if in_parts else await calm_lines(asking, selected, own, start, end)
    if lines is None:
        lines = await _lines(asking, selected, metrics, of_ours(_OWN), start, end)
    by_revision = {
        revision: [line for line in lines if line.labels.get("revision") == revision] for revision in asking.revisions
    }
    for revision, found in by_revision.items():
        _require(asking, revision, found)
    return Served(lines=by_revision, edges=edges)


async def read_foreign(
    asking: Asking, spans: Callable[[Foreign], Span]
) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
    """What exporters that users named counted: revision → gate → role → count."""
    found: dict[str, dict[str, dict[str, int]]] = {revision: {} for revision in asking.revisions}
    for foreign in asking.query.needs.foreign:
        span = spans(foreign)
        for revision in asking.revisions:
            roles, seen = {}, False
            for role, selector in foreign.selectors:
                selected = promql.for_revision(selector, revision)
                lines = await _lines(asking, selected, (), of_others, *span)
                seen = seen or bool(lines)
                roles[role] = sum(line.grown(span) for line in lines)
            if not seen:
                names = " and ".join(promql.for_revision(selector, revision) for _, selector in foreign.selectors)
                raise NoSeries(f"gate {foreign.gate}: no series matches {names}; check spec.gates[].counts")
            found[revision][foreign.gate] = roles
    return found


async def _lines(
    asking: Asking,
    selected: str,
    metrics: Sequence[str],
    identity: Callable[[Mapping[str, str]], Labels],
    start: float,
    end: float,
) -> tuple[Line, ...]:
    """One line per process and counter; what seems born after `start` is looked for further back."""
    found = processes(await asking.samples(selected, start - LOOKBACK_S, end), identity)
    begun = {labels for labels, samples in found.items() if samples[0][0] <= start}
    earlier: dict[Labels, float] = {}
    if len(begun) < len(found):
        for series in await _before(asking, selected, metrics, start - LOOKBACK_S):
            # several scrapers of one process: the latest look
            labels = identity(series.labels)
            earlier[labels] = max(earlier.get(labels, 0.0), series.samples[-1][1])
    return tuple(
        Line(labels=dict(labels), samples=samples, born=0.0 if labels in begun else earlier.get(labels, 0.0))
        for labels, samples in found.items()
    )


async def _before(asking: Asking, selected: str, metrics: Sequence[str], at: float) -> Iterable[Series]:
    """Last values in the hour before `at`, with the metric's name put back: functions drop it."""
    found = list(await asking.at(promql.last_within(selected, EARLIER_S), at)) if not metrics else []
    for metric in metrics:
        one = selected.replace(promql.by_name(metrics), promql.by_name((metric,)))
        for series in await asking.at(promql.last_within(one, EARLIER_S), at):
            found.append(replace(series, labels={**series.labels, promql.NAME: metric}))
    return found


async def _edges(asking: Asking, bounds: Sequence[float], revisions: str, at: float) -> Mapping[float, str]:
    """For each latency bound the greatest edge at or below it that every arm's histogram has."""
    found = await asking.at(promql.values_of("le", promql.DURATIONS, **asking.labels, revision=revisions), at)
    by_arm: dict[str, set[str]] = {}
    for series in found:
        by_arm.setdefault(series.labels.get("revision", ""), set()).add(series.labels.get("le", ""))
    if not by_arm:
        raise NoSeries(
            f"no pod of {revisions.replace('|', ' or ')} exports {promql.DURATIONS}; check that it is scraped"
        )
    common = sorted((edge for edge in set.intersection(*by_arm.values()) if math.isfinite(float(edge))), key=float)
    edges = {}
    for bound in bounds:
        below = [edge for edge in common if float(edge) <= bound]
        if not below:
            least = f"{float(common[0]):g} s" if common else "infinity"
            raise NoSeries(f"a latency bound of {bound:g} s is below every edge of the histogram ({least}); raise it")
        edges[bound] = below[-1]
    return edges


def _require(asking: Asking, revision: str, lines: Sequence[Line]) -> None:
    """NoSeries when what a gate decides on is not exported: it would read as no requests for ever."""
    seen = {line.labels.get(promql.NAME) for line in lines}
    wanted = {promql.REQUESTS: asking.query.needs.errors, promql.DURATIONS: bool(asking.query.needs.within)}
    missing = sorted(metric for metric, needed in wanted.items() if needed and metric not in seen)
    if missing:
        raise NoSeries(f"no pod of {revision} exports {', '.join(missing)}; check that its pods are scraped")


def _metrics(needs: Needs) -> Mapping[str, bool]:
    return {
        promql.SERVED: needs.served,
        promql.REQUESTS: needs.errors,
        promql.DURATIONS: bool(needs.within),
        promql.INPUTS: needs.inputs,
        promql.CONFIDENCE: needs.confidence,
    }


def _plus(sums: dict[_Key, int], key: _Key, count: int) -> None:
    sums[key] = sums.get(key, 0) + count


def _feature(labels: Mapping[str, str]) -> str:
    """A feature in its bins: two revisions that cut it elsewhere are told apart, and so never compared."""
    name, edges = labels.get("feature", ""), labels.get("edges", "")
    return f"{name} (bins {edges})" if edges else name


def _index(labels: Mapping[str, str], name: str) -> int:
    text = labels.get(name, "")
    if not text.isdecimal():
        raise PastChanged(f"{dict(labels)}: label {name} is {text!r}, not the number of a bin")
    return int(text)


def _vector(bins: Mapping[int, int], length: int = 0) -> tuple[int, ...]:
    return tuple(bins.get(index, 0) for index in range(max(length, max(bins, default=-1) + 1)))
