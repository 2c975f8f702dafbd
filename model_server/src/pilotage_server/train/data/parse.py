"""One column of text into numbers, category codes or times. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pilotage_server.train.config import ConfigError
from pilotage_server.train.data.table import Column

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


def is_missing(text: str) -> bool:
    """Tell whether a cell says that nothing is known."""
    return text.strip().lower() in _MISSING


def as_column(path: Path, name: str, texts: Sequence[str], *, is_category: bool) -> tuple[Column, NDArray[np.float64]]:
    """Read a column as numbers if every cell is one, as categories otherwise; raises `ConfigError` for infinities.

    One text among numbers is a slip, not a category: it is refused, with its row.
    """
    if not is_category:
        numbers, wrong = _numbers(texts)
        if not wrong:
            if np.isinf(numbers).any():
                at = int(np.flatnonzero(np.isinf(numbers))[0])
                raise ConfigError(f"{path}, row {at + 2}: {name} is infinite; remove or bound it")
            return Column(name=name), numbers
        if len(wrong) <= 0.05 * len(texts):
            raise ConfigError(
                f"{path}, row {wrong[0] + 2}: {name} is {texts[wrong[0]]!r} among numbers; repair it, or name the "
                "column under data.columns.categorical"
            )
    different = tuple(sorted({text for text in texts if not is_missing(text)}))
    index = {text: float(i) for i, text in enumerate(different)}
    return Column(name=name, categories=different), np.array([index.get(text, np.nan) for text in texts])


def _numbers(texts: Sequence[str]) -> tuple[NDArray[np.float64], list[int]]:
    found, wrong = np.empty(len(texts)), []
    for i, text in enumerate(texts):
        if is_missing(text):
            found[i] = np.nan
            continue
        try:
            found[i] = float(text)
        except ValueError:
            wrong.append(i)
    return found, wrong


def parse_time(text: str) -> float | None:
    """Seconds since 1970 (UTC) of an ISO 8601 date or time; None when it is none. Plain numbers are no dates."""
    try:
        float(text)
    except ValueError:
        pass
    else:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def as_times(texts: Sequence[str], path: Path, name: str) -> NDArray[np.float64]:
    """Read a column of times: ISO 8601, or numbers that rise with time; raises `ConfigError`."""
    found = np.empty(len(texts))
    for i, text in enumerate(texts):
        at = parse_time(text)
        try:
            found[i] = float(text) if at is None else at
        except ValueError as error:
            raise ConfigError(
                f"{path}, row {i + 2}: {name} is {text!r}; write times as ISO 8601 or as numbers"
            ) from error
    return found
