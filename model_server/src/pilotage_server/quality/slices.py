"""Slices: attributes a client may declare with a request, from the allow-list of the manifest, as codes.

Outcomes are counted per declared value, so that a model's errors can be compared between groups. Nothing that is not
on the list is kept, not even as a count: a code is all that travels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

MAX_SLICES: Final = 4
MAX_VALUES: Final = 20
NONE: Final = 0
"""The code of a slice that was not declared, or with a value that is not on the list."""
LEAST_SHOWN: Final = 20
"""Labels a slice's value needs before its outcomes are shown: fewer could be about people one knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """An attribute that clients may declare with a request, and the values outcomes are counted for."""

    name: str
    values: tuple[str, ...]


def codes(slices: Sequence[Slice], declared: Mapping[str, Any]) -> bytes:
    """One code per slice for what a request declares: 0 none, else the value's position + 1; empty if none is."""
    found = bytes(_code(one, declared.get(one.name)) for one in slices)
    return found if any(found) else b""


def _code(one: Slice, value: Any) -> int:
    return one.values.index(value) + 1 if isinstance(value, str) and value in one.values else NONE
