"""The inputs of both arms, bin by bin: requests that are assigned by chance look alike.

Per feature and bin, the canary's rows are held against the bin's rate in both arms of the same cluster and block. A
breach needs level .001, with ten rows counted as one because rows of one client come in a piece, and a population
stability index above 0.02, a fifth of what is commonly called a moderate shift: random assignment has none at all.
Features that the arms cut into different numbers of bins cannot be compared and are left out. Knows no label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Final

from pilotage.gate.blocks import NOTHING, Block
from pilotage.gate.conditions.alike import SURE, Draws, log_mean
from pilotage.gate.conditions.breach import Breach, Condition, breach
from pilotage.gate.packing import pack, unpack
from pilotage.gate.spec import GateSpec

CLUMP: Final = 10.0
_LIMIT: Final = 0.02
_MOST_FEATURES: Final = 20
_MOST_BINS: Final = 12
_LEAST_SHARE: Final = 1e-4
_DECIMALS: Final = 2
_UNIT: Final = 10**_DECIMALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """``canary``: its rows per bin; ``expected``: if it were like both arms; ``rows``: of both arms in all bins."""

    canary: tuple[int, ...]
    expected: tuple[float, ...]
    rows: int

    @property
    def total(self) -> int:
        """The canary's rows."""
        return sum(self.canary)

    @property
    def log_e(self) -> float:
        """Log e-value against "the arms are alike", over the bins."""
        return log_mean(
            Draws(trials=self.total, hits=n, expected=e).log_e(CLUMP)
            for n, e in zip(self.canary, self.expected, strict=True)
        )

    @property
    def stability(self) -> float:
        """Population stability index of the canary's shares against stable's."""
        return sum((p - q) * log(max(p, _LEAST_SHARE) / max(q, _LEAST_SHARE)) for p, q in self.shares())

    def shares(self) -> list[tuple[float, float]]:
        """Per bin: the canary's share of rows, and stable's, given the blocks' totals."""
        own = self.total / self.rows
        return [
            (n / self.total, max(0.0, (e - own * n) / (1 - own)) / self.total)
            for n, e in zip(self.canary, self.expected, strict=True)
        ]


Inputs = Mapping[str, Feature]


def absorbed(memory: Inputs, block: Block) -> Inputs:
    """The block's rows added, feature by feature."""
    grown = dict(memory)
    for arms in block.clusters.values():
        stable = arms.get("stable", NOTHING).inputs
        for name, canary in arms.get("canary", NOTHING).inputs.items():
            other = stable.get(name, ())
            held = grown.get(name)
            if not len(canary) == len(other) == len(held.canary if held else canary) <= _MOST_BINS:
                continue
            if (held or len(grown) < _MOST_FEATURES) and sum(canary) and sum(other):
                grown[name] = _more(held, canary, other)
    return grown


def breaches(memory: Inputs, gates: Sequence[GateSpec]) -> list[Breach]:
    """At most one, of the feature that is surest."""
    if all(feature.stability <= _LIMIT for feature in memory.values()):
        return []
    scores = {name: feature.log_e for name, feature in memory.items()}
    name = max(scores, key=lambda known: scores[known])
    feature = memory[name]
    if log_mean(scores.values()) < SURE or feature.stability <= _LIMIT:
        return []
    shares = feature.shares()
    worst = max(range(len(shares)), key=lambda i: abs(shares[i][0] - shares[i][1]))
    reason = (
        f"the arms are asked different things: {name!r} falls into bin {worst} for {shares[worst][0]:.1%} of the "
        f"canary's {feature.total} rows and {shares[worst][1]:.1%} of stable's "
        f"(stability index {feature.stability:.2f}, limit {_LIMIT:g}); assign requests to arms by chance"
    )
    return [breach(Condition.INPUTS_DIFFER, reason, gates)]


def encode(memory: Inputs) -> dict[str, Any]:
    """JSON."""
    return {name: pack([f.rows, *f.canary, *(round(e * _UNIT) for e in f.expected)]) for name, f in memory.items()}


def decode(raw: Mapping[str, Any]) -> Inputs:
    """What ``encode`` wrote."""
    return {name: _feature(unpack(packed)) for name, packed in raw.items()}


def _feature(numbers: Sequence[float]) -> Feature:
    rows, *bins = map(int, numbers)
    half = len(bins) // 2
    return Feature(canary=tuple(bins[:half]), expected=tuple(e / _UNIT for e in bins[half:]), rows=rows)


def _more(held: Feature | None, canary: Sequence[int], stable: Sequence[int]) -> Feature:
    if held is None:
        held = Feature(canary=(0,) * len(canary), expected=(0.0,) * len(canary), rows=0)
    own, rows = sum(canary), sum(canary) + sum(stable)
    return Feature(
        canary=tuple(n + m for n, m in zip(held.canary, canary, strict=True)),
        expected=tuple(
            round(e + own * (n + m) / rows, _DECIMALS) for e, n, m in zip(held.expected, canary, stable, strict=True)
        ),
        rows=held.rows + rows,
    )
