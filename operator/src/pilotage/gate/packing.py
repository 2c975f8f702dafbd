"""Long vectors of counts as short strings, for states that are stored as JSON. Knows not what it packs.

Whole numbers of 0 or more become seven bits a byte, zlib, base85: thousands of buckets, most of them small or empty,
take one to two characters each. Anything else is written as it is.
"""

import zlib
from base64 import b85decode, b85encode
from collections.abc import Sequence
from typing import Any, Final

_MORE: Final = 0x80


def pack(numbers: Sequence[float]) -> str | tuple[float, ...]:
    """A string if all numbers are whole and none is negative, else the numbers themselves."""
    if any(number < 0 or number != int(number) for number in numbers):
        return tuple(numbers)
    raw = bytearray()
    for number in numbers:
        rest = int(number)
        while rest >= _MORE:
            raw.append(rest & (_MORE - 1) | _MORE)
            rest >>= 7
        raw.append(rest)
    return b85encode(zlib.compress(bytes(raw), 9)).decode()


def unpack(packed: Any) -> tuple[float, ...]:
    """Inverse of ``pack``. Raises ValueError for a string that it did not write."""
    if not isinstance(packed, str):
        return tuple(packed)
    try:
        raw = zlib.decompress(b85decode(packed))
    except zlib.error as error:
        raise ValueError(f"not packed counts: {error}") from error
    numbers: list[float] = []
    number = shift = 0
    for byte in raw:
        number |= (byte & (_MORE - 1)) << shift
        shift += 7
        if byte < _MORE:
            numbers.append(number)
            number = shift = 0
    return tuple(numbers)
