"""One column of text into numbers, category codes or times. Pure.

A column is numbers if every known cell is one, true and false are 1 and 0, anything else is a category. Where that
would be a guess (words among numbers, numbers written for people) the column is refused with what settles it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pilotage_server import gaps
from pilotage_server.train.config import ConfigError, File
from pilotage_server.train.data.table import Column

_MOST = 1e100
"""Beyond it a square is no number, and scaling, distances and covariances all take squares."""
_TRUTH = {"true": 1.0, "false": 0.0}
_FOR_PEOPLE = re.compile(r"[^\d\s+-]?\s?[+-]?(\d{1,3}([., '\u00a0]\d{3})+|\d+)([.,]\d+)?\s?[^\d\s]?")
_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})([ T]\d{1,2}:\d{2}.*)?")


def is_missing(text: str, also: Collection[str] = ()) -> bool:
    """Tell whether a cell says that nothing is known; `also`: spellings beside those a server knows too."""
    return gaps.is_missing(text) or text in also


def as_column(
    source: File, name: str, texts: Sequence[str], *, is_category: bool
) -> tuple[Column, NDArray[np.float64]]:
    """Read a column; raises `ConfigError` for infinities, and where numbers or categories would be a guess."""
    if not is_category:
        numbers, words = _numbers(texts, source)
        if not words:
            return Column(name=name), _bounded(source.path, name, texts, numbers)
        if all(texts[i].lower() in _TRUTH for i in words) and np.isnan(numbers).all():
            numbers[words] = [_TRUTH[texts[i].lower()] for i in words]
            return Column(name=name), numbers
        _refuse_guesses(source, name, texts, words, known=int((~np.isnan(numbers)).sum()))
    different = tuple(sorted({text for text in texts if not is_missing(text, source.missing)}))
    index = {text: float(i) for i, text in enumerate(different)}
    return Column(name=name, categories=different), np.array([index.get(text, np.nan) for text in texts])


def _numbers(texts: Sequence[str], source: File) -> tuple[NDArray[np.float64], list[int]]:
    """Numbers with NaN where there is none, and the places of words."""
    found, words = np.full(len(texts), np.nan), []
    has_comma = source.decimal == ","
    for i, text in enumerate(texts):
        if text in source.missing:
            continue
        try:
            found[i] = float(text.replace(",", ".") if has_comma else text)
        except ValueError:
            if not is_missing(text):
                words.append(i)
            continue
        if "_" in text:  # Python's way to group digits, nobody's way to write data
            found[i] = np.nan
            words.append(i)
    return found, words


def _bounded(path: Path, name: str, texts: Sequence[str], numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    wrong = np.flatnonzero(np.abs(numbers) > _MOST)
    if len(wrong):
        at = int(wrong[0])
        what = "is infinite" if np.isinf(numbers[at]) else f"is {texts[at]}, beyond ±{_MOST:g}"
        raise ConfigError(f"{path}, row {at + 2}: {name} {what}; remove or bound it")
    return numbers


def _refuse_guesses(source: File, name: str, texts: Sequence[str], words: Sequence[int], known: int) -> None:
    """Refuse words among mostly numbers, and numbers written for people."""
    at = words[0]
    where = f"{source.path}, row {at + 2}: {name} is {texts[at]!r}"
    formatted = sum(bool(_FOR_PEOPLE.fullmatch(texts[i])) for i in words)
    if 2 * formatted > len(words):
        raise ConfigError(
            f"{where}; write numbers without grouping, units and signs, set data.csv.decimal (now "
            f"{source.decimal!r}), or name the column under data.columns.categorical"
        )
    if known > len(words):
        others = sorted({texts[i] for i in words} - {texts[at]})
        more = f" (so are {', '.join(map(repr, others[:4]))}{', …' if len(others) > 4 else ''})" if others else ""
        raise ConfigError(
            f"{where} among numbers{more}; repair it, name it under data.csv.missing, or name the column under "
            "data.columns.categorical"
        )


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


def is_date(text: str) -> bool:
    """Tell whether a text is a date, also one whose day and month nobody can tell apart."""
    return parse_time(text) is not None or _DATE.fullmatch(text) is not None


def as_times(texts: Sequence[str], path: Path, name: str) -> NDArray[np.float64]:
    """Read a column of times: ISO 8601, or numbers that rise with time; raises `ConfigError`."""
    found = np.empty(len(texts))
    for i, text in enumerate(texts):
        at = parse_time(text)
        try:
            found[i] = float(text) if at is None else at
        except ValueError:
            found[i] = np.nan
        if not np.isfinite(found[i]):
            raise ConfigError(f"{path}, row {i + 2}: {name} is {text!r}; write times as ISO 8601 or as numbers")
    return found
