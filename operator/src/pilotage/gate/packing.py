"""Long vectors of counts as short strings, for states that are stored as JSON. Knows not what it packs.

Whole numbers of 0 or more are written byte by byte, the lowest bytes of all of them first, so that what is alike stands
together; then zlib, then base85: thousands of buckets, most of them small or empty, take one to two characters each.
Anything else is written as it is.
"""

import zlib
from base64 import b85decode, b85encode
from collections.abc import Sequence
from typing import Any


def pack(numbers: Sequence[float]) -> str | tuple[float, ...]:
    """A string if all numbers are whole and none is negative, else the numbers themselves."""
    if any(number < 0 or number != int(number) for number in numbers):
        return tuple(numbers)
    whole = [int(number) for number in numbers]
    planes = (max(whole, default=0).bit_length() + 7) // 8
    raw = b"".join(bytes([number >> 8 * plane & 0xFF for number in whole]) for plane in range(planes))
    return b85encode(zlib.compress(bytes([planes, *len(whole).to_bytes(4, "big")]) + raw, 9)).decode()


def unpack(packed: Any) -> tuple[float, ...]:
    """Inverse of ``pack``. Raises ValueError for a string that it did not write."""
    if not isinstance(packed, str):
        return tuple(packed)
    try:
        raw = zlib.decompress(b85decode(packed))
    except zlib.error as error:
        raise ValueError(f"not packed counts: {error}") from error
    planes, size = raw[0], int.from_bytes(raw[1:5], "big")
    if len(raw) != 5 + planes * size:
        raise ValueError(f"not packed counts: {len(raw)} bytes, expected {5 + planes * size}")
    numbers = [0] * size
    for plane in range(planes - 1, -1, -1):
        first = 5 + plane * size
        numbers = [number << 8 | byte for number, byte in zip(numbers, raw[first : first + size], strict=True)]
    return tuple(numbers)
