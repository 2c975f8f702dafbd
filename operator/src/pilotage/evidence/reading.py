"""What the planner asks of a cluster's Prometheus, and what it gets back: plain values, no transport.

A `Query` names counters and times, a `Reading` answers it or says why there is no answer. Nothing here is a verdict:
an unavailable reading is its own value and never reads as zero. All times are unix seconds as Prometheus stores them.
Knows neither HTTP nor PromQL (`evidence.promql`) nor the test that multiplies the counts (`pilotage.gate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Confusion = Mapping[str, Mapping[str, int]]
"""Matured labels, actual class → predicted class → count; cells that are zero may be absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """The scrape at which a cluster's last block ended.

    `at` is the time of that scrape; `checksum` covers the counters read there, per ledger, so that a rewritten or lost
    history is noticed instead of counted.
    """

    at: float
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One step's evidence in *maturity* time (prediction time + labelDelay); `closes` is None while the step lasts."""

    step: int
    opens: float
    closes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineQuery:
    """Before a wave: rows this cluster served in the last ten minutes, and the stable revision's recent matured labels.

    `asked_at` (in every query) is when the planner asked: it paces the next one and is no part of the question.
    """

    cluster: str
    namespace: str
    model: str
    stable: str
    asked_at: float = 0.0
    served_window_s: float = 600.0
    history_window_s: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockQuery:
    """Counts that matured inside `window` since `since` (None: since the window opened), both arms from one scrape.

    `stable` is None when there is nothing to compare with (first deployment, or a cluster already promoted).
    `label_delay_s` is what the collector must report; another value there makes the reading unavailable.
    `wave` is the wave's name: a cluster belongs to one wave at a time, and readings go back to that wave's evidence.
    """

    cluster: str
    namespace: str
    model: str
    wave: str
    stable: str | None
    canary: str
    window: Window
    since: Boundary | None
    label_delay_s: float
    asked_at: float = 0.0


Query = BaselineQuery | BlockQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Answer to a `BaselineQuery`: rows served, the stable arm's history, and every class the stable's cells name.

    The collector exports all cells at zero once a revision is registered, so `classes` is complete without a label.
    """

    query: BaselineQuery
    rows: int
    history: Confusion
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Answer to a `BlockQuery`: increments between two scrapes, and the boundary where the next block begins.

    `complete` says that the window has closed and nothing more will mature in it.
    """

    query: BlockQuery
    boundary: Boundary
    stable: Confusion = field(default_factory=dict)
    canary: Confusion = field(default_factory=dict)
    complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """No answer. `reason` is one of `pilotage.api.reasons` for MetricsAvailable=False; `message` names the remedy."""

    query: Query
    reason: str
    message: str


Reading = Baseline | Block | Unavailable
