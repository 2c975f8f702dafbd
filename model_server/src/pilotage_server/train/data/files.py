"""Files into columns of text: CSV by the standard library, Parquet by arro3 (an extra).

What a CSV file is written in is found where it can be (byte order mark, separator of the heading line) and asked for
where guessing would be wrong. Parquet values become the text CSV would have held, so that both formats give one
table. Knows no meaning.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from pilotage_server.train.config import ConfigError, File

_SEPARATORS = (",", ";", "\t", "|")
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
Cells = dict[str, list[str]]


def read_file(source: File) -> Cells:
    """Read every column as text, in the file's order; raises `ConfigError`."""
    return _parquet(source.path) if source.format == "parquet" else _csv(source)


def csv_chunks(source: File, rows: int) -> Iterator[Cells]:
    """Read a CSV file `rows` rows at a time, so that memory stays bounded whatever its length."""
    path = source.path
    try:
        with path.open(newline="", encoding=source.encoding or _encoding(path)) as file:
            lines = csv.reader(file, delimiter=source.separator or _separator(file), strict=True)
            header = [name.strip() for name in next(lines, [])]
            _check_header(path, header)
            chunk: list[list[str]] = []
            for line in _rows(path, lines, len(header)):
                chunk.append(line)
                if len(chunk) == rows:
                    yield _columns(header, chunk)
                    chunk = []
            yield _columns(header, chunk)
    except OSError as error:
        raise ConfigError(f"data.csv.path: {path} cannot be read ({error.strerror}); check the path") from error
    except UnicodeError as error:
        raise ConfigError(
            f"data.csv.encoding: {path} is not {source.encoding or 'UTF-8'} ({error}); save it as UTF-8, or name what "
            "it is written in, such as cp1252"
        ) from error
    except (csv.Error, LookupError) as error:
        raise ConfigError(f"data.csv.path: {path} cannot be read as CSV ({error}); repair it") from error


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")


def _separator(file: TextIO) -> str:
    """Give the separator that makes the most of the heading line; the file stands at its start again."""
    heading = file.readline()
    file.seek(0)
    return max(_SEPARATORS, key=lambda separator: len(next(csv.reader([heading], delimiter=separator), [])))


def _rows(path: Path, lines: Iterator[list[str]], width: int) -> Iterator[list[str]]:
    """Check each row's width; empty lines are taken for the end of the file, nowhere else."""
    empty = 0
    for number, line in enumerate(lines, start=2):
        if not line:
            empty = empty or number
            continue
        if empty:
            raise ConfigError(f"{path}, row {empty}: is empty; remove it")
        if len(line) != width:
            raise ConfigError(f"{path}, row {number}: {len(line)} cells under {width} headings; repair it")
        yield line


def _csv(source: File) -> Cells:
    whole: Cells = {}
    for chunk in csv_chunks(source, 100_000):
        for name, cells in chunk.items():
            whole.setdefault(name, []).extend(cells)
    return whole


def _columns(header: list[str], lines: list[list[str]]) -> Cells:
    cells = list(zip(*lines, strict=True)) if lines else [()] * len(header)
    return {name: [cell.strip() for cell in column] for name, column in zip(header, cells, strict=True)}


def _parquet(path: Path) -> Cells:
    try:
        from arro3.io import read_parquet
    except ImportError as error:
        raise ConfigError("data.parquet: needs arro3; install pilotage-server[train,parquet]") from error
    try:
        table = read_parquet(str(path)).read_all()
        names = list(table.column_names)
    except Exception as error:  # arro3's errors share no base class
        raise ConfigError(f"data.parquet.path: {path} cannot be read as Parquet ({error})") from error
    _check_header(path, names)
    return {name: _texts(path, name, list(table.column(name).to_pylist())) for name in names}


def _texts(path: Path, name: str, values: list[Any]) -> list[str]:
    nested = next((value for value in values if isinstance(value, list | dict | bytes)), None)
    if nested is not None:
        raise ConfigError(f"{path}: column {name!r} holds {nested!r:.60}, which is no single value; flatten it")
    return ["" if value is None or value != value else str(value).strip() for value in values]


def _check_header(path: Path, header: list[str]) -> None:
    if not header:
        raise ConfigError(f"{path}: is empty; its first row must name the columns")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise ConfigError(f"{path}: columns occur twice ({', '.join(twice)}); give every column its own heading")
    if "" in header:
        raise ConfigError(f"{path}: column {header.index('') + 1} has no name; give every column its own heading")
