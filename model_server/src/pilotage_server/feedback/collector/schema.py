"""The ledger's tables, and how its file is opened and upgraded. What the rows mean is `ledger`'s business.

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

VERSION: Final = 3
_TABLES: Final = """
CREATE TABLE ledger (
    id TEXT NOT NULL, born_ms INTEGER NOT NULL, expired_before_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE revision (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, classes TEXT NOT NULL, seen_ms INTEGER NOT NULL,
    stored INTEGER NOT NULL DEFAULT 0, slices TEXT NOT NULL DEFAULT '[]', costs TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE TABLE label (
    issued_ms INTEGER NOT NULL, nonce INTEGER NOT NULL, row INTEGER NOT NULL,
    revision INTEGER NOT NULL, predicted INTEGER NOT NULL, given INTEGER NOT NULL,
    chosen INTEGER NOT NULL, state INTEGER NOT NULL,
    audit INTEGER NOT NULL DEFAULT 0, loss INTEGER, brier INTEGER, buckets TEXT, request INTEGER, slices TEXT,
    PRIMARY KEY (issued_ms, nonce, row)
) STRICT, WITHOUT ROWID;
CREATE INDEX pending ON label (issued_ms) WHERE state = 0;
CREATE TABLE cell (
    revision INTEGER NOT NULL, actual INTEGER NOT NULL, predicted INTEGER NOT NULL,
    all_rows INTEGER NOT NULL, requests INTEGER NOT NULL, audited INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (revision, actual, predicted)
) STRICT, WITHOUT ROWID;
CREATE TABLE tally (
    revision TEXT NOT NULL, result TEXT NOT NULL, items INTEGER NOT NULL,
    PRIMARY KEY (revision, result)
) STRICT, WITHOUT ROWID;
"""
_SINCE_2: Final = """
CREATE TABLE moment (
    revision INTEGER PRIMARY KEY, requests INTEGER NOT NULL, loss INTEGER NOT NULL, squares TEXT NOT NULL,
    all_rows INTEGER NOT NULL, all_loss INTEGER NOT NULL, all_brier INTEGER NOT NULL
) STRICT;
CREATE TABLE score (
    revision INTEGER NOT NULL, class INTEGER NOT NULL, actual INTEGER NOT NULL, bucket INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (revision, class, actual, bucket)
) STRICT, WITHOUT ROWID;
CREATE TABLE slice (
    revision INTEGER NOT NULL, slice INTEGER NOT NULL, value INTEGER NOT NULL,
    actual INTEGER NOT NULL, predicted INTEGER NOT NULL, all_rows INTEGER NOT NULL,
    PRIMARY KEY (revision, slice, value, actual, predicted)
) STRICT, WITHOUT ROWID;
CREATE TABLE late (
    revision INTEGER NOT NULL, delay_ms INTEGER NOT NULL, bound INTEGER NOT NULL, requests INTEGER NOT NULL,
    PRIMARY KEY (revision, delay_ms, bound)
) STRICT, WITHOUT ROWID;
CREATE TABLE arrival (
    revision INTEGER NOT NULL, bound INTEGER NOT NULL, labels INTEGER NOT NULL, delay_ms INTEGER NOT NULL,
    PRIMARY KEY (revision, bound)
) STRICT, WITHOUT ROWID;
CREATE TABLE decision (
    request INTEGER NOT NULL, revision INTEGER NOT NULL, at_ms INTEGER NOT NULL, predicted BLOB NOT NULL,
    PRIMARY KEY (request, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX decided ON decision (at_ms);
CREATE TABLE pair (
    stable INTEGER NOT NULL, canary INTEGER NOT NULL, outcome TEXT NOT NULL, requests INTEGER NOT NULL,
    PRIMARY KEY (stable, canary, outcome)
) STRICT, WITHOUT ROWID;
"""
_SINCE_3: Final = """
ALTER TABLE ledger ADD COLUMN matured_ms INTEGER NOT NULL DEFAULT 0;
UPDATE ledger SET matured_ms = coalesce(
    (SELECT min(issued_ms) FROM label WHERE state = 0), (SELECT max(issued_ms) FROM label), 0
);
ALTER TABLE label ADD COLUMN cohort INTEGER;
ALTER TABLE label ADD COLUMN counted_as INTEGER;
ALTER TABLE score ADD COLUMN all_rows INTEGER NOT NULL DEFAULT 0;
CREATE TABLE cohort (
    revision INTEGER NOT NULL, class INTEGER NOT NULL, outcome TEXT NOT NULL, delay INTEGER NOT NULL,
    all_rows INTEGER NOT NULL,
    PRIMARY KEY (revision, class, outcome, delay)
) STRICT, WITHOUT ROWID;
"""
_FROM_1: Final = """
ALTER TABLE revision ADD COLUMN slices TEXT NOT NULL DEFAULT '[]';
ALTER TABLE revision ADD COLUMN costs TEXT NOT NULL DEFAULT '[]';
ALTER TABLE label ADD COLUMN audit INTEGER NOT NULL DEFAULT 0;
ALTER TABLE label ADD COLUMN loss INTEGER;
ALTER TABLE label ADD COLUMN brier INTEGER;
ALTER TABLE label ADD COLUMN buckets TEXT;
ALTER TABLE label ADD COLUMN request INTEGER;
ALTER TABLE label ADD COLUMN slices TEXT;
ALTER TABLE cell ADD COLUMN audited INTEGER NOT NULL DEFAULT 0;
"""
_UPGRADES: Final = {1: _FROM_1 + _SINCE_2 + _SINCE_3, 2: _SINCE_3}
_WAL_BYTES: Final = 64 * 1024 * 1024  # what the write-ahead log may keep of a burst
_RECLAIMED_AT_ONCE: Final = 2_000  # pages
FORGET: Final = (
    "DELETE FROM cell WHERE revision = :revision",
    "DELETE FROM moment WHERE revision = :revision",
    "DELETE FROM score WHERE revision = :revision",
    "DELETE FROM slice WHERE revision = :revision",
    "DELETE FROM cohort WHERE revision = :revision",
    "DELETE FROM late WHERE revision = :revision",
    "DELETE FROM arrival WHERE revision = :revision",
    "DELETE FROM decision WHERE revision = :revision",
    "DELETE FROM pair WHERE :revision IN (stable, canary)",
)
"""What removes every counter of one revision."""
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


def reclaim(database: sqlite3.Connection) -> None:
    """Give pages that pruning emptied back to the volume, but for a tenth, which new labels fill. Not in a transaction.

    A ledger that began with schema 1 or 2 gives none back and fills them all.
    """
    (free,) = database.execute("PRAGMA freelist_count").fetchone()
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    surplus = min(free - pages // 10, _RECLAIMED_AT_ONCE)
    if surplus > 0:
        # executescript: each step frees a page, and execute takes one step of what returns no columns.
        database.executescript(f"PRAGMA incremental_vacuum({surplus})")


def _open(path: Path, now_ms: int) -> sqlite3.Connection:
    # The writer's thread uses it; the thread that opens and closes it never does so meanwhile.
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Acts on a file without tables only: what was pruned is given back to the volume (`reclaim`).
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -16384")
        database.execute("BEGIN EXCLUSIVE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            _create(database, now_ms)
        elif version in _UPGRADES:
            _run(database, _UPGRADES[version])
            database.execute(f"PRAGMA user_version = {VERSION}")
            _log.info("collector.ledger_upgraded", path=str(path), schema=VERSION)
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
    _run(database, _TABLES + _SINCE_2 + _SINCE_3)
    database.execute(
        "INSERT INTO ledger (id, born_ms, expired_before_ms) VALUES (?, ?, ?)", (str(uuid.uuid4()), now_ms, now_ms)
    )
    database.execute(f"PRAGMA user_version = {VERSION}")


def _run(database: sqlite3.Connection, statements: str) -> None:
    # Not executescript: it commits what is open, and a half-made ledger must not survive a crash.
    for statement in statements.split(";"):
        if statement.strip():
            database.execute(statement)
