"""`pilotage-model feedback`: a file of labels to a server, with progress, a journal to go on from, and a report."""

import asyncio
import sys
import time
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Final, NoReturn
from urllib.parse import urlsplit

import typer

from pilotage_server.feedback.labels import (
    JOURNAL_SUFFIX,
    REPORT_SUFFIX,
    Columns,
    Journal,
    LabelsRefused,
    Report,
    batches,
    read_labels,
)

COLUMNS: Final = Columns()


class Ended(IntEnum):
    """Exit codes of the command."""

    DONE = 0
    REJECTED = 1
    USAGE = 2
    NOT_DELIVERED = 6


def feedback_command(
    labels: Annotated[Path, typer.Argument(help="CSV with a header, or JSON lines: token, row, label.")],
    server: Annotated[str, typer.Option(help="Address of any server of the model: http://digits.example:8080")],
    model: Annotated[str, typer.Option(help="Name of the model. [default: the one the server serves]")] = "",
    credential_file: Annotated[
        Path | None, typer.Option(help="File with the bearer token for feedback, if the cluster asks for one.")
    ] = None,
    journal: Annotated[Path | None, typer.Option(help="Where to note what was sent. [default: beside LABELS]")] = None,
    rejected: Annotated[Path | None, typer.Option(help="Report of rows not stored. [default: beside LABELS]")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Requests at a time.")] = 4,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="Labels per request.")] = 500,
    patience: Annotated[float, typer.Option(min=0, help="Seconds without progress before giving up.")] = 300.0,
    token_column: Annotated[str, typer.Option(help="Column of the token.")] = COLUMNS.token,
    row_column: Annotated[str, typer.Option(help="Column of the row; 0 where it is missing.")] = COLUMNS.row,
    label_column: Annotated[str, typer.Option(help="Column of the label.")] = COLUMNS.label,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Post labels for predictions; run again after an interruption, and it goes on where it stopped.

    Exit codes: 0 every row is stored, 1 some were rejected (see the report), 2 usage, file or credential,
    6 the server could not take all of them in time: run again.

    Example: pilotage-model feedback labels.csv --server http://127.0.0.1:8080
    """
    # Imported here: an HTTP client takes a third of a second that other commands do without.
    from pilotage_server.feedback.client import NotDelivered, PostRefused, Progress, Target, find_model, post_labels

    tell = _Told(quiet)
    opened: list[Journal | Report] = []
    progress = Progress()
    report = Report(rejected or Path(f"{labels}{REPORT_SUFFIX}"), goes_on=True)
    opened.append(report)
    try:
        address = _address(server)
        columns = Columns(token=token_column, row=row_column, label=label_column)
        credential = _credential(credential_file)
        next(read_labels(labels, columns), None)  # a file that cannot be read is told before a server is asked
        name = model or asyncio.run(find_model(address))
        noted = Journal(journal or Path(f"{labels}{JOURNAL_SUFFIX}"), labels, f"{address} {name}")
        opened.append(noted)
        target = Target(
            server=address,
            model=name,
            credential=credential,
            patience_s=patience,
            at_once=concurrency,
        )
        groups = batches(read_labels(labels, columns), size=batch)
        progress = asyncio.run(post_labels(target, groups, noted, report, tell=tell.line))
    except (LabelsRefused, PostRefused) as error:
        _end(str(error), Ended.USAGE)
    except NotDelivered as error:
        _end(f"{error}; run the same command again to go on", Ended.NOT_DELIVERED)
    except KeyboardInterrupt:
        _end("interrupted; run the same command again to go on", Ended.NOT_DELIVERED)
    finally:
        for one in opened:
            one.close()
    tell.line(progress, is_last=True)
    for result, rows in sorted(progress.results.items()):
        print(f"{result}: {rows}")
    if report.rows:
        _end(f"{report.rows} of {progress.posted} rows were not stored; {report.path} says why", Ended.REJECTED)


class _Told:
    """Progress on stderr: one line that moves on a terminal, one every ten seconds elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._moves = sys.stderr.isatty()
        self._started = time.monotonic()
        self._next = 0.0

    def line(self, progress: "object", *, is_last: bool = False) -> None:
        """Say how far it is, when it is time."""
        from pilotage_server.feedback.client import Progress

        now = time.monotonic()
        if self._quiet or not isinstance(progress, Progress) or (now < self._next and not is_last):
            return
        self._next = now + (0.2 if self._moves else 10.0)
        rate = progress.posted / max(now - self._started, 1e-6)
        text = f"{progress.posted:,} posted, {rate:,.0f}/s"
        text += f", {progress.skipped:,} sent before" if progress.skipped else ""
        text += f", {progress.retries:,} retries" if progress.retries else ""
        end = "\n" if is_last or not self._moves else ""
        print(f"\r{text}   " if self._moves else text, end=end, file=sys.stderr, flush=True)


def _address(server: str) -> str:
    try:
        parts = urlsplit(server)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.path.strip("/")
    except ValueError:
        is_whole = False
    if not is_whole:
        raise LabelsRefused(f"--server: {server!r}; write http:// or https:// with host and port, and no path")
    return server.rstrip("/")


def _credential(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelsRefused(f"--credential-file: {path}: {error}") from error


def _end(message: str, code: Ended) -> NoReturn:
    print(f"pilotage-model: {message}", file=sys.stderr)
    raise typer.Exit(int(code))
