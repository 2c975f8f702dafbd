"""Arithmetic on counters that die with their pod: raw samples of many series into counts between two times. Pure.

A counter starts at zero with its process. Per series: the last sample at or before the start is the base (zero when it
was born later), a value that fell began anew, a series that ends keeps what it had. Then sums, never the other way
round: a pod that vanishes would look like a reset. Exact but for what a pod counted after its last scrape.

One process scraped twice (an HA pair, two scrape jobs) is one counter: the fuller series is read, the other only fills
what lies outside, and both must tell the same. Source: statistics.md §9.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pilotage.evidence.errors import PastChanged
from pilotage.evidence.promql import NAME, Series

Sample = tuple[float, float]
Span = tuple[float, float]
Labels = frozenset[tuple[str, str]]

_OF_A_SCRAPER = frozenset({"replica", "prometheus_replica", "__replica__", "prometheus", "receive_replica"})
"""Labels by which two scrapers of one process are usually told apart."""
OF_A_PROCESS = ("namespace", "pod", "container")
EARLIER_S = 3600.0
"""A counter that was not scraped for so long, and is back, may have been counting before it seemed to be born."""
RACE_S = 1.0
"""Two scrapes of one process so close together may arrive in either order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One counter of one process: its labels, its samples, and its value before the first of them."""

    labels: Mapping[str, str]
    samples: tuple[Sample, ...]
    born: float = 0.0

    def grown(self, span: Span) -> int:
        """What it counted in a span of time."""
        return whole(growth(self.samples, *span, born=self.born), self.labels)


def of_ours(own: Mapping[str, tuple[str, ...]]) -> Callable[[Mapping[str, str]], Labels]:
    """Which process and counter a series of our servers belongs to: its pod and the metric's own labels."""

    def identity(labels: Mapping[str, str]) -> Labels:
        process = OF_A_PROCESS if labels.get("pod") else ("job", "instance")
        names = (NAME, "revision", *own.get(labels.get(NAME, ""), ()), *process)
        return frozenset((name, labels[name]) for name in names if name in labels)

    return identity


def of_others(labels: Mapping[str, str]) -> Labels:
    """The same of an exporter whose labels we do not know: all but those that name a scraper."""
    return frozenset((name, value) for name, value in labels.items() if name not in _OF_A_SCRAPER)


def processes(
    series: Iterable[Series], identity: Callable[[Mapping[str, str]], Labels]
) -> Mapping[Labels, tuple[Sample, ...]]:
    """One line of samples per process and counter; PastChanged when two scrapers tell different things."""
    twins: defaultdict[Labels, list[tuple[Sample, ...]]] = defaultdict(list)
    for one in series:
        if one.samples:
            twins[identity(one.labels)].append(one.samples)
    return {labels: _one_line(labels, found) for labels, found in twins.items()}


def growth(samples: Sequence[Sample], start: float, end: float, *, born: float = 0.0) -> float:
    """What the counter counted in (start, end]; `born`: its value at the start, if no sample shows it."""
    times = [at for at, _ in samples]
    first, last = bisect_right(times, start), bisect_right(times, end)
    before = samples[first - 1][1] if first else born
    total = 0.0
    for _, value in samples[first:last]:
        total += value - before if value >= before else value
        before = value
    return total


def whole(value: float, what: object) -> int:
    """A count; PastChanged for what is none."""
    if value != int(value):
        raise PastChanged(f"{what} grew by {value}; a count is a whole number")
    return int(value)


def _one_line(labels: Labels, found: list[tuple[Sample, ...]]) -> tuple[Sample, ...]:
    if len(found) == 1:
        return found[0]
    ranked = sorted(found, key=lambda samples: (-len(samples), samples))
    line = ranked[0]
    for other in ranked[1:]:
        _agree(labels, line, other)
        before = tuple(sample for sample in other if sample[0] < line[0][0])
        after = tuple(sample for sample in other if sample[0] > line[-1][0])
        line = (*before, *line, *after)
    return line


def _agree(labels: Labels, line: Sequence[Sample], other: Sequence[Sample]) -> None:
    """Each sample of `other` lies between what `line` read before and after it, unless the process began anew there."""
    times = [at for at, _ in line]
    for at, value in other:
        earlier, later = bisect_right(times, at - RACE_S) - 1, bisect_left(times, at + RACE_S)
        if earlier < 0 or later >= len(line):
            continue
        between = [reading for _, reading in line[earlier : later + 1]]
        restarted = any(after < before for before, after in pairwise(between))
        if not restarted and not between[0] <= value <= between[-1]:
            said = ", ".join(f"{name}={of}" for name, of in sorted(labels))
            told = f"{value:g} lies outside {between[0]:g} to {between[-1]:g}"
            raise PastChanged(f"two scrapers of one process disagree: {told} ({said})")
