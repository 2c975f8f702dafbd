"""Blocks as callers hand them in: decoded, checked, refused by name where they say something unknown.

A block is the increments of matured counts between two looks, per cluster and arm. Mistakes here are mistakes of
the caller's code, not of a user: ``BlockError``, a ValueError with the path. Knows no gate and no test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

from pilotage.gate.counts import Confusion

ARMS: Final = ("stable", "canary")
_COUNT_KEYS: Final = ("confusion", "served")
_LATER_KEYS: Final = ("proportions", "buckets", "means", "pairs")


class BlockError(ValueError):
    """A block (or a history) is not what the contract says; the message names the path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCounts:
    """One arm in one cluster: its confusion cells, and how many rows it served (0 when not told)."""

    confusion: Confusion
    served: int

    @property
    def labels(self) -> int:
        """Matured labels in these counts."""
        return sum(sum(row.values()) for row in self.confusion.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Increments between two looks; ``at`` in seconds of the caller's clock, ``step`` if the caller counts steps."""

    at: float
    step: int | None
    clusters: Mapping[str, Mapping[str, ArmCounts]]

    @property
    def is_empty(self) -> bool:
        """No label and no served row in any cell."""
        return not any(arm.labels or arm.served for arms in self.clusters.values() for arm in arms.values())


NOTHING: Final = ArmCounts(confusion={}, served=0)


def decode_block(raw: Mapping[str, object], *, classes: Sequence[str], clusters: Sequence[str]) -> Block:
    """Decode one block; cells that are zero are dropped. Raises BlockError."""
    _refuse_unknown("block", raw, ("at", "clusters", "step"))
    at, step, by_cluster = raw.get("at"), raw.get("step"), raw.get("clusters")
    if isinstance(at, bool) or not isinstance(at, int | float) or not isfinite(at):
        raise BlockError(f"block.at: {at!r} is not a time; give seconds as a number")
    if step is not None and (isinstance(step, bool) or not isinstance(step, int)):
        raise BlockError(f"block.step: {step!r} is not a step; give a whole number")
    decoded: dict[str, Mapping[str, ArmCounts]] = {}
    for name, arms in _mapping("block.clusters", by_cluster).items():
        path = f"block.clusters.{name}"
        if name not in clusters:
            raise BlockError(f"{path}: not a cluster of this wave; the analysis was started with {', '.join(clusters)}")
        arms = _mapping(path, arms)
        _refuse_unknown(path, arms, ARMS)
        decoded[name] = {arm: decode_counts(f"{path}.{arm}", counts, classes=classes) for arm, counts in arms.items()}
    return Block(at=float(at), step=step, clusters=decoded)


def decode_counts(path: str, raw: object, *, classes: Sequence[str]) -> ArmCounts:
    """Decode ``{"confusion": …, "served": …}`` of one arm; both are optional. Raises BlockError."""
    counts = _mapping(path, raw)
    for key in counts:
        if key in _LATER_KEYS:
            raise BlockError(f"{path}.{key}: no metric of this version uses {key}; send confusion counts")
    _refuse_unknown(path, counts, _COUNT_KEYS)
    confusion = {
        actual: row
        for actual, cells in _mapping(f"{path}.confusion", counts.get("confusion", {})).items()
        if (row := _cells(f"{path}.confusion.{actual}", actual, cells, classes))
    }
    served = _mapping(f"{path}.served", counts.get("served", {}))
    return ArmCounts(
        confusion=confusion,
        served=sum(_count(f"{path}.served.{name}", n) for name, n in served.items()),
    )


def _cells(path: str, actual: str, raw: object, classes: Sequence[str]) -> dict[str, int]:
    cells = _mapping(path, raw)
    for name in (actual, *cells):
        if name not in classes:
            raise BlockError(f"{path}: {name!r} is not a class; the analysis was started with {', '.join(classes)}")
    return {name: n for name, value in cells.items() if (n := _count(f"{path}.{name}", value))}


def _count(path: str, value: object) -> int:
    # Prometheus hands floats; a count that is not whole was extrapolated, and extrapolated counts void the test.
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer() or value < 0:
        raise BlockError(f"{path}: {value!r} is not a count; give a whole number, 0 or more")
    return int(value)


def _mapping(path: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise BlockError(f"{path}: {value!r} is not a mapping")
    return value


def _refuse_unknown(path: str, raw: Mapping[str, object], known: Sequence[str]) -> None:
    for key in raw:
        if key not in known:
            raise BlockError(f"{path}.{key}: unknown key; known here: {', '.join(known)}")
