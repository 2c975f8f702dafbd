"""A parsed document (JSON or YAML), read field by field; every mistake is collected with its path.

Reading never stops at the first mistake: a field that is wrong yields its default, or an empty value of its
type, and `finish` raises `Malformed` with all of them. Keys nobody asked for are mistakes too, with the
nearest known name. Knows neither files nor what the fields mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final


class Malformed(ValueError):
    """A document with mistakes; `mistakes` holds one sentence for each, its path first."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(self.mistakes))


def nearest(word: str, known: Sequence[str]) -> str:
    """Say which known name the writer probably meant, or which there are."""
    by_lower_case = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), by_lower_case, n=1)
    if close:
        return f"did you mean {by_lower_case[close[0]]!r}?"
    return f"known here: {', '.join(sorted(known))}" if known else "nothing is allowed here"


class _Missing:
    """Marks a field without a default: it has to be there."""


MISSING: Final = _Missing()


class Document:
    """Collects the mistakes of all sections; start reading at `root`."""

    def __init__(self, value: Any) -> None:
        self.mistakes: list[str] = []
        self._sections: list[Section] = []
        self.root = self._open("", value)

    def _open(self, path: str, value: Any) -> Section:
        if not isinstance(value, Mapping):
            self.mistakes.append(f"{path or 'document'}: {_brief(value)} is not a mapping; write key: value pairs")
            value = {}
        section = Section(self, path, value)
        self._sections.append(section)
        return section

    def finish(self) -> None:
        """Raise `Malformed` if anything was wrong or unknown."""
        for section in self._sections:
            section.report_unknown()
        if self.mistakes:
            raise Malformed(self.mistakes)


class Section:
    """One mapping of the document; each method reads one key and says what is wrong with it."""

    def __init__(self, document: Document, path: str, values: Mapping[str, Any]) -> None:
        self._document = document
        self.path = path
        self._values = values
        self._read: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def at(self, key: str) -> str:
        """Give the path of a key, as the writer would look for it."""
        return f"{self.path}.{key}" if self.path else key

    def mistake(self, key: str, problem: str) -> None:
        """Record that a key is wrong; `problem` says value, rule and remedy."""
        self._document.mistakes.append(f"{self.at(key)}: {problem}")

    def report_unknown(self) -> None:
        """Record the keys nobody asked for."""
        for key in self._values:
            if key not in self._read:
                self.mistake(str(key), f"unknown key; {nearest(str(key), sorted(self._read))}")

    def value(self, key: str, default: Any = MISSING) -> Any:
        """Read a key of any type."""
        self._read.add(key)
        if key in self._values:
            return self._values[key]
        if isinstance(default, _Missing):
            self.mistake(key, "is missing; it has no default")
        return default

    def text(self, key: str, default: Any = MISSING, *, pattern: str | None = None, longest: int = 1024) -> str:
        """Read a string that matches the whole pattern."""
        value = self.value(key, default)
        if isinstance(value, _Missing):
            return ""
        if not isinstance(value, str) or len(value) > longest:
            self.mistake(key, f"{_brief(value)} is not a text of at most {longest} characters")
            return ""
        if pattern is not None and not re.fullmatch(pattern, value):
            self.mistake(key, f"{value!r} does not match {pattern}")
        return value

    def choice(self, key: str, allowed: Sequence[str], default: Any = MISSING) -> str:
        """Read one word out of a closed set."""
        value = self.value(key, default)
        if isinstance(value, _Missing):
            return allowed[0]
        if value not in allowed:
            close = get_close_matches(str(value).lower(), [word.lower() for word in allowed], n=1)
            meant = f"; {nearest(str(value), allowed)}" if close else ""
            self.mistake(key, f"{_brief(value)} is not one of {', '.join(allowed)}{meant}")
            return allowed[0]
        return str(value)

    def number(self, key: str, default: Any = MISSING, *, low: float, high: float) -> float:
        """Read a number in [low, high]."""
        value = self.value(key, default)
        if isinstance(value, _Missing):
            return low
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.mistake(key, f"{_brief(value)} is not a number")
            return low
        if not low <= value <= high:
            self.mistake(key, f"{value} is outside [{low:g}, {high:g}]")
        return float(value)

    def integer(self, key: str, default: Any = MISSING, *, low: int, high: int) -> int:
        """Read a whole number in [low, high]."""
        value = self.value(key, default)
        if isinstance(value, _Missing):
            return low
        if isinstance(value, bool) or not isinstance(value, int):
            self.mistake(key, f"{_brief(value)} is not a whole number")
            return low
        if not low <= value <= high:
            self.mistake(key, f"{value} is outside [{low}, {high}]")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Read true or false."""
        value = self.value(key, default)
        if not isinstance(value, bool):
            self.mistake(key, f"{_brief(value)} is not true or false")
            return default
        return value

    def section(self, key: str) -> Section:
        """Read a mapping; a missing one reads as empty, so that its own fields say what they need."""
        value = self.value(key, {})
        return self._document._open(self.at(key), value)

    def entry(self, key: str, index: int | None, value: Any) -> Section:
        """Open a mapping found inside a key: its `index`-th item, or its value."""
        return self._document._open(self.at(key) if index is None else f"{self.at(key)}[{index}]", value)

    def sections(self, key: str, default: Any = MISSING, *, longest: int) -> list[Section]:
        """Read a list of mappings, at most `longest` of them."""
        value = self.items(key, default, longest=longest)
        return [self._document._open(f"{self.at(key)}[{i}]", item) for i, item in enumerate(value)]

    def items(self, key: str, default: Any = MISSING, *, longest: int) -> list[Any]:
        """Read a list of at most `longest` items of any type."""
        value = self.value(key, default)
        if isinstance(value, _Missing):
            return []
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > longest:
            self.mistake(key, f"{_brief(value)} is not a list of at most {longest} items")
            return []
        return list(value)

    def plain(self) -> Mapping[str, Any]:
        """Give the whole mapping as written, and count all its keys as read."""
        self._read.update(self._values)
        return self._values


def _brief(value: Any) -> str:
    """Show a value in a message without letting a long one fill it."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
