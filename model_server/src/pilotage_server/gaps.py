"""The spellings that say a value is missing: the same in training's tables and in requests. Pure."""

from __future__ import annotations

from typing import Final

MISSING: Final = frozenset({"", "?", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none"})
"""In lower case, without spaces around."""


def is_missing(text: str) -> bool:
    """Tell whether a text says that nothing is known."""
    return text.strip().lower() in MISSING
