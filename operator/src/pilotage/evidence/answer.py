"""From a question to a reading: which scrapes to compare, what was read there, what it means.

Every time used is Prometheus' own: its clock is asked first, and a skew against ours that the ±15 s around a weight
change could not absorb makes the reading unavailable. A block starts at the boundary of the one before, or at the
first scrape after its window opened; it ends at the last scrape inside the window. What pods counted is taken
labelDelay earlier, so that served rows are as old as the labels beside them.
"""

from __future__ import annotations

from dataclasses import replace

from pilotage.api.reasons import Reason
from pilotage.evidence import promql
from pilotage.evidence.asking import Asking, Fetch
from pilotage.evidence.collector import (
    LOOKBACK_S,
    counters_at,
    first_scrape,
    last_scrape,
    require_delay,
    require_exports,
)
from pilotage.evidence.errors import (
    FetchFailed,
    Malformed,
    NoSeries,
    PastChanged,
    Refused,
    Skew,
    Unreachable,
    WrongDelay,
)
from pilotage.evidence.ledger import checksum, classes, increments, verify
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
from pilotage.evidence.served import read_foreign, read_served

__all__ = ["Fetch", "answer"]

MAX_SKEW_S = 10.0
PARTS = 30
"""A baseline's history is also given in so many parts: the dispersion of a proportion shows between them."""

_REASONS: tuple[tuple[type[FetchFailed], Reason], ...] = (
    (Unreachable, Reason.PROMETHEUS_UNREACHABLE),
    (Refused, Reason.PROMETHEUS_REFUSED),
    (Malformed, Reason.PROMETHEUS_REFUSED),
    (PastChanged, Reason.COUNTERS_INCONSISTENT),
    (NoSeries, Reason.COUNTERS_MISSING),
    (WrongDelay, Reason.LABEL_DELAY_MISMATCH),
    (Skew, Reason.CLOCK_SKEW),
)


async def answer(query: Query, fetch: Fetch, now: float) -> Reading:
    """The reading for `query`; `now` is our clock. Never raises `FetchFailed`: that is an `Unavailable` reading."""
    asking = Asking(query=query, fetch=fetch)
    try:
        match query:
            case BlockQuery():
                return await _block(asking, query, now)
            case BaselineQuery():
                return await _baseline(asking, query, now)
    except FetchFailed as error:
        reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
        return Unavailable(query=query, reason=reason.value, message=f"{query.cluster}: {error}")


async def _block(asking: Asking, query: BlockQuery, now: float) -> Block:
    clock = await _clock(asking, now)
    closes = query.window.closes
    until = clock if closes is None else min(clock, closes)
    closed = closes is not None and clock >= closes
    begins = query.window.opens if query.since is None else max(query.window.opens, query.since.at)
    start = await first_scrape(asking, query, begins, until) if until > begins else None
    end = None if start is None else await last_scrape(asking, until, closed=closed)
    if start is None or end is None or end <= start:
        return Block(query=query, boundary=query.since or Boundary(at=begins, checksum=""), complete=closed)
    await require_delay(asking, query.label_delay_s, end)
    first = await counters_at(asking, start, LOOKBACK_S)
    if query.since is not None and query.since.at == start:
        verify(query.since.checksum, first)
    last = await counters_at(asking, end, end - start + LOOKBACK_S)
    require_exports(asking, last)
    labels = {revision: increments(first, last, revision) for revision in asking.revisions}
    made = (start - query.label_delay_s, end - query.label_delay_s)
    served = await read_served(asking, *made)
    foreign = await read_foreign(asking, lambda counters: (start, end) if counters.by_label else made)
    arms = {
        revision: replace(served.within(made, revision, counts), foreign=foreign[revision])
        for revision, counts in labels.items()
    }
    return Block(
        query=query,
        boundary=Boundary(at=end, checksum=checksum(last, asking.revisions)),
        stable=arms[query.stable] if query.stable else Counts(),
        canary=arms[query.canary],
        complete=closed,
        edges=served.rounded,
        classes=classes(last, query.canary),
    )


async def _baseline(asking: Asking, query: BaselineQuery, now: float) -> Baseline:
    clock = await _clock(asking, now)
    end = await last_scrape(asking, clock, closed=False)
    assert end is not None, "an open window's end is a scrape or an error"
    start = end - query.history_window_s
    first = await counters_at(asking, start, LOOKBACK_S)
    last = await counters_at(asking, end, end - start + LOOKBACK_S)
    expression = promql.increase(promql.ROWS, query.served_window_s, **asking.labels)
    rows = await asking.at(expression, end)
    served = await read_served(asking, start, end, in_parts=True)
    foreign = await read_foreign(asking, lambda _: (start, end))
    history = served.within((start, end), query.stable, increments(first, last, query.stable))
    step = (end - start) / PARTS
    spans = [(start + part * step, start + (part + 1) * step) for part in range(PARTS)]
    return Baseline(
        query=query,
        rows=round(sum(one.samples[-1][1] for one in rows)),
        history=replace(history, foreign=foreign[query.stable]),
        classes=classes(last, query.stable),
        parts=tuple(served.within(span, query.stable, Counts()) for span in spans) if served.lines else (),
    )


async def _clock(asking: Asking, now: float) -> float:
    """Prometheus' time; a skew beyond what the exclusion around weight changes absorbs is an error."""
    (answered,) = await asking.at("time()", None)
    clock = answered.samples[0][1]
    if abs(clock - now) > MAX_SKEW_S:
        raise Skew(
            f"its clock differs from ours by {clock - now:+.0f} s, more than {MAX_SKEW_S:.0f} s; synchronise both"
        )
    return clock
