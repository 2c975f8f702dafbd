"""Log e-values as they are summed and stored: rounded so that storing never adds evidence."""

from collections.abc import Sequence
from math import exp, floor, inf, log
from typing import Final

_DECIMALS: Final = 1e6


def log_sum(values: Sequence[float]) -> float:
    """``ln sum exp``, with nine decimals: an untouched mixture is exactly what its starts weigh."""
    top = max(values)
    return top if top in (inf, -inf) else round(top + log(sum(exp(value - top) for value in values)), 9)


def down(value: float) -> float:
    """The next of six decimals below."""
    return value if value in (inf, -inf) else floor(value * _DECIMALS) / _DECIMALS
