"""From a question to a reading: which scrapes to compare, what was read there, what it means.

Every time used is Prometheus' own: its clock is asked first, and a skew against ours that the ±15 s around a weight
change could not absorb makes the reading unavailable. A block starts at the boundary of the one before, or at the
first scrape after its window opened; it ends at the last scrape inside the window. Both arms come from one target, so
evaluating at one time reads both from the same scrape.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pilotage.api.reasons import Reason
from pilotage.evidence import promql
from pilotage.evidence.errors import FetchFailed, Malformed, Refused, Unreachable
from pilotage.evidence.ledger import (
    Cell,
    Counters,
    PastChanged,
    checksum,
    classes,
    counters,
    increments,
    verify,
)
from pilotage.evidence.reading import (
    Baseline,
    BaselineQuery,
    Block,
    BlockQuery,
    Boundary,
    Query,
    Reading,
    Unavailable,
)

Fetch = Callable[[str, str, float | None], Awaitable[bytes]]
"""`await fetch(cluster, promql, at)`: the body of `/api/v1/query` (at None: Prometheus' now). Raises `Unreachable`
or `Refused`, never returns an error page as success, gives up at its deadline and at 8 MiB."""

LOOKBACK_S = 300.0
"""How far back a scrape may lie: Prometheus' own idea of a series that is still there."""
STALE_S = 60.0
"""A last scrape older than this is a gap, not a block's end."""
MAX_SKEW_S = 10.0
PAGE_S = 3600.0
"""How much of one gauge is read at once when looking for the first scrape of a window."""


class _NoScrape(FetchFailed):
    """The collector's counters are not there, or not fresh."""


class _WrongDelay(FetchFailed):
    """The collector works with another labelDelay than the spec."""


class _Skew(FetchFailed):
    """Prometheus' clock is not ours."""


_REASONS: tuple[tuple[type[FetchFailed], Reason], ...] = (
    (Unreachable, Reason.PROMETHEUS_UNREACHABLE),
    (Refused, Reason.PROMETHEUS_REFUSED),
    (Malformed, Reason.PROMETHEUS_REFUSED),
    (PastChanged, Reason.COUNTERS_INCONSISTENT),
    (_NoScrape, Reason.COUNTERS_MISSING),
    (_WrongDelay, Reason.LABEL_DELAY_MISMATCH),
    (_Skew, Reason.CLOCK_SKEW),
)


async def answer(query: Query, fetch: Fetch, now: float) -> Reading:
    """The reading for `query`; `now` is our clock. Never raises `FetchFailed`: that is an `Unavailable` reading."""
    try:
        match query:
            case BlockQuery():
                return await _block(query, fetch, now)
            case BaselineQuery():
                return await _baseline(query, fetch, now)
    except FetchFailed as error:
        reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
        return Unavailable(query=query, reason=reason.value, message=f"{query.cluster}: {error}")


async def _block(query: BlockQuery, fetch: Fetch, now: float) -> Block:
    clock = await _clock(query, fetch, now)
    closes = query.window.closes
    until = clock if closes is None else min(clock, closes)
    closed = closes is not None and clock >= closes
    begins = query.window.opens if query.since is None else max(query.window.opens, query.since.at)
    start = await _start(query, fetch, begins, until) if until > begins else None
    end = None if start is None else await _end(query, fetch, until, closed)
    if start is None or end is None or end <= start:
        return Block(query=query, boundary=query.since or Boundary(at=begins, checksum=""), complete=closed)
    await _require_delay(query, fetch, end)
    first = await _counters(query, fetch, start, LOOKBACK_S)
    if query.since is not None and query.since.at == start:
        verify(query.since.checksum, first)
    last = await _counters(query, fetch, end, end - start + LOOKBACK_S)
    return Block(
        query=query,
        boundary=Boundary(at=end, checksum=checksum(last, _revisions(query))),
        stable=increments(first, last, query.stable) if query.stable else {},
        canary=increments(first, last, query.canary),
        complete=closed,
    )


async def _baseline(query: BaselineQuery, fetch: Fetch, now: float) -> Baseline:
    clock = await _clock(query, fetch, now)
    end = await _end(query, fetch, clock, closed=False)
    assert end is not None, "an open window's end is a scrape or an error"
    start = end - query.history_window_s
    first = await _counters(query, fetch, start, LOOKBACK_S)
    last = await _counters(query, fetch, end, end - start + LOOKBACK_S)
    expression = promql.increase(promql.ROWS, query.served_window_s, namespace=query.namespace, model=query.model)
    served = promql.parse(await fetch(query.cluster, expression, end))
    return Baseline(
        query=query,
        rows=round(sum(one.samples[-1][1] for one in served)),
        history=increments(first, last, query.stable),
        classes=classes(last, query.stable),
    )


async def _clock(query: Query, fetch: Fetch, now: float) -> float:
    """Prometheus' time; a skew beyond what the exclusion around weight changes absorbs is an error."""
    (answered,) = promql.parse(await fetch(query.cluster, "time()", None))
    clock = answered.samples[0][1]
    if abs(clock - now) > MAX_SKEW_S:
        raise _Skew(
            f"its clock differs from ours by {clock - now:+.0f} s, more than {MAX_SKEW_S:.0f} s; synchronise both"
        )
    return clock


async def _start(query: BlockQuery, fetch: Fetch, begins: float, until: float) -> float | None:
    """The scrape a block starts from: its predecessor's last, or the first after the window opened."""
    if query.since is not None and query.since.at == begins:
        return begins
    at = begins
    while at < until:
        page_ends = min(at + PAGE_S, until)
        expression = promql.raw(promql.LABEL_DELAY, page_ends - at, **_labels(query))
        found = promql.parse(await fetch(query.cluster, expression, page_ends))
        scrapes = [moment for series in found for moment, _ in series.samples if moment >= begins]
        if scrapes:
            return min(scrapes)
        at = page_ends
    return None


async def _end(query: Query, fetch: Fetch, until: float, closed: bool) -> float | None:
    """The last scrape at or before `until`: a fresh one for a window still open, for a closed one whatever there is."""
    found = promql.parse(await fetch(query.cluster, promql.last_scrape(promql.LABEL_DELAY, **_labels(query)), until))
    if found and (closed or until - found[0].samples[-1][1] <= STALE_S):
        return found[0].samples[-1][1]
    if closed:
        return None
    since = f"none for {until - found[0].samples[-1][1]:.0f} s" if found else "none in the last 5 minutes"
    raise _NoScrape(
        f"no scrape of the collector of {query.namespace}/{query.model} ({since}); check that its pod runs and that"
        f" Prometheus scrapes pods annotated prometheus.io/scrape"
    )


async def _require_delay(query: BlockQuery, fetch: Fetch, at: float) -> None:
    expression = promql.selector(promql.LABEL_DELAY, **_labels(query))
    found = promql.parse(await fetch(query.cluster, expression, at))
    delays = {series.samples[-1][1] for series in found}
    if delays != {query.label_delay_s}:
        used = ", ".join(f"{delay:g} s" for delay in sorted(delays)) or "none"
        raise _WrongDelay(f"the collector uses labelDelay {used}, the spec says {query.label_delay_s:g} s; wait for it")


async def _counters(query: Query, fetch: Fetch, at: float, range_s: float) -> Counters:
    revisions = "|".join(_revisions(query))
    expression = promql.last_values(promql.MATURED, Cell._fields, range_s, **_labels(query), revision=revisions)
    return counters(promql.parse(await fetch(query.cluster, expression, at)))


def _revisions(query: Query) -> list[str]:
    match query:
        case BlockQuery():
            return [query.canary, *([query.stable] if query.stable else [])]
        case BaselineQuery():
            return [query.stable]


def _labels(query: Query) -> dict[str, str]:
    return {"namespace": query.namespace, "model": query.model}
