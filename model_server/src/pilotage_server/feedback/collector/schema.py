"""The ledger's tables, and how its file is opened. What the rows mean is `ledger`'s business.

`synchronous=FULL` on a write-ahead log: a commit that returned is on disk. The exclusive lock makes a second collector
on the same volume fail at once instead of counting beside the first. Rows are clustered by issue time, so maturing and
pruning touch one end of the table, and two requests share a key only if they share millisecond *and* nonce.
"""

import contextlib
import sqlite3
import uuid
from pathlib import Path
from typing import Final

import structlog

VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE ledger (
    id TEXT NOT NULL, born_ms INTEGER NOT NULL, expired_before_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE revision (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, classes TEXT NOT NULL, seen_ms INTEGER NOT NULL,
    stored INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE label (
    issued_ms INTEGER NOT NULL, nonce INTEGER NOT NULL, row INTEGER NOT NULL,
    revision INTEGER NOT NULL, predicted INTEGER NOT NULL, given INTEGER NOT NULL,
    chosen INTEGER NOT NULL, state INTEGER NOT NULL,
    PRIMARY KEY (issued_ms, nonce, row)
) STRICT, WITHOUT ROWID;
CREATE INDEX pending ON label (issued_ms) WHERE state = 0;
CREATE TABLE cell (
    revision INTEGER NOT NULL, actual INTEGER NOT NULL, predicted INTEGER NOT NULL,
    all_rows INTEGER NOT NULL, requests INTEGER NOT NULL,
    PRIMARY KEY (revision, actual, predicted)
) STRICT, WITHOUT ROWID;
CREATE TABLE tally (
    revision TEXT NOT NULL, result TEXT NOT NULL, items INTEGER NOT NULL,
    PRIMARY KEY (revision, result)
) STRICT, WITHOUT ROWID;
"""
_log = structlog.get_logger(__name__)


class DatabaseRefused(Exception):
    """The ledger's file cannot be used; the text names it and the remedy."""


def open_database(path: Path, now_ms: int) -> sqlite3.Connection:
    """The ledger's database, made and born at `now_ms` if there is none.

    A damaged file is set aside and a new ledger born: its counts are lost, and tokens older than the new one are
    refused, so nothing is counted twice. Raises `DatabaseRefused`.
    """
    try:
        return _open(path, now_ms)
    except sqlite3.OperationalError as error:
        raise DatabaseRefused(f"{path}: {error}; is another collector using this volume, or is it full?") from error
    except sqlite3.DatabaseError as error:
        aside = path.with_name(f"{path.name}.damaged-{now_ms}")
        _log.error("collector.ledger_damaged", path=str(path), error=str(error), set_aside=str(aside))
    try:
        for suffix in ("", "-wal"):
            file = path.with_name(path.name + suffix)
            if file.exists():
                file.rename(aside.with_name(aside.name + suffix))
        return _open(path, now_ms)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseRefused(f"{path}: damaged, and no new ledger can be made beside it: {error}") from error


def _open(path: Path, now_ms: int) -> sqlite3.Connection:
    # The writer's thread uses it; the thread that opens and closes it never does so meanwhile.
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -16384")
        database.execute("BEGIN EXCLUSIVE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            _create(database, now_ms)
        elif version != VERSION:
            raise DatabaseRefused(
                f"{path}: written by another version of the server (schema {version}, known here: {VERSION}); "
                "go back to that version, or delete the volume and lose its counts"
            )
        database.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            database.close()
        raise
    return database


def _create(database: sqlite3.Connection, now_ms: int) -> None:
    # Not executescript: it commits what is open, and a half-made ledger must not survive a crash.
    for statement in _TABLES.split(";"):
        if statement.strip():
            database.execute(statement)
    database.execute("INSERT INTO ledger VALUES (?, ?, ?)", (str(uuid.uuid4()), now_ms, now_ms))
    database.execute(f"PRAGMA user_version = {VERSION}")
