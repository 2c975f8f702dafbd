"""One question's way to one cluster's Prometheus: which labels it is about, and answers page by page.

The transport is passed in; deadlines are its and the caller's. A page that is too large for either side is asked for
again in halves, so that no answer is larger than 8 MiB and no query loads more than Prometheus allows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pilotage.evidence import promql
from pilotage.evidence.errors import TooLarge
from pilotage.evidence.promql import Series
from pilotage.evidence.reading import BaselineQuery, BlockQuery, Query

Fetch = Callable[[str, str, float | None], Awaitable[bytes]]
"""`await fetch(cluster, promql, at)`: the body of `/api/v1/query` (at None: Prometheus' now). Raises `Unreachable`
or `Refused`, never returns an error page as success, gives up at its deadline and at 8 MiB (`TooLarge`)."""

PAGE_S = 3600.0
"""How much time is read at once to begin with: raw samples of a long outage are many."""
LEAST_PAGE_S = 20.0
MOST_PAGES = 500
"""Beyond this the answer is not worth having: nothing of use asks for so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A question and the transport that carries it."""

    query: Query
    fetch: Fetch

    @property
    def labels(self) -> dict[str, str]:
        """What every counter of ours is selected by."""
        return {"namespace": self.query.namespace, "model": self.query.model}

    @property
    def revisions(self) -> tuple[str, ...]:
        """The arms: canary first, then stable if there is one to compare with."""
        match self.query:
            case BlockQuery(stable=None) as query:
                return (query.canary,)
            case BlockQuery() as query:
                return (query.canary, str(query.stable))
            case BaselineQuery() as query:
                return (query.stable,)

    async def at(self, expression: str, at: float | None) -> tuple[Series, ...]:
        """The answer to one expression; at None: Prometheus' now."""
        return promql.parse(await self.fetch(self.query.cluster, expression, at))

    async def samples(self, selected: str, start: float, end: float) -> tuple[Series, ...]:
        """Every raw sample in (start, end] of the series that a selector finds, read in pages of time."""
        found: dict[frozenset[tuple[str, str]], list[tuple[float, float]]] = {}
        begins, page_s = start, min(end - start, PAGE_S)
        for _ in range(MOST_PAGES):
            if begins >= end:
                break
            ends = min(begins + page_s, end)
            try:
                series = await self.at(promql.within(selected, ends - begins), ends)
            except TooLarge:
                if page_s <= LEAST_PAGE_S:
                    raise
                page_s = max(page_s / 2, LEAST_PAGE_S)
                continue
            for one in series:
                line = found.setdefault(frozenset(one.labels.items()), [])
                # before Prometheus 3 a range held both of its ends
                line += [sample for sample in one.samples if not line or sample[0] > line[-1][0]]
            begins = ends
        else:
            raise TooLarge(f"{end - start:.0f} s of {selected} take more than {MOST_PAGES} pages")
        return tuple(Series(labels=dict(labels), samples=tuple(line)) for labels, line in found.items())
