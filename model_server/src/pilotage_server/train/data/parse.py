"""One column of text into numbers, category codes or times. Pure.

A column is numbers if every known cell is one, true and false are 1 and 0, anything else is a category. Where that
would be a guess (words among numbers, numbers written for people) the column is refused with what settles it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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
_FOR_PEOPLE = re.compile(r"[$€£¥]?\s?[+-]?(\d{1,3}([., '\u00a0]\d{3})+|\d+)([.,]\d+)?\s?[%$€£¥]?")
_DATE = re.compile(r"\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})([ T]\d{1,2}:\d{2}.*)?")


def is_missing(text: str, also: Collection[str] = ()) -> bool:
    """Tell whether a cell says that nothing is known; `also`: spellings beside those a server knows too."""
    return gaps.is_missing(text) or text in also


def as_column(
    source: File, name: str, texts: Sequence[str], *, is_category: bool
) -> tuple[Column, NDArray[np.float64]]:
    """Read a column; raises `ConfigError` for infinities, and where numbers or categories would be a guess."""
    if not is_category:
        numbers, words = read_numbers(source, name, texts)
        known = int((~np.isnan(numbers)).sum())
        column = settle(source, name, Counter(texts[i] for i in words), known, row=words[0] + 2 if words else 0)
        if column is not None:
            return column, numbers
    different = tuple(sorted({text for text in texts if not is_missing(text, source.missing)}))
    return Column(name=name, categories=different), codes(texts, different)


def codes(texts: Sequence[str], categories: Sequence[str]) -> NDArray[np.float64]:
    """Places of texts among sorted categories; NaN for a text that is none."""
    index = {text: float(i) for i, text in enumerate(categories)}
    return np.array([index.get(text, np.nan) for text in texts])


def read_numbers(
    source: File, name: str, texts: Sequence[str], first_row: int = 2
) -> tuple[NDArray[np.float64], list[int]]:
    """Numbers with NaN where there is none, and the places of words; true is 1 and false 0.

    Raises `ConfigError` for numbers too large to square.
    """
    found, words = np.full(len(texts), np.nan), []
    has_comma = source.decimal == ","
    for i, text in enumerate(texts):
        if text in source.missing:
            continue
        try:
            # Python groups digits by underscores, data does not.
            found[i] = float("-" if "_" in text else text.replace(",", ".") if has_comma else text)
        except ValueError:
            if text.lower() in _TRUTH:
                found[i] = _TRUTH[text.lower()]
            elif not is_missing(text):
                words.append(i)
    wrong = np.flatnonzero(np.abs(found) > _MOST)
    if len(wrong):
        at = int(wrong[0])
        what = "is infinite" if np.isinf(found[at]) else f"is {texts[at]}, beyond ±{_MOST:g}"
        raise ConfigError(f"{source.path}, row {at + first_row}: {name} {what}; remove or bound it")
    return found, words


def settle(source: File, name: str, words: Mapping[str, int], known: int, row: int) -> Column | None:
    """Say that a column is numbers, from the words among its cells (their counts, the first one's row) and numbers.

    None: it is categories. Raises `ConfigError` for words among mostly numbers, and for numbers written for people.
    """
    if not words:
        return Column(name=name)
    first, *others = words
    where, count = f"{source.path}, row {row}: {name} is {first!r}", sum(words.values())
    formatted = sum(count for word, count in words.items() if _FOR_PEOPLE.fullmatch(word))
    if 2 * formatted > count:
        raise ConfigError(
            f"{where}; write numbers without grouping, units and signs, set data.csv.decimal (now "
            f"{source.decimal!r}), or name the column under data.columns.categorical"
        )
    if known > count:
        more = f" (so are {', '.join(map(repr, others[:4]))}{', …' if len(others) > 4 else ''})" if others else ""
        raise ConfigError(
            f"{where} among numbers{more}; repair it, name it under data.csv.missing, or name the column under "
            "data.columns.categorical"
        )
    return None


def check_labels(source: File, labels: Sequence[str]) -> None:
    """Raise `ConfigError` for rows without a label, and for a target that is a quantity."""
    if not labels:
        raise ConfigError(f"{source.path}: has headings and no rows")
    empty = [i + 2 for i, label in enumerate(labels) if is_missing(label, source.missing)]
    if empty:
        shown = ", ".join(map(str, empty[:5])) + (", …" if len(empty) > 5 else "")
        raise ConfigError(
            f"{source.path}: {len(empty)} rows have no {source.target} (row {shown}); remove them, or find their labels"
        )
    different = len(set(labels))
    if different > max(20, len(labels) // 2):
        raise ConfigError(
            f"data.{source.format}.target: {source.target!r} has {different} different values in {len(labels)} rows: a "
            "quantity or a name, not a class; cut it into classes, or name another column"
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
