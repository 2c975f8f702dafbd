"""A target: seeds, and a function that takes bytes and raises only for a finding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


class Finding(Exception):
    """An answer nobody documented."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`seeds`: real values in the form that `take` reads."""

    seeds: Sequence[bytes]
    take: Callable[[bytes], None]
