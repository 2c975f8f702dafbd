"""Sums of counts as JSON: what was counted of every arm in every cluster, small enough for a status.

Confusion counts become one list, row after row in the order of the classes, without the zeros at its end; score
buckets are packed. Knows no test.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pilotage.gate.arm import ArmCounts, Confusion, Moments, Pairs, Proportion, Scores
from pilotage.gate.engine import Arms
from pilotage.gate.packing import pack, unpack


def sums_to_json(sums: Arms, classes: Sequence[str]) -> dict[str, Any]:
    """``{cluster: {arm: counts}}``."""
    return {name: {arm: _encode(counts, classes) for arm, counts in arms.items()} for name, arms in sums.items()}


def sums_from_json(raw: Mapping[str, Any], classes: Sequence[str]) -> Arms:
    """Inverse of ``sums_to_json``."""
    return {name: {arm: _decode(counts, classes) for arm, counts in arms.items()} for name, arms in raw.items()}


def _encode(counts: ArmCounts, classes: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "confusion": _cells(counts.confusion, classes),
        "served": dict(counts.served),
        "proportions": {name: (part.successes, part.trials) for name, part in counts.proportions.items()},
        "buckets": {name: pack((*part.negatives, *part.positives)) for name, part in counts.buckets.items()},
        "means": {name: (part.count, part.sum, part.sumsq) for name, part in counts.means.items()},
        "pairs": {name: (part.n11, part.n10, part.n01, part.n00) for name, part in counts.pairs.items()},
        "audit": _cells(counts.audit, classes),
        "confidence": counts.confidence,
    }
    return {name: value for name, value in told.items() if value}


def _decode(raw: Mapping[str, Any], classes: Sequence[str]) -> ArmCounts:
    return ArmCounts(
        confusion=_table(raw.get("confusion", ()), classes),
        served=dict(raw.get("served", {})),
        proportions={
            name: Proportion(successes=successes, trials=trials)
            for name, (successes, trials) in raw.get("proportions", {}).items()
        },
        buckets={name: _scores(packed) for name, packed in raw.get("buckets", {}).items()},
        means={
            name: Moments(count=count, sum=total, sumsq=squares)
            for name, (count, total, squares) in raw.get("means", {}).items()
        },
        pairs={
            name: Pairs(n11=n11, n10=n10, n01=n01, n00=n00)
            for name, (n11, n10, n01, n00) in raw.get("pairs", {}).items()
        },
        audit=_table(raw.get("audit", ()), classes),
        confidence=tuple(raw.get("confidence", ())),
    )


def _scores(packed: Any) -> Scores:
    numbers = tuple(int(number) for number in unpack(packed))
    half = len(numbers) // 2
    return Scores(negatives=numbers[:half], positives=numbers[half:])


def _cells(table: Confusion, classes: Sequence[str]) -> list[int]:
    cells = [table.get(actual, {}).get(predicted, 0) for actual in classes for predicted in classes] if table else []
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _table(cells: Sequence[int], classes: Sequence[str]) -> Confusion:
    size = len(classes)
    found: dict[str, dict[str, int]] = {}
    for index, n in enumerate(cells):
        if n:
            found.setdefault(classes[index // size], {})[classes[index % size]] = n
    return found
