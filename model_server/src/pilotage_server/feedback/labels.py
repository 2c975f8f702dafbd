"""A file of labels for the batch client: its rows, what was sent of it before, and the report of what was refused.

CSV with a header, or JSON lines; columns token, row (0 where it is missing) and label. Rows are known by their number
in the file, from 1, so that a report can be read beside it. The journal beside the file makes an interrupted run go
on where it stopped: a batch is written there after its answer, so nothing is left out, and what is sent twice comes
back as a duplicate.
"""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from pilotage_server.feedback.items import MAX_ITEMS

JOURNAL_SUFFIX: Final = ".feedback-journal"
REPORT_SUFFIX: Final = ".rejected.csv"
MAX_BATCH_BYTES: Final = 900_000
_REPORT_HEADER: Final = ("number", "token", "row", "label", "result", "cluster", "reason")


class LabelsRefused(Exception):
    """The file, or its journal, cannot be used; the text names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Label:
    """One row: its number in the file, and the item to post; `problem` says why there is nothing to post."""

    number: int
    token: str
    row: int
    label: str
    problem: str = ""

    def posted(self) -> dict[str, Any]:
        """The item as the server takes it."""
        return {"token": self.token, "row": self.row, "label": self.label}


@dataclass(frozen=True, slots=True)
class Columns:
    """What the file calls its columns."""

    token: str = "token"  # noqa: S105 the name of a column
    row: str = "row"
    label: str = "label"


def read_labels(path: Path, columns: Columns) -> Iterator[Label]:
    """The rows of a file, `.jsonl` or `.ndjson` as JSON lines, anything else as CSV. Raises `LabelsRefused`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
                yield from _read_json_lines(file, columns)
            else:
                yield from _read_csv(path, file, columns)
    except OSError as error:
        raise LabelsRefused(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelsRefused(f"{path}: {error}; write it as UTF-8 CSV or JSON lines") from error


def batches(labels: Iterator[Label], *, size: int) -> Iterator[list[Label]]:
    """Labels in groups that fit into one request."""
    group: list[Label] = []
    length = 0
    for label in labels:
        weight = len(label.token) + 6 * len(label.label) + 64
        if group and (len(group) >= min(size, MAX_ITEMS) or length + weight > MAX_BATCH_BYTES):
            yield group
            group, length = [], 0
        group.append(label)
        length += weight
    if group:
        yield group


class Journal:
    """Which rows of one file were answered by one server. Close it."""

    def __init__(self, path: Path, labels: Path, server: str) -> None:
        """Open or begin it. Raises `LabelsRefused` for a journal of another file or server."""
        head = {"labels": labels.name, "sha256": _digest(labels), "server": server}
        self.done: list[tuple[int, int]] = []
        try:
            if path.exists() and path.stat().st_size:
                self._resume(path, head)
            self._file = path.open("a", encoding="utf-8")
            if not self.done and not path.stat().st_size:
                self._write(head)
        except OSError as error:
            raise LabelsRefused(f"{path}: {error.strerror}; name another with --journal") from error

    def _resume(self, path: Path, head: dict[str, str]) -> None:
        content = path.read_text(encoding="utf-8")
        found, *rest = map(_parsed, content.splitlines())
        if not isinstance(found, dict):
            raise LabelsRefused(f"{path}: is no journal of this command; delete it, or name another with --journal")
        differs = [name for name in head if found.get(name) != head[name]]
        if differs:
            raise LabelsRefused(
                f"{path}: was written for another {' and '.join(differs)}; delete it to begin anew, or name another "
                "with --journal"
            )
        # A crash may have left half a line: its batch is sent again.
        self.done = [(line[0], line[1]) for line in rest if isinstance(line, list) and len(line) == 2]
        if not content.endswith("\n"):
            path.write_text(f"{content}\n", encoding="utf-8")

    def has(self, batch: list[Label]) -> bool:
        """Whether every row of a batch was answered before."""
        return any(first <= batch[0].number and batch[-1].number <= last for first, last in self.done)

    def record(self, batch: list[Label]) -> None:
        """Note that a batch has its answer."""
        self._write([batch[0].number, batch[-1].number])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, value: object) -> None:
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()


class Report:
    """The rows that will not be counted, as CSV; the file appears with the first of them. Close it."""

    def __init__(self, path: Path, *, goes_on: bool) -> None:
        self.path = path
        self.rows = 0
        self._goes_on = goes_on
        self._file: IO[str] | None = None

    def add(self, label: Label, result: str, cluster: str, reason: str) -> None:
        """Write one row down. Raises `LabelsRefused`."""
        try:
            if self._file is None:
                is_new = not (self._goes_on and self.path.exists())
                self._file = self.path.open("w" if is_new else "a", encoding="utf-8", newline="")
                if is_new:
                    csv.writer(self._file).writerow(_REPORT_HEADER)
            row = (label.number, label.token, label.row, label.label, result, cluster, reason)
            csv.writer(self._file).writerow(row)
            self._file.flush()
        except OSError as error:
            raise LabelsRefused(f"{self.path}: {error.strerror}; name another with --rejected") from error
        self.rows += 1

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _read_csv(path: Path, file: IO[str], columns: Columns) -> Iterator[Label]:
    reader = csv.DictReader(file)
    missing = {columns.token, columns.label} - set(reader.fieldnames or ())
    if missing:
        found = ", ".join((reader.fieldnames or ())[:10]) or "nothing"
        raise LabelsRefused(
            f"{path}: the header has no {' and no '.join(sorted(missing))} (found: {found}); "
            "name the columns with --token-column, --row-column and --label-column"
        )
    for number, values in enumerate(reader, start=1):
        yield _label(number, values.get(columns.token), values.get(columns.row), values.get(columns.label))


def _read_json_lines(file: IO[str], columns: Columns) -> Iterator[Label]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            yield Label(number, "", 0, "", "the line is no JSON object")
            continue
        yield _label(number, values.get(columns.token), values.get(columns.row), values.get(columns.label))


def _label(number: int, token: Any, row: Any, label: Any) -> Label:
    text = "" if label is None or isinstance(label, bool) else str(label)
    if not isinstance(token, str) or not token.strip():
        return Label(number, "", 0, text, "no token")
    written = "0" if row is None or row == "" else str(row).strip()
    if not (written.isascii() and written.isdigit() and len(written) < 10):
        return Label(number, token, 0, text, f"row {written[:20]!r} is no whole number")
    if not text:
        return Label(number, token, int(written), text, "no label")
    return Label(number, token.strip(), int(written), text)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LabelsRefused(f"{path}: {error.strerror}") from error
