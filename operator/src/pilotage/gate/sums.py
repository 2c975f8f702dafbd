"""Sums of counts as JSON: what was counted of every arm in every cluster, small enough for a status.

Confusion counts become one list, row after row in the order of the classes, without the zeros at its end; those of
many classes and score buckets are packed. Knows no test.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, islice
from typing import Any, Final

from pilotage.gate.arm import ArmCounts, Confusion, Moments, Pairs, Proportion, Scores
from pilotage.gate.engine import Arms
from pilotage.gate.packing import pack, unpack

_MANY: Final = 32


def sums_to_json(sums: Arms, classes: Sequence[str]) -> dict[str, Any]:
    """``{cluster: {arm: counts}}``."""
    return {name: {arm: _encode(counts, classes) for arm, counts in arms.items()} for name, arms in sums.items()}


def sums_from_json(raw: Mapping[str, Any], classes: Sequence[str]) -> Arms:
    """Inverse of ``sums_to_json``."""
    return {name: {arm: _decode(counts, classes) for arm, counts in arms.items()} for name, arms in raw.items()}


def _encode(counts: ArmCounts, classes: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "confusion": _cells(counts.confusion, classes),
        "served": [counts.served.get(name, 0) for name in classes] if counts.served else [],
        "proportions": {name: (part.successes, part.trials) for name, part in counts.proportions.items()},
        "buckets": _ranked(counts.buckets, classes),
        "means": {name: (part.count, part.sum, part.sumsq) for name, part in counts.means.items()},
        "pairs": {name: (part.n11, part.n10, part.n01, part.n00) for name, part in counts.pairs.items()},
        "audit": _cells(counts.audit, classes),
        "confidence": counts.confidence,
        "inputs": {name: pack(bins) for name, bins in counts.inputs.items()},
    }
    return {name: value for name, value in told.items() if value}


def _decode(raw: Mapping[str, Any], classes: Sequence[str]) -> ArmCounts:
    return ArmCounts(
        confusion=_table(raw.get("confusion", ()), classes),
        served={name: n for name, n in zip(classes, raw.get("served", ()), strict=False) if n},
        proportions={
            name: Proportion(successes=successes, trials=trials)
            for name, (successes, trials) in raw.get("proportions", {}).items()
        },
        buckets=_scores(raw.get("buckets"), classes),
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
        inputs={name: tuple(int(n) for n in unpack(packed)) for name, packed in raw.get("inputs", {}).items()},
    )


def _ranked(buckets: Mapping[str, Scores], classes: Sequence[str]) -> Any:
    """All classes in one string, each led by its place and its number of buckets.

    Neighbouring buckets hold similar counts: their differences are written, which takes two thirds of the space.
    """
    if not buckets:
        return None
    numbers: list[int] = []
    for name, part in buckets.items():
        numbers += (classes.index(name), len(part.negatives))
        for side in (part.negatives, part.positives):
            before = 0
            for n in side:
                step = n - before
                numbers.append(2 * step if step >= 0 else -2 * step - 1)
                before = n
    return pack(numbers)


def _scores(raw: Any, classes: Sequence[str]) -> dict[str, Scores]:
    numbers = [int(number) for number in unpack(raw)] if raw is not None else []
    found = {}
    at = 0
    while at < len(numbers):
        place, size = numbers[at : at + 2]
        at += 2
        steps = (number // 2 if number % 2 == 0 else -(number + 1) // 2 for number in numbers[at : at + 2 * size])
        at += 2 * size
        negatives = tuple(accumulate(islice(steps, size)))
        found[classes[place]] = Scores(negatives=negatives, positives=tuple(accumulate(steps)))
    return found


def _cells(table: Confusion, classes: Sequence[str]) -> Any:
    cells = [table.get(actual, {}).get(predicted, 0) for actual in classes for predicted in classes] if table else []
    if len(cells) > _MANY:
        return pack(cells)
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _table(raw: Any, classes: Sequence[str]) -> Confusion:
    size = len(classes)
    found: dict[str, dict[str, int]] = {}
    for index, n in enumerate(unpack(raw)):
        if n:
            found.setdefault(classes[index // size], {})[classes[index % size]] = int(n)
    return found
