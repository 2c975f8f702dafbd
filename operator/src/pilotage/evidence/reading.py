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
class Foreign:
    """Counters of somebody else's exporter for one gate: role → PromQL selector with `$revision` in it.

    `by_label`: they count labels as those arrive, so they are read at the block's own times; else they count requests,
    and are read at the times these were made.
    """

    gate: str
    selectors: tuple[tuple[str, str], ...]
    by_label: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the gates want counted besides the confusion cells and late labels; nothing else is asked for.

    From the collector: `audit` cells, `scores` (log-odds buckets), `loss` (count, sum, sum of squares). From the pods:
    `served` rows by predicted class, `errors`, `within` these latency bounds (seconds), `inputs` and `confidence` bins.
    """

    audit: bool = False
    scores: bool = False
    loss: bool = False
    served: bool = False
    errors: bool = False
    within: tuple[float, ...] = ()
    inputs: bool = False
    confidence: bool = False
    foreign: tuple[Foreign, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Log loss of matured labels in nats: count, sum, sum of squares."""

    count: int
    sum: float
    sumsq: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was counted of one arm; what nobody asked for, or nobody exports, is empty or None.

    `late`: labels by upper bound of their delay in seconds. `scores`: class → "0" and "1" → buckets, ascending.
    `requests`: (without error, all). `within`: latency bound → (requests under it, all). `inputs`: feature → rows per
    bin. `confidence`: rows per bucket. `foreign`: gate → role → count.
    """

    confusion: Confusion = field(default_factory=dict)
    audit: Confusion = field(default_factory=dict)
    late: Mapping[str, int] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    loss: Loss | None = None
    served: Mapping[str, int] = field(default_factory=dict)
    requests: tuple[int, int] | None = None
    within: Mapping[float, tuple[int, int]] = field(default_factory=dict)
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    confidence: tuple[int, ...] = ()
    foreign: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


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
    needs: Needs = Needs()


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
    needs: Needs = Needs()


Query = BaselineQuery | BlockQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Answer to a `BaselineQuery`: rows served, the stable arm's history, and every class the stable's cells name.

    The collector exports all cells at zero once a revision is registered, so `classes` is complete without a label.
    `history` is one whole; `parts` are the same window in consecutive parts, with what pods count, for the dispersion.
    """

    query: BaselineQuery
    rows: int
    history: Counts
    classes: tuple[str, ...] = ()
    parts: tuple[Counts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Answer to a `BlockQuery`: increments between two scrapes, and the boundary where the next block begins.

    `complete` says that the window has closed and nothing more will mature in it. `edges`: latency bound asked for →
    bucket edge that was counted, where there is no edge at the bound itself. `classes`: as in a `Baseline`.
    """

    query: BlockQuery
    boundary: Boundary
    stable: Counts = Counts()
    canary: Counts = Counts()
    complete: bool = False
    edges: Mapping[float, float] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """No answer. `reason` is one of `pilotage.api.reasons` for MetricsAvailable=False; `message` names the remedy."""

    query: Query
    reason: str
    message: str


Reading = Baseline | Block | Unavailable
