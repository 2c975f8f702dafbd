"""Values of one feature as people write them: texts into codes, gaps into NaN, everything else refused in words.

By name (a tensor of its own, an object of the older protocol) a value is a word of the data: in a column of categories
a number means the category written like it ("8"), and true the one written "true". By place (in a row of mixed cells) a
number is what the model's own rows hold, a category's code, and a text in a column of numbers is read as a number.
Pure; every complaint is a `Rejected` that says where, what, and what would do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pilotage_server.bundle.manifest import Feature
from pilotage_server.gaps import is_missing
from pilotage_server.serve.errors import Reason, Rejected

Place = Callable[[int], str]
"""Names the i-th value of a column as its sender would look for it."""

_SHOWN: Final = 5
_COMPARED: Final = 100
_EXACT: Final = 2.0**53
"""Whole numbers above it have no float64 of their own, and could be taken for one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One feature: `codes` of its categories by text and by number, both empty for a column of numbers.

    `takes_unknown`: what is no category is a gap.
    """

    name: str
    may_miss: bool
    takes_unknown: bool
    codes: Mapping[str, float]
    by_number: Mapping[float, float]

    @classmethod
    def of(cls, feature: Feature) -> Column:
        """The column of a manifest's feature."""
        codes = {text: float(code) for code, text in enumerate(feature.categories)}
        return cls(
            name=feature.name,
            may_miss=feature.missing,
            takes_unknown=feature.takes_unknown,
            codes=codes,
            by_number=_by_number(codes),
        )

    @property
    def has_categories(self) -> bool:
        """Whether values are codes."""
        return bool(self.codes)

    def read(self, cells: Sequence[Any], place: Place, *, by_place: bool = False) -> NDArray[np.float64]:
        """Codes or numbers [n] of cells as JSON has them, NaN for gaps; raises `Rejected`."""
        try:
            found: list[float | None] = list(map(self.codes.get, cells))  # nothing but texts is a key
        except TypeError:  # an object or a list, which is no key either
            found = [None] * len(cells)
        if None in found:
            found = [
                self._other(cell, i, place, by_place) if code is None else code
                for i, (cell, code) in enumerate(zip(cells, found, strict=True))
            ]
        return np.array(found, dtype=np.float64)

    def check_codes(self, values: NDArray[np.float64], place: Place) -> None:
        """Raise `Rejected` unless all values [n], NaN apart, are codes of categories."""
        with np.errstate(invalid="ignore"):  # some NaN complain of being looked at
            wrong = (values < 0) | (values >= len(self.codes)) | (values != np.floor(values))
        wrong &= ~np.isnan(values)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise self._no_code(float(values[at]), at, place)

    def check_gaps(self, values: NDArray[np.float64], place: Place) -> None:
        """Raise `Rejected` where a value [n] is missing and none may."""
        if not self.may_miss and np.isnan(values).any():
            raise self._gap(int(np.flatnonzero(np.isnan(values))[0]), place)

    def _other(self, cell: Any, i: int, place: Place, by_place: bool) -> float:
        """What is no text of a category: a gap, a number, a boolean, or a mistake."""
        match cell:
            case None:
                missing = True
            case str() if cell in self.codes:
                return self.codes[cell]
            case str():
                missing = is_missing(cell)
            case bool() | int() | float():
                missing = cell != cell
            case _:
                raise Rejected(Reason.DTYPE, f"{place(i)}: is neither a text, a number nor null")
        if missing:
            if self.may_miss:
                return math.nan
            raise self._gap(i, place)
        if not self.codes:
            return self._number(cell, i, place, by_place)
        if by_place and not isinstance(cell, bool | str):
            if not 0 <= cell < len(self.codes) or cell != int(cell):
                raise self._no_code(cell, i, place)
            return float(cell)
        if not isinstance(cell, str) and abs(cell) >= _EXACT:
            text = f"{place(i)}: {cell:.17g} is too large for a name sent as a number; send its text"
            raise Rejected(Reason.CATEGORY, text)
        code = self.codes.get(cell.strip()) if isinstance(cell, str) else self._named_by(cell)
        if code is None and not self.takes_unknown:
            raise self._unknown(f"{cell:.17g}" if isinstance(cell, float) else str(cell), i, place)
        return math.nan if code is None else code

    def _named_by(self, value: bool | float) -> float | None:
        """Code of the category written like a number or a boolean."""
        if isinstance(value, bool):
            spelled = [code for text, code in self.codes.items() if text.lower() == str(value).lower()]
            if len(spelled) == 1:
                return spelled[0]
        return self.by_number.get(float(value))

    def _number(self, cell: Any, i: int, place: Place, by_place: bool) -> float:
        """A cell of a column of numbers."""
        if isinstance(cell, str) and not by_place:
            raise Rejected(Reason.DTYPE, f"{place(i)}: is a text, but {self.name!r} is a number; send numbers")
        try:
            # Python groups digits with "_"; training takes that for a word.
            value = float(cell.replace("_", "?") if isinstance(cell, str) else cell)
        except ValueError as error:
            raise Rejected(Reason.DTYPE, f"{place(i)}: {cell[:64]!r} is no number; {self.name!r} is one") from error
        if math.isinf(value):
            raise Rejected(Reason.RANGE, f"{place(i)}: is not finite as FP64; send finite numbers")
        return value

    def _gap(self, i: int, place: Place) -> Rejected:
        text = f"{place(i)}: is missing, but {self.name!r} had no gaps in training; send {self._allowed()}"
        return Rejected(Reason.MISSING, text)

    def _unknown(self, text: str, i: int, place: Place) -> Rejected:
        # Comparing takes time: of many categories those that begin alike will do.
        shown = text[:64]
        alike = sorted(self.codes, key=lambda known: _alike(known, shown), reverse=True)
        near = get_close_matches(shown, alike[:_COMPARED], 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        message = f"{place(i)}: {shown!r} is no category of {self.name!r}; {hint}send {self._allowed()}"
        return Rejected(Reason.CATEGORY, message)

    def _no_code(self, value: float, i: int, place: Place) -> Rejected:
        message = (
            f"{place(i)}: {value:g} is no code of {self.name!r}; send a whole number from 0 to {len(self.codes) - 1}, "
            f"or in a tensor of its own {self._allowed()}"
        )
        return Rejected(Reason.CATEGORY, message)

    def _allowed(self) -> str:
        if not self.codes:
            return "a number"
        shown = ", ".join(repr(text[:64]) for text in list(self.codes)[:_SHOWN])
        return f"one of {shown}{f', … ({len(self.codes)} in all)' if len(self.codes) > _SHOWN else ''}"


def _alike(one: str, other: str) -> int:
    """How many characters two texts have in common at their start."""
    different = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(different, min(len(one), len(other)))


def _by_number(codes: Mapping[str, float]) -> Mapping[float, float]:
    """Categories that are written as numbers; of several ways to write one number the usual one, or none."""
    texts: dict[float, list[str]] = {}
    for text in codes:
        try:
            number = float(text)
        except ValueError:
            continue
        if abs(number) < _EXACT:
            texts.setdefault(number, []).append(text)
    found = {}
    for number, written in texts.items():
        usual = [text for text in (f"{number:.0f}", repr(number)) if text in written and float(text) == number]
        if usual or len(written) == 1:
            found[number] = codes[(usual or written)[0]]
    return found
