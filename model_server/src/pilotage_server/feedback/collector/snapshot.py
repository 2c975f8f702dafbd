"""The committed state of a ledger as one immutable value: what a scrape shows comes from exactly one of these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pilotage_server.feedback.results import Result

CELL_BUDGET: Final = 5_000
"""Confusion cells exported for all revisions together, each as two series; older revisions give way to newer ones."""
ALWAYS_EXPORTED: Final = 3
"""Stable, canary and the stable before: exported whatever they cost."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Counted labels of one (actual, predicted): `rows` all of them, `requests` those of one row per request."""

    rows: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionCounts:
    """What is counted for one revision. `cells` by class indices, absent means zero; `stored`: labels ever accepted."""

    revision: str
    classes: tuple[str, ...]
    seen_ms: int
    stored: int
    cells: Mapping[tuple[int, int], Cell]
    results: Mapping[Result, int]

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
    means `label_delay_ms` old. `others`: results of items that name no known revision.
    """

    ledger: str
    born_ms: int
    label_delay_ms: int
    counted_until_ms: int
    revisions: tuple[RevisionCounts, ...]
    others: Mapping[Result, int]


def exported(revisions: Sequence[RevisionCounts]) -> list[RevisionCounts]:
    """The revisions that fit the series budget, the last announced first."""
    chosen: list[RevisionCounts] = []
    cells = 0
    for counts in sorted(revisions, key=lambda one: (one.seen_ms, one.revision), reverse=True):
        cells += len(counts.classes) ** 2
        if cells > CELL_BUDGET and len(chosen) >= ALWAYS_EXPORTED:
            break
        chosen.append(counts)
    return chosen
