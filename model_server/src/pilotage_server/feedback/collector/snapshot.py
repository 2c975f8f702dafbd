"""The committed state of a ledger as one immutable value: what a scrape shows comes from exactly one of these."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pilotage_server.feedback.collector.window import Window
from pilotage_server.feedback.results import Result
from pilotage_server.quality.slices import Slice

PAIR_OUTCOMES: Final = ("n11", "n10", "n01", "n00")
"""Canary right (first digit) by stable right (second)."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Counted labels of one (actual, predicted).

    `rows` all of them, `requests` those of one row per request, `audited` those of requests picked for labelling.
    """

    rows: int
    requests: int
    audited: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Sums over counted labels whose token carried probabilities.

    `requests`, `loss` (millionths of a nat) and `squares` (of millionths) over one row per request; `rows`,
    `rows_loss` and `rows_brier` (millionths) over all rows.
    """

    requests: int = 0
    loss: int = 0
    squares: int = 0
    rows: int = 0
    rows_loss: int = 0
    rows_brier: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Everything counted for one revision when its labels matured; absent keys mean zero.

    `cells` by (actual, predicted); `scores` by (class, 0 or 1, bucket), one row per request, `score_rows` all rows;
    `cohorts` by (class, tp | fp | fn, position in `COHORT_NAMES`) and `slices` by (slice, value, actual, predicted),
    all rows.
    """

    cells: Mapping[tuple[int, int], Cell] = field(default_factory=dict)
    moments: Moments = Moments()
    scores: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    score_rows: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    cohorts: Mapping[tuple[int, str, int], int] = field(default_factory=dict)
    slices: Mapping[tuple[int, int, int, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """What is counted when labels arrive.

    `stored`: labels ever accepted; `late` by (labelDelay in force, ms; bound), one row per request; `delays` by bound:
    first labels and the sum of their ages in ms.
    """

    stored: int = 0
    late: Mapping[tuple[int, int], int] = field(default_factory=dict)
    delays: Mapping[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionCounts:
    """What the ledger knows of one revision. `seen_ms`: its last announcement, unix ms; `window`: its last labels."""

    revision: str
    classes: tuple[str, ...]
    seen_ms: int
    counts: Counts = Counts()
    arrivals: Arrivals = Arrivals()
    window: Window | None = None
    slices: tuple[Slice, ...] = ()
    costs: tuple[tuple[float, ...], ...] = ()
    results: Mapping[Result, int] = field(default_factory=dict)

    @property
    def cells(self) -> Mapping[tuple[int, int], Cell]:
        """The confusion matrix by class indices."""
        return self.counts.cells

    @property
    def stored(self) -> int:
        """Labels ever accepted."""
        return self.arrivals.stored

    @property
    def counted_rows(self) -> int:
        """Labels counted, over all cells."""
        return sum(cell.rows for cell in self.cells.values())

    @property
    def counted_requests(self) -> int:
        """Labels that entered the gate's counters: at most one per request."""
        return sum(cell.requests for cell in self.cells.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One committed state.

    Every stored label whose prediction had matured by `counted_until_ms` (unix ms) is in it, and no other; matured
    means `label_delay_ms` old. `pairs`: requests by (stable, canary, outcome n11 | n10 | n01 | n00), canary right ×
    stable right. `others`: results of items that name no known revision.
    """

    ledger: str
    born_ms: int
    label_delay_ms: int
    counted_until_ms: int
    revisions: tuple[RevisionCounts, ...]
    others: Mapping[Result, int]
    pairs: Mapping[tuple[str, str, str], int] = field(default_factory=dict)


def newest(revisions: Iterable[RevisionCounts]) -> list[RevisionCounts]:
    """The last announced first."""
    return sorted(revisions, key=lambda one: (one.seen_ms, one.revision), reverse=True)
