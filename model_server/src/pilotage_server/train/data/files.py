"""Files into columns of text: CSV by the standard library, Parquet by arro3 (an extra).

Parquet values become the text CSV would have held, so that both formats give one table. Knows no meaning.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pilotage_server.train.config import ConfigError, File


def read_file(source: File) -> dict[str, list[str]]:
    """Read every column as text, in the file's order; raises `ConfigError`."""
    return _parquet(source.path) if source.format == "parquet" else _csv(source.path)


def csv_chunks(path: Path, rows: int) -> Iterator[dict[str, list[str]]]:
    """Read a CSV file `rows` lines at a time, so that memory stays bounded whatever its length."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            _check_header(path, header)
            chunk: list[list[str]] = []
            for number, line in enumerate(lines, start=2):
                if len(line) != len(header):
                    raise ConfigError(
                        f"{path}, row {number}: {len(line)} cells under {len(header)} headings; repair it"
                    )
                chunk.append(line)
                if len(chunk) == rows:
                    yield _columns(header, chunk)
                    chunk = []
            yield _columns(header, chunk)
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"data.csv.path: {path} cannot be read as CSV ({error})") from error


def _csv(path: Path) -> dict[str, list[str]]:
    whole: dict[str, list[str]] = {}
    for chunk in csv_chunks(path, 100_000):
        for name, cells in chunk.items():
            whole.setdefault(name, []).extend(cells)
    return whole


def _columns(header: list[str], lines: list[list[str]]) -> dict[str, list[str]]:
    cells = list(zip(*lines, strict=True)) if lines else [()] * len(header)
    return {name: list(column) for name, column in zip(header, cells, strict=True)}


def _parquet(path: Path) -> dict[str, list[str]]:
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
    columns: dict[str, Any] = {name: table.column(name).to_pylist() for name in names}
    return {name: [_text(value) for value in values] for name, values in columns.items()}


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _check_header(path: Path, header: list[str]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if not header or twice or "" in header:
        problem = f"columns occur twice ({', '.join(twice)})" if twice else "a column has no name"
        raise ConfigError(f"{path}: {problem}; give every column its own heading")
