"""Which served rows get labels: alike in both arms, and whatever was predicted.

Per cluster, served and labelled rows wait until both arms have thirty served ones, then form a block. From each block,
per predicted class k: the canary's labels against the rate of both arms' rows predicted k (coverage by arm), and the
labels of class k against the rate of all classes of the same arm (coverage by prediction). A breach needs both: an
any-time-valid score of 1,000 (level .001) and a difference of more than 5 %, for random labelling is never quite even
and a smaller difference moves no metric by what a margin is made of. Without served rows nothing can be said.
Source: statistics.md §6.6; the score is that of ``alike``, which needs no base rate and so bets from the first block.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, Final

from pilotage.gate.arm import ArmCounts, Confusion
from pilotage.gate.blocks import ARMS, Block
from pilotage.gate.conditions.alike import NONE, SURE, Draws, log_mean, within
from pilotage.gate.conditions.breach import (
    Breach,
    Condition,
    breach,
    counts_labels,
    is_given_prediction,
    precision_class,
)
from pilotage.gate.packing import pack, unpack
from pilotage.gate.spec import GateSpec, Labels

EVERYWHERE: Final = ""
_CLOSES_AT: Final = 30
_MOST_CELLS: Final = 40
_TOLERANCE: Final = 0.05
_MOST_NAMED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Rows of one cluster not yet in a block: ``{arm: {predicted: n}}``."""

    served: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: {arm: {} for arm in ARMS})
    labelled: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: {arm: {} for arm in ARMS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One predicted class in one place. ``canary``: its labels against both arms'; ``both``: labels of this class, in
    either arm, against all classes of the same arm.
    """

    canary: Draws = NONE
    both: Draws = NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """``cells`` by place (a cluster, or everywhere when there are many) and predicted class."""

    pending: Mapping[str, Pending] = field(default_factory=dict)
    cells: Mapping[str, Mapping[str, Cell]] = field(default_factory=dict)


def absorbed(memory: Coverage, block: Block, labels: Labels, *, classes: Sequence[str], places: int) -> Coverage:
    """The block's rows added; ``places``: how many clusters the wave has."""
    for name, arms in block.clusters.items():
        if any(counts.served for counts in arms.values()) or name in memory.pending:
            held = _more(memory.pending.get(name, Pending()), arms, labels)
            memory = replace(memory, pending={**memory.pending, name: held})
            if all(sum(held.served[arm].values()) >= _CLOSES_AT for arm in ARMS):
                memory = _closed(memory, name, classes, places)
    return memory


def turned(memory: Coverage, *, classes: Sequence[str], places: int) -> Coverage:
    """The weight changed: what is pending forms a block."""
    for name in memory.pending:
        memory = _closed(memory, name, classes, places)
    return memory


def breaches(memory: Coverage, gates: Sequence[GateSpec], labels: Labels) -> list[Breach]:
    """Coverage by arm, then by prediction; the worst cell of each is named."""
    asking = [gate for gate in gates if counts_labels(gate, labels)]
    by_arm = [(place, k, cell.canary) for place, k, cell in _by_arm(memory)]
    by_class = [(place, k, cell.both) for place, cells in memory.cells.items() for k, cell in cells.items()]
    found = []
    guilty = _worst_places(_guilty(by_arm))
    many = len(guilty) > _MOST_NAMED  # then the worst class stands for all of them
    for place, k, draws in guilty[:1] if many else guilty:
        about = [gate for gate in asking if many or k == "" or precision_class(gate) in (None, k)]
        found.append(breach(Condition.COVERAGE_DIFFERS, _told_by_arm(memory, place, k, draws), about))
    for place, k, draws in _guilty(by_class)[:1]:  # all of them touch the same gates
        about = [gate for gate in asking if not is_given_prediction(gate)]
        found.append(breach(Condition.COVERAGE_BY_PREDICTION, _told_by_class(memory, place, k, draws), about))
    return [one for one in found if one.passes]


def encode(memory: Coverage, classes: Sequence[str]) -> dict[str, Any]:
    """JSON."""
    return {
        "pending": {
            name: pack([of[arm].get(k, 0) for of in (held.served, held.labelled) for arm in ARMS for k in classes])
            if held != Pending()
            else ""
            for name, held in memory.pending.items()
        },
        "cells": {
            place: pack([n for k in classes for draws in (cells[k].canary, cells[k].both) for n in draws.to_list()])
            for place, cells in memory.cells.items()
        },
    }


def decode(raw: Mapping[str, Any], classes: Sequence[str]) -> Coverage:
    """What ``encode`` wrote."""
    return Coverage(
        pending={
            name: _pending(unpack(packed), classes) if packed else Pending() for name, packed in raw["pending"].items()
        },
        cells={place: _cells(unpack(packed), classes) for place, packed in raw["cells"].items()},
    )


def _pending(numbers: Sequence[float], classes: Sequence[str]) -> Pending:
    size = len(classes)
    rows = [
        {k: int(n) for k, n in zip(classes, numbers[at : at + size], strict=True) if n}
        for at in range(0, 4 * size, size)
    ]
    return Pending(served=dict(zip(ARMS, rows[:2], strict=True)), labelled=dict(zip(ARMS, rows[2:], strict=True)))


def _cells(numbers: Sequence[float], classes: Sequence[str]) -> dict[str, Cell]:
    return {
        k: Cell(
            canary=Draws.from_list(numbers[6 * at : 6 * at + 3]), both=Draws.from_list(numbers[6 * at + 3 : 6 * at + 6])
        )
        for at, k in enumerate(classes)
    }


def _more(held: Pending, arms: Mapping[str, ArmCounts], labels: Labels) -> Pending:
    served = {arm: dict(held.served[arm]) for arm in ARMS}
    labelled = {arm: dict(held.labelled[arm]) for arm in ARMS}
    for arm, counts in arms.items():
        _add(served[arm], counts.served)
        confusion: Confusion = counts.audit if labels is Labels.AUDIT else counts.confusion
        for row in confusion.values():
            _add(labelled[arm], row)
    return Pending(served=served, labelled=labelled)


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, n in more.items():
        total[name] = total.get(name, 0) + n


def _closed(memory: Coverage, name: str, classes: Sequence[str], places: int) -> Coverage:
    held = memory.pending[name]
    place = name if len(classes) * places <= _MOST_CELLS else EVERYWHERE
    cells = dict(memory.cells.get(place) or {k: Cell() for k in classes})
    carried = {arm: dict(held.labelled[arm]) for arm in ARMS}
    hits: dict[str, dict[str, int]] = {arm: {} for arm in ARMS}
    for arm in ARMS:
        for k, rows in held.served[arm].items():
            # Labels may be scraped a moment before their rows: what is too many waits for the next block.
            hits[arm][k] = min(rows, carried[arm].get(k, 0))
            carried[arm][k] = carried[arm].get(k, 0) - hits[arm][k]
    for k in sorted({*held.served["stable"], *held.served["canary"]}):
        cells[k] = _with_block(cells[k], k, held.served, hits)
    left = {arm: {k: n for k, n in carried[arm].items() if n} for arm in ARMS}
    waiting = {**memory.pending, name: Pending(labelled=left)}
    return Coverage(pending=waiting, cells={**memory.cells, place: cells})


def _with_block(
    cell: Cell, k: str, served: Mapping[str, Mapping[str, int]], hits: Mapping[str, Mapping[str, int]]
) -> Cell:
    rows = {arm: served[arm].get(k, 0) for arm in ARMS}
    labelled = {arm: hits[arm].get(k, 0) for arm in ARMS}
    both = cell.both
    for arm in ARMS:
        both = both + within(rows[arm], labelled[arm], sum(served[arm].values()), sum(hits[arm].values()))
    arms = within(rows["canary"], labelled["canary"], sum(rows.values()), sum(labelled.values()))
    return Cell(canary=cell.canary + arms, both=both)


def _by_arm(memory: Coverage) -> Iterator[tuple[str, str, Cell]]:
    """Every class of every place, and all classes of a place taken together."""
    for place, cells in memory.cells.items():
        yield from ((place, k, cell) for k, cell in cells.items())
        yield place, "", Cell(canary=sum((cell.canary for cell in cells.values()), NONE))


def _guilty(found: Sequence[tuple[str, str, Draws]]) -> list[tuple[str, str, Draws]]:
    """Those that differ surely and by enough, if all of them together say that some do; the worst first.

    All classes together speak only where no single one does.
    """
    if not any(_differs(draws) for _, _, draws in found):
        return []
    scores = [draws.log_e() for _, _, draws in found]
    if log_mean(scores) < SURE:
        return []
    scored = zip(scores, found, strict=True)
    sure = sorted([(-score, one) for score, one in scored if score >= SURE and _differs(one[2])], key=itemgetter(0))
    return [one for _, one in sure if one[1]] or [one for _, one in sure]


def _worst_places(guilty: Sequence[tuple[str, str, Draws]]) -> list[tuple[str, str, Draws]]:
    """The worst place of every class, in the same order."""
    worst = {k: (place, k, draws) for place, k, draws in reversed(guilty)}
    return sorted(worst.values(), key=guilty.index)


def _differs(draws: Draws) -> bool:
    return abs(draws.hits - draws.expected) > _TOLERANCE * draws.expected


def _told_by_arm(memory: Coverage, place: str, k: str, draws: Draws) -> str:
    rows = f"served rows predicted {k!r}" if k else "served rows"
    return (
        f"{draws.rate:.1%} of the canary's {draws.trials} {rows} {_where(memory, place)} are labelled, where "
        f"{draws.expected / draws.trials:.1%} would be if both arms were labelled alike; "
        "label without regard to the revision, or gate on labels: audit"
    )


def _told_by_class(memory: Coverage, place: str, k: str, draws: Draws) -> str:
    return (
        f"{draws.rate:.1%} of {draws.trials} served rows predicted {k!r} {_where(memory, place)} are labelled, where "
        f"{draws.expected / draws.trials:.1%} would be if predictions made no difference; "
        "label without regard to the prediction, or gate on labels: audit"
    )


def _where(memory: Coverage, place: str) -> str:
    return f"in {place}" if place != EVERYWHERE else "over all clusters"
