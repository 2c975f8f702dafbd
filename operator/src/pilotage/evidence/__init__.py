"""Counts out of a cluster's Prometheus: matured labels of both arms from the same scrape, exact, per ledger; and what
pods counted when those predictions were made.

`answer(query, fetch, now)` turns a `Query` into a `Reading`; the transport is passed in, so this package knows neither
HTTP clients nor credentials. What it cannot count exactly it does not count: an `Unavailable` reading says why.

Rules (design §8): block = value at its end − value at its start, each the last raw sample at or before a scrape, zero
before birth, summed over ledgers; a changed past, a value that fell or a missing scrape is no answer, never a zero.
"""

from pilotage.evidence.answer import Fetch, answer
from pilotage.evidence.errors import FetchFailed, Malformed, Refused, Unreachable
from pilotage.evidence.reading import (
    Baseline,
    BaselineQuery,
    Block,
    BlockQuery,
    Boundary,
    Confusion,
    Counts,
    Foreign,
    Loss,
    Needs,
    Query,
    Reading,
    Unavailable,
    Window,
)

__all__ = [
    "Baseline",
    "BaselineQuery",
    "Block",
    "BlockQuery",
    "Boundary",
    "Confusion",
    "Counts",
    "Fetch",
    "FetchFailed",
    "Foreign",
    "Loss",
    "Malformed",
    "Needs",
    "Query",
    "Reading",
    "Refused",
    "Unavailable",
    "Unreachable",
    "Window",
    "answer",
]
