"""Blocks as callers hand them in: decoded, checked, refused by name where they say something unknown.

A block is the increments of matured counts between two looks, per cluster and arm. Mistakes here are mistakes of
the caller's code, not of a user: ``BlockError``, a ValueError with the path. Knows no gate and no test.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Final, TypeVar

from pilotage.gate.arm import ArmCounts, Confusion, Moments, Pairs, Proportion, Scores

__all__ = ["ARMS", "BUCKETS", "NOTHING", "ArmCounts", "Block", "BlockError", "decode_block", "decode_counts"]

ARMS: Final = ("stable", "canary")
BUCKETS: Final = 50
CONFIDENCE_BUCKETS: Final = 20
_KEYS: Final = (
    *("confusion", "served", "proportions", "buckets", "means", "pairs"),
    *("audit", "late", "inputs", "confidence"),
)
_PAIR_KEYS: Final = ("n11", "n10", "n01", "n00")

_Read = TypeVar("_Read")


class BlockError(ValueError):
    """A block (or a history) is not what the contract says; the message names the path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Increments between two looks; ``at`` in seconds of the caller's clock, ``step`` if the caller counts steps.

    ``expected``: per cluster, the canary's share of the served rows that the traffic mode can realise, if it is told.
    """

    at: float
    step: int | None
    clusters: Mapping[str, Mapping[str, ArmCounts]]
    expected: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Nothing was counted in any cell."""
        return all(arm.is_empty for arms in self.clusters.values() for arm in arms.values())


NOTHING: Final = ArmCounts()


def decode_block(
    raw: Mapping[str, object], *, classes: Sequence[str], clusters: Sequence[str], gates: Sequence[str] | None = None
) -> Block:
    """Decode one block; cells that are zero are dropped. ``gates``: the names that proportions and means may have.

    Raises BlockError.
    """
    raw = _mapping("block", raw)
    _refuse_unknown("block", raw, ("at", "clusters", "step", "expected"))
    at, step, by_cluster = raw.get("at"), raw.get("step"), raw.get("clusters")
    if isinstance(at, bool) or not isinstance(at, int | float) or not isfinite(at):
        raise BlockError(f"block.at: {at!r} is not a time; give seconds as a number")
    if step is not None and (isinstance(step, bool) or not isinstance(step, int)):
        raise BlockError(f"block.step: {step!r} is not a step; give a whole number")
    decoded: dict[str, Mapping[str, ArmCounts]] = {}
    for name, arms in sorted(_mapping("block.clusters", by_cluster).items()):  # their order means nothing
        path = f"block.clusters.{name}"
        if name not in clusters:
            raise BlockError(f"{path}: not a cluster of this wave; the analysis was started with {', '.join(clusters)}")
        arms = _mapping(path, arms)
        _refuse_unknown(path, arms, ARMS)
        decoded[name] = {
            arm: decode_counts(f"{path}.{arm}", counts, classes=classes, gates=gates) for arm, counts in arms.items()
        }
    return Block(at=float(at), step=step, clusters=decoded, expected=_expected(raw.get("expected", {}), clusters))


