"""One thing a check found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found, in how many rows, in which column ('' for the whole table), and what to do about it.

    `fails`: the run ends unless the configuration allows it.
    """

    check: str
    fails: bool
    column: str
    rows: int
    detail: str
    remedy: str
