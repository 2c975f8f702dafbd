"""A CSV file read in pieces: what its columns are, and which row is in which part.

A row's part is a hash of its cells and the seed, so that a repeated row is on one side only and no list of rows is
needed. Every pass reads the file again. In memory at any time: one piece, and of each part the rows with the smallest
hashes, a sample that depends on no order of rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pilotage_server.bundle.manifest import MAX_CATEGORIES, MAX_TEXT
from pilotage_server.document import nearest
from pilotage_server.train.config import Config, ConfigError, File
from pilotage_server.train.data import Column
from pilotage_server.train.data.files import Cells, csv_chunks
from pilotage_server.train.data.parse import codes, is_missing, read_numbers, settle

SAMPLE: Final = 20_000
"""Rows of each part that are kept in memory."""

LEARN, TEST, HOLD, JUDGE = 0, 1, 2, 3
PARTS: Final = (LEARN, TEST, HOLD, JUDGE)
JUDGED: Final = 0.1
"""Share of the training rows that judge instead of teaching, where a run needs such: calibration, threshold, curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some rows of the file [n, F] with their class as text, part and hash."""

    rows: NDArray[np.float64]
    labels: list[str]
    parts: NDArray[np.int64]
    hashes: NDArray[np.uint64]


@dataclass(slots=True)
class _Seen:
    """What the cells of one column were so far."""

    words: Counter[str] = field(default_factory=Counter)
    texts: set[str] = field(default_factory=set)
    known: int = 0
    first_row: int = 0


class Pieces:
    """The file, read anew by each pass; raises `ConfigError` for what no column may hold."""

    def __init__(self, config: Config, source: File, chunk_rows: int, *, judges: bool) -> None:
        self._source, self._rows = source, chunk_rows
        self._seed = config.split.seed.to_bytes(8, "little")
        hold, test = config.split.holdback, config.split.test
        judge = JUDGED * (1 - hold - test) if judges else 0.0
        self._bounds = np.cumsum([hold, test, judge])
        self._meaning = config.data.columns
        hidden = self._meaning
        self._hidden = {source.target, *hidden.ignore, *hidden.after, hidden.group, hidden.time}
        self.columns: tuple[Column, ...] = ()
        self.labels: set[str] = set()
        self._survey()

    def __iter__(self) -> Iterator[Piece]:
        """Give every row, in the file's order, a piece at a time."""
        number = 2
        for cells in csv_chunks(self._source, self._rows):
            labels = cells[self._source.target]
            if not labels:
                continue
            rows = np.column_stack([self._values(column, cells[column.name], number) for column in self.columns])
            lines = zip(*(cells[column.name] for column in self.columns), strict=True)
            hashes = np.array([self._hash(line) for line in lines])
            number += len(labels)
            yield Piece(rows=rows, labels=labels, parts=self._part(hashes), hashes=hashes)

    def _survey(self) -> None:
        """Find the columns, the categories of each, and every class."""
        seen: dict[str, _Seen] = {}
        number = 2
        for cells in csv_chunks(self._source, self._rows):
            self._check_header(cells)
            labels = cells[self._source.target]
            empty = [i for i, label in enumerate(labels) if is_missing(label, self._source.missing)]
            if empty:
                raise ConfigError(
                    f"{self._source.path}, row {number + empty[0]}: has no {self._source.target}; remove such rows"
                )
            self.labels |= set(labels)
            for name in cells.keys() - self._hidden:
                self._see(seen.setdefault(name, _Seen()), name, cells[name], number)
            names = [name for name in cells if name not in self._hidden]
            number += len(labels)
        if not names:
            raise ConfigError(f"{self._source.path}: no feature is left; ignore fewer columns")
        self.columns = tuple(self._settled(name, seen[name]) for name in names)

    def _see(self, seen: _Seen, name: str, texts: list[str], number: int) -> None:
        if name not in self._meaning.categorical:
            values, words = read_numbers(self._source, name, texts, number)
            seen.first_row = seen.first_row or (words[0] + number if words else 0)
            seen.known += int((~np.isnan(values)).sum())
            if len(seen.words) <= MAX_CATEGORIES:
                seen.words.update(texts[i] for i in words)
        if len(seen.texts) <= MAX_CATEGORIES:
            seen.texts |= {text for text in texts if not is_missing(text, self._source.missing)}

    def _settled(self, name: str, seen: _Seen) -> Column:
        if name not in self._meaning.categorical:
            column = settle(self._source, name, seen.words, seen.known, seen.first_row)
            if column is not None:
                return column
        if len(seen.texts) > MAX_CATEGORIES or any(len(text) > MAX_TEXT for text in seen.texts):
            raise ConfigError(
                f"{self._source.path}: column {name!r} has more than {MAX_CATEGORIES} different texts, or one of more "
                f"than {MAX_TEXT} characters; name it under data.columns.ignore, or group its values"
            )
        return Column(name=name, categories=tuple(sorted(seen.texts)))

    def _check_header(self, cells: Cells) -> None:
        for name in (self._source.target, *self._meaning.categorical, *self._meaning.ignore, *self._meaning.after):
            if name not in cells:
                raise ConfigError(f"{self._source.path}: {name!r} is no column; {nearest(name, tuple(cells))}")

    def _values(self, column: Column, texts: list[str], number: int) -> NDArray[np.float64]:
        if column.is_categorical:
            return codes(texts, column.categories)
        return read_numbers(self._source, column.name, texts, number)[0]

    def _part(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        place = np.searchsorted(self._bounds, hashes / 2.0**64, side="right")
        return np.array([HOLD, TEST, JUDGE, LEARN])[place]

    def _hash(self, cells: tuple[str, ...]) -> np.uint64:
        digest = hashlib.blake2b("\x1f".join(cells).encode(), digest_size=8, key=self._seed).digest()
        return np.uint64(int.from_bytes(digest, "little"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Rows [n, F] of one part that stay in memory, with class indices [n]."""

    rows: NDArray[np.float64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.labels)


def keep(pieces: Pieces, index: dict[str, int]) -> tuple[dict[int, Kept], NDArray[np.int64]]:
    """Keep a sample of each part; gives also how many rows of each class teach."""
    width = len(pieces.columns)
    nothing = (np.empty((0, width)), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64))
    kept: dict[int, Any] = dict.fromkeys(PARTS, nothing)
    taught = np.zeros(len(index), dtype=np.int64)
    for piece in pieces:
        labels = np.array([index[label] for label in piece.labels])
        taught += np.bincount(labels[piece.parts == LEARN], minlength=len(index))
        for which in PARTS:
            mine = piece.parts == which
            new = (piece.rows[mine], labels[mine], piece.hashes[mine])
            joined = tuple(np.concatenate([old, one]) for old, one in zip(kept[which], new, strict=True))
            # Ranks within the part: hashes decided the part, so their rest is as good as new.
            smallest = np.sort(np.argsort(joined[2] * np.uint64(0x9E3779B97F4A7C15), kind="stable")[:SAMPLE])
            kept[which] = tuple(one[smallest] for one in joined)
    return {which: Kept(rows=rows, labels=labels) for which, (rows, labels, _) in kept.items()}, taught
