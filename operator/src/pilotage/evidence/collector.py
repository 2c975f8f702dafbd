"""A cluster's collector as its Prometheus shows it: when it was scraped, with which labelDelay, what it had counted.

Both arms come from one target, so evaluating at the time of one scrape reads both from the same scrape. Where several
scrapers follow one collector the latest look counts, none is added to another, and all must tell the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise, product

from pilotage.evidence import promql
from pilotage.evidence.asking import Asking
from pilotage.evidence.errors import NoSeries, TooLarge, WrongDelay
from pilotage.evidence.ledger import LABELS, Cell, Counter, Counters, agree, counters, exported
from pilotage.evidence.pods import RACE_S
from pilotage.evidence.promql import Series
from pilotage.evidence.reading import BlockQuery

LOOKBACK_S = 300.0
"""How far back a scrape may lie: Prometheus' own idea of a series that is still there."""
STALE_S = 60.0
"""A last scrape older than this is a gap, not a block's end."""
PAGE_S = 3600.0
"""How much of one gauge is read at once when looking for the first scrape of a window."""

_METRICS = {
    Counter.MATURED: promql.MATURED,
    Counter.AUDIT: promql.AUDIT,
    Counter.LATE: promql.LATE,
    Counter.SCORES: promql.SCORES,
    Counter.LOSS: promql.LOSS,
}


async def first_scrape(asking: Asking, query: BlockQuery, begins: float, until: float) -> float | None:
    """The scrape a block starts from: its predecessor's last, or the first after the window opened."""
    if query.since is not None and query.since.at == begins:
        return begins
    at = begins
    while at < until:
        page_ends = min(at + PAGE_S, until)
        found = await asking.at(promql.raw(promql.LABEL_DELAY, page_ends - at, **asking.labels), page_ends)
        scrapes = [moment for series in found for moment, _ in series.samples if moment >= begins]
        if scrapes:
            return min(scrapes)
        at = page_ends
    return None


async def last_scrape(asking: Asking, until: float, *, closed: bool) -> float | None:
    """The last scrape at or before `until`: a fresh one for a window still open, for a closed one whatever there is."""
    found = await asking.at(promql.last_scrape(promql.LABEL_DELAY, **asking.labels), until)
    latest = max((series.samples[-1][1] for series in found), default=None)
    if latest is not None and (closed or until - latest <= STALE_S):
        await _require_agreement(asking, found, latest)
        return latest
    if closed:
        return None
    since = f"none for {until - latest:.0f} s" if latest is not None else "none in the last 5 minutes"
    raise NoSeries(
        f"no scrape of the collector of {asking.query.namespace}/{asking.query.model} ({since}); check that its pod"
        f" runs and that Prometheus scrapes pods annotated prometheus.io/scrape"
    )


async def require_delay(asking: Asking, wanted_s: float, at: float) -> None:
    """WrongDelay unless the collector matures labels as the spec says."""
    found = await asking.at(promql.selector(promql.LABEL_DELAY, **asking.labels), at)
    delays = {series.samples[-1][1] for series in found}
    if delays != {wanted_s}:
        used = ", ".join(f"{delay:g} s" for delay in sorted(delays)) or "none"
        raise WrongDelay(f"the collector uses labelDelay {used}, the spec says {wanted_s:g} s; wait for it")


async def counters_at(asking: Asking, at: float, range_s: float) -> Counters:
    """Everything that is needed of the collector, as of the last sample within `range_s` before `at`.

    In one question; where that is too large (a hundred classes have ten thousand cells), in one per counter and arm.
    """
    try:
        return counters(await asking.at(_all_of(asking, _needed(asking), asking.revisions, range_s), at))
    except TooLarge:
        found: dict[Cell, int] = {}
        for counter, revision in product(_needed(asking), asking.revisions):
            found |= counters(await asking.at(_all_of(asking, [counter], [revision], range_s), at))
        return found


def _all_of(asking: Asking, wanted: Sequence[Counter], revisions: Sequence[str], range_s: float) -> str:
    expressions = (
        promql.marked(
            promql.last_values(
                _METRICS[counter],
                ("ledger", "revision", *LABELS[counter]),
                range_s,
                **asking.labels,
                revision="|".join(revisions),
            ),
            counter.value,
        )
        for counter in wanted
    )
    return promql.either(expressions)


def require_exports(asking: Asking, values: Counters) -> None:
    """NoSeries when something that gates ask for is not exported: it would read as zero for ever."""
    missing = {*_needed(asking)} - {Counter.LATE} - exported(values)
    if values and missing:
        names = ", ".join(sorted(_METRICS[counter] for counter in missing))
        raise NoSeries(f"the collector does not export {names} yet; it does once it has read its new settings")


def _needed(asking: Asking) -> list[Counter]:
    needs = asking.query.needs
    wanted = {Counter.AUDIT: needs.audit, Counter.SCORES: needs.scores, Counter.LOSS: needs.loss}
    return [counter for counter in Counter if wanted.get(counter, True)]


async def _require_agreement(asking: Asking, scrapers: Sequence[Series], at: float) -> None:
    """PastChanged when one of several scrapers has seen less than another had seen before it."""
    by_ledger: defaultdict[str, list[Series]] = defaultdict(list)
    for series in scrapers:
        by_ledger[series.labels.get("ledger", "")].append(series)
    twins = [one for series in by_ledger.values() if len(series) > 1 for one in series]
    if not twins:
        return
    apart = sorted({name for one in twins for name in one.labels if len({o.labels.get(name) for o in twins}) > 1})
    by = dict.fromkeys(("ledger", "revision", *LABELS[Counter.MATURED], *apart))
    revisions = "|".join(asking.revisions)
    found = await asking.at(promql.live_values(promql.MATURED, by, **asking.labels, revision=revisions), at)
    for scraped in by_ledger.values():
        looks = sorted((one.samples[-1][1], [one.labels.get(name, "") for name in apart]) for one in scraped)
        for (before, earlier), (after, later) in pairwise(looks):
            if before == after or after - before >= RACE_S:
                agree(*(_seen_by(found, apart, who) for who in (earlier, later)), same_scrape=before == after)


def _seen_by(found: Sequence[Series], apart: Sequence[str], who: Sequence[str]) -> Counters:
    return counters(series for series in found if [series.labels.get(name, "") for name in apart] == who)
