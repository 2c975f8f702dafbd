"""Kubernetes quantities (`500m`, `1Gi`, `2e3`) as exact numbers, and in the form the API server writes them.

Source: apimachinery `pkg/api/resource/quantity.go`. The server keeps the unit family of the input and the
largest suffix that leaves an integer; more digits than nano are rounded up.
"""

import math
import re
from fractions import Fraction

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?|[eE][+-]?\d{1,3})")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def _split(text: str) -> tuple[Fraction, str]:
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity; write a number with a suffix such as 500m, 2 or 1Gi")
    return Fraction(match[1]), match[2]


def parse_quantity(text: str | int | float) -> Fraction:
    """Return the exact value. Raises ValueError for what is no quantity."""
    number, suffix = _split(str(text))
    if suffix in _BINARY:
        return number * Fraction(1024) ** _BINARY[suffix]
    if suffix in _DECIMAL:
        return number * Fraction(10) ** _DECIMAL[suffix]
    return number * Fraction(10) ** int(suffix[1:])


def canonical_quantity(text: str | int | float) -> str:
    """Return the quantity as the API server writes it: `0.5` → `500m`, `1024Mi` → `1Gi`, `1000m` → `1`."""
    value, suffix = parse_quantity(text), _split(str(text))[1]
    nano = value * 10**9
    rounded = Fraction(math.ceil(nano) if nano >= 0 else math.floor(nano), 10**9)
    if suffix in _BINARY and rounded.denominator == 1 and abs(rounded) >= 1024:
        return _binary(rounded.numerator)
    if suffix[:1] in ("e", "E") and len(suffix) > 1:
        return _exponent(rounded)
    return _decimal(rounded)


def _binary(value: int) -> str:
    for name, power in reversed(_BINARY.items()):
        if value % 1024**power == 0:
            return f"{value // 1024**power}{name}"
    return str(value)


def _exponent(value: Fraction) -> str:
    power = _largest_power(value)
    return f"{value / Fraction(10) ** power}e{power}" if power else str(value)


def _decimal(value: Fraction) -> str:
    power = _largest_power(value)
    name = next(name for name, exponent in _DECIMAL.items() if exponent == power)
    return f"{value / Fraction(10) ** power}{name}"


def _largest_power(value: Fraction) -> int:
    """Return the largest power of a thousand that leaves an integer; zero is written plainly."""
    if value == 0:
        return 0
    return next(power for power in range(18, -12, -3) if (value / Fraction(10) ** power).denominator == 1)
