"""Small tables that follow from a confusion matrix: outcomes per class and slice, and cost. Pure integers."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from pilotage_server.feedback.collector.snapshot import RevisionCounts
from pilotage_server.quality.buckets import MICRO, late_bounds
from pilotage_server.quality.slices import LEAST_SHOWN

OUTCOMES: Final = ("tp", "fp", "fn")
MAX_SLICED_CLASSES: Final = 10
"""Classes up to which outcomes are shown per slice: 4 slices × 20 values × 10 × 3 are 2,400 series."""


def class_outcomes(counts: RevisionCounts) -> dict[str, dict[str, int]]:
    """Labelled rows by class and tp, fp, fn: all classes, all rows."""
    cells = [(actual, predicted, cell.rows) for (actual, predicted), cell in counts.cells.items()]
    return {name: _outcomes(index, cells) for index, name in enumerate(counts.classes)}


def slice_outcomes(counts: RevisionCounts) -> dict[tuple[str, str, str], dict[str, int]]:
    """Labelled rows by (slice, value, class) and tp, fp, fn; zero until the value has 20 labels.

    Two classes are told by the second one alone: the first mirrors it.
    """
    if len(counts.classes) > MAX_SLICED_CLASSES:
        return {}
    shown = list(enumerate(counts.classes))[1 if len(counts.classes) == 2 else 0 :]
    cells: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for (slice_, value, actual, predicted), rows in counts.counts.slices.items():
        cells.setdefault((slice_, value), []).append((actual, predicted, rows))
    found = {}
    for slice_, one in enumerate(counts.slices):
        for value, value_name in enumerate(one.values):
            counted = cells.get((slice_, value), [])
            if sum(rows for _, _, rows in counted) < LEAST_SHOWN:
                counted = []
            for index, name in shown:
                found[one.name, value_name, name] = _outcomes(index, counted)
    return found


def late_counts(counts: RevisionCounts, delay_ms: int) -> dict[str, int]:
    """Late labels by bound in seconds: those of the delay in force, and of earlier ones as long as they are not zero.

    Bounds of two delays that are equal share a counter: a number that was shown neither falls nor vanishes.
    """
    # Without a delay every bound is zero seconds: only what has no bound can be told apart.
    found = dict.fromkeys(late_bounds(delay_ms) if delay_ms > 0 else ("+Inf",), 0)
    for (earlier_ms, bound), requests in sorted(counts.arrivals.late.items()):
        seconds = late_bounds(earlier_ms)[bound] if earlier_ms > 0 else "+Inf"
        found[seconds] = found.get(seconds, 0) + requests
    return found


def cost_micro(counts: RevisionCounts) -> int:
    """Cost of all labelled rows by the manifest's matrix, in millionths of its unit."""
    return sum(
        round(counts.costs[actual][predicted] * MICRO) * cell.rows for (actual, predicted), cell in counts.cells.items()
    )


def _outcomes(class_: int, cells: Iterable[tuple[int, int, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for actual, predicted, rows in cells:
        if actual == class_:
            found["tp" if predicted == class_ else "fn"] += rows
        elif predicted == class_:
            found["fp"] += rows
    return {outcome: found[outcome] for outcome in OUTCOMES}