def decode_counts(path: str, raw: object, *, classes: Sequence[str], gates: Sequence[str] | None = None) -> ArmCounts:
    """Decode the counts of one arm; every key is optional. Raises BlockError."""
    counts = _mapping(path, raw)
    _refuse_unknown(path, counts, _KEYS)
    read = _Reader(path=path, counts=counts, classes=frozenset(classes), gates=gates)
    return ArmCounts(
        confusion=read.confusion("confusion"),
        served=read.plain("served", read.known_class),
        proportions=read.by_name("proportions", read.known_gate, _proportion),
        buckets=read.by_name("buckets", read.known_class, _scores),
        means=read.by_name("means", read.known_gate, _moments),
        pairs=read.by_name("pairs", read.known_class_or_all, _pairs),
        audit=read.confusion("audit"),
        late=read.plain("late", lambda path, name: None),
        inputs=read.by_name("inputs", lambda path, name: None, _bins),
        confidence=_confidence(f"{path}.confidence", counts["confidence"]) if "confidence" in counts else (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """One arm's counts, key by key; keys that are missing read as nothing, cells of zero are dropped."""

    path: str
    counts: Mapping[str, object]
    classes: frozenset[str]
    gates: Sequence[str] | None

    def confusion(self, key: str) -> Confusion:
        found = {}
        for actual, cells in self._at(key).items():
            path = f"{self.path}.{key}.{actual}"
            self.known_class(path, actual)
            row = {}
            for predicted, value in _mapping(path, cells).items():
                self.known_class(path, predicted)
                if n := _count(f"{path}.{predicted}", value):
                    row[predicted] = n
            if row:
                found[actual] = row
        return found

    def plain(self, key: str, check: Callable[[str, str], None]) -> dict[str, int]:
        found = {}
        for name, value in self._at(key).items():
            check(f"{self.path}.{key}", name)
            if n := _count(f"{self.path}.{key}.{name}", value):
                found[name] = n
        return found

    def by_name(
        self, key: str, check: Callable[[str, str], None], read: Callable[[str, object], _Read]
    ) -> dict[str, _Read]:
        found = {}
        for name, value in self._at(key).items():
            check(f"{self.path}.{key}", name)
            found[name] = read(f"{self.path}.{key}.{name}", value)
        return found

    def known_class(self, path: str, name: str) -> None:
        if name not in self.classes:
            known = ", ".join(sorted(self.classes))
            raise BlockError(f"{path}: {name!r} is not a class; the analysis was started with {known}")

    def known_class_or_all(self, path: str, name: str) -> None:
        if name != "":
            self.known_class(path, name)

    def known_gate(self, path: str, name: str) -> None:
        if self.gates is not None and name not in self.gates:
            raise BlockError(f"{path}: {name!r} is not a gate; the gates are {', '.join(self.gates)}")

    def _at(self, key: str) -> Mapping[str, object]:
        return _mapping(f"{self.path}.{key}", self.counts.get(key, {}))


def _expected(raw: object, clusters: Sequence[str]) -> dict[str, float]:
    shares = {}
    for name, share in _mapping("block.expected", raw).items():
        if name not in clusters:
            raise BlockError(
                f"block.expected.{name}: not a cluster of this wave; its clusters are {', '.join(clusters)}"
            )
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise BlockError(f"block.expected.{name}: {share!r} is not a share; give the canary's, from 0 to 1")
        shares[name] = float(share)
    return shares


def _proportion(path: str, raw: object) -> Proportion:
    values = _mapping(path, raw)
    _refuse_unknown(path, values, ("successes", "trials"))
    found = Proportion(
        successes=_count(f"{path}.successes", values.get("successes", 0)),
        trials=_count(f"{path}.trials", values.get("trials", 0)),
    )
    if found.successes > found.trials:
        raise BlockError(f"{path}: {found.successes} successes among {found.trials} trials cannot be")
    return found


def _scores(path: str, raw: object) -> Scores:
    values = _mapping(path, raw)
    _refuse_unknown(path, values, ("0", "1"))
    sides = {side: _bins(f"{path}.{side}", values.get(side, (0,) * BUCKETS)) for side in ("0", "1")}
    for side, bins in sides.items():
        if len(bins) != BUCKETS:
            raise BlockError(
                f"{path}.{side}: {len(bins)} buckets; give {BUCKETS}, from the lowest score to the highest"
            )
    return Scores(negatives=sides["0"], positives=sides["1"])


def _moments(path: str, raw: object) -> Moments:
    values = _mapping(path, raw)
    _refuse_unknown(path, values, ("count", "sum", "sumsq"))
    found = Moments(
        count=_count(f"{path}.count", values.get("count", 0)),
        sum=_amount(f"{path}.sum", values.get("sum", 0.0)),
        sumsq=_amount(f"{path}.sumsq", values.get("sumsq", 0.0)),
    )
    if found.count == 0 and (found.sum or found.sumsq):
        raise BlockError(f"{path}: a sum over a count of 0 cannot be")
    return found


def _pairs(path: str, raw: object) -> Pairs:
    values = _mapping(path, raw)
    _refuse_unknown(path, values, _PAIR_KEYS)
    n11, n10, n01, n00 = (_count(f"{path}.{key}", values.get(key, 0)) for key in _PAIR_KEYS)
    return Pairs(n11=n11, n10=n10, n01=n01, n00=n00)


def _bins(path: str, raw: object) -> tuple[int, ...]:
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise BlockError(f"{path}: {raw!r} is not a list of counts")
    return tuple(_count(f"{path}[{index}]", value) for index, value in enumerate(raw))


def _confidence(path: str, raw: object) -> tuple[int, ...]:
    bins = _bins(path, raw)
    if len(bins) != CONFIDENCE_BUCKETS:
        raise BlockError(
            f"{path}: {len(bins)} buckets; give {CONFIDENCE_BUCKETS}, from the least confidence to the most"
        )
    return bins


def _count(path: str, value: object) -> int:
    # Prometheus hands floats; a count that is not whole was extrapolated, and extrapolated counts void the test.
    if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer() or value < 0:
        raise BlockError(f"{path}: {value!r} is not a count; give a whole number, 0 or more")
    return int(value)


def _amount(path: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise BlockError(f"{path}: {value!r} is not a sum; give a finite number, 0 or more")
    return float(value)


def _mapping(path: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise BlockError(f"{path}: {value!r} is not a mapping")
    return value


def _refuse_unknown(path: str, raw: Mapping[str, object], known: Sequence[str]) -> None:
    for key in raw:
        if key not in known:
            raise BlockError(f"{path}.{key}: unknown key; known here: {', '.join(known)}")
