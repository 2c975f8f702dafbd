"""Labels become counts: everything that happens when predictions reach `labelDelay`, in SQL inside one transaction.

Each function moves the labels that are due into one table of counters; `mature` runs all of them, hands out the rows
for the windows, and then marks the labels as counted. Whoever calls it commits or undoes the whole. Knows no clock and
no message.
"""

import sqlite3
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Final

from pilotage_server.feedback.collector.window import packed
from pilotage_server.feedback.probabilities import LETTERS
from pilotage_server.quality.buckets import MAX_COHORT_CLASSES, MAX_CURVES

_BUCKET_OF: Final = {letter: bucket for bucket, letter in enumerate(LETTERS.decode())}
_ADD_CELLS: Final = (
    "INSERT INTO cell (revision, actual, predicted, all_rows, requests, audited) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET all_rows = all_rows + excluded.all_rows,"
    " requests = requests + excluded.requests, audited = audited + excluded.audited"
)
_ADD_SCORES: Final = (
    "INSERT INTO score VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,"
    " all_rows = all_rows + excluded.all_rows"
)
_ADD_COHORTS: Final = (
    "INSERT INTO cohort VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET all_rows = all_rows + excluded.all_rows"
)
_ADD_SLICES: Final = (
    "INSERT INTO slice VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET all_rows = all_rows + excluded.all_rows"
)
_ADD_PAIRS: Final = (
    "INSERT INTO pair VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests"
)


def mature(
    database: sqlite3.Connection,
    cutoff_ms: int,
    classes: Mapping[int, Sequence[str]],
    *,
    keeps_scores: bool,
    window: int,
) -> dict[int, bytes]:
    """Count every label of a prediction issued by `cutoff_ms`; what changed: the last rows, packed, by revision id.

    `classes`: names in the model's order, by revision id. `keeps_scores`: whether score buckets are counted. `window`:
    how many rows of a revision are wanted.
    """
    due = database.execute(
        "SELECT revision, given, predicted, count(*), sum(chosen), sum(chosen * audit), count(loss), count(cohort),"
        " count(buckets), count(slices), count(request) FROM label WHERE state = 0 AND issued_ms <= ?"
        " GROUP BY revision, given, predicted",
        (cutoff_ms,),
    ).fetchall()
    if not due:
        return {}
    database.executemany(_ADD_CELLS, [row[:6] for row in due])
    # Most models bring only some of these, and each is another walk over the labels that are due.
    extras = [sum(column) for column in zip(*(row[6:] for row in due), strict=True)]
    for count, has_any in zip((_moments, _cohorts, _scores, _slices, _pairs), extras, strict=True):
        if has_any and (keeps_scores or count is not _scores):
            count(database, cutoff_ms, classes)
    rows = dict.fromkeys((row[0] for row in due), b"")
    if window:
        rows |= _rows(database, cutoff_ms, classes, window)
    database.execute("UPDATE label SET state = 1 WHERE state = 0 AND issued_ms <= ?", (cutoff_ms,))
    database.execute("UPDATE ledger SET matured_ms = max(matured_ms, ?)", (cutoff_ms,))
    return rows


def _rows(
    database: sqlite3.Connection, cutoff_ms: int, classes: Mapping[int, Sequence[str]], window: int
) -> dict[int, bytes]:
    # After a long outage millions may be due at once: only the last ones are kept.
    found: defaultdict[int, deque[bytes]] = defaultdict(lambda: deque(maxlen=window))
    due = database.execute(
        "SELECT revision, given, predicted, loss, brier, buckets FROM label WHERE state = 0 AND issued_ms <= ?"
        " ORDER BY issued_ms, nonce, row",
        (cutoff_ms,),
    )
    for revision, *row in due:
        found[revision].append(packed(row, len(classes[revision])))
    return {revision: b"".join(rows) for revision, rows in found.items()}


def _moments(database: sqlite3.Connection, cutoff_ms: int, _: Mapping[int, Sequence[str]]) -> None:
    # Squares of millionths outgrow SQLite's integers after 190,000 labels at the clip: summed in two parts, kept as
    # text.
    found = database.execute(
        "SELECT revision, sum(chosen), sum(chosen * loss), sum(chosen * (loss * loss / 1000000)),"
        " sum(chosen * (loss * loss % 1000000)), count(*), sum(loss), sum(brier)"
        " FROM label WHERE state = 0 AND issued_ms <= ? AND loss IS NOT NULL GROUP BY revision",
        (cutoff_ms,),
    ).fetchall()
    for revision, requests, loss, high, low, rows, rows_loss, rows_brier in found:
        before = database.execute("SELECT squares FROM moment WHERE revision = ?", (revision,)).fetchone()
        squares = high * 1_000_000 + low + (int(before[0]) if before else 0)
        database.execute(
            "INSERT INTO moment VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " requests = requests + excluded.requests, loss = loss + excluded.loss, squares = excluded.squares,"
            " all_rows = all_rows + excluded.all_rows, all_loss = all_loss + excluded.all_loss,"
            " all_brier = all_brier + excluded.all_brier",
            (revision, requests, loss, str(squares), rows, rows_loss, rows_brier),
        )


def _cohorts(database: sqlite3.Connection, cutoff_ms: int, classes: Mapping[int, Sequence[str]]) -> None:
    found = database.execute(
        "SELECT revision, cohort, given, predicted, count(*) FROM label"
        " WHERE state = 0 AND issued_ms <= ? AND cohort IS NOT NULL GROUP BY revision, cohort, given, predicted",
        (cutoff_ms,),
    ).fetchall()
    counted: Counter[tuple[int, int, str, int]] = Counter()
    for revision, delay, given, predicted, rows in found:
        if len(classes[revision]) > MAX_COHORT_CLASSES:
            continue
        counted[revision, given, "tp" if given == predicted else "fn", delay] += rows
        if given != predicted:
            counted[revision, predicted, "fp", delay] += rows
    database.executemany(_ADD_COHORTS, [(*key, rows) for key, rows in counted.items()])


def _scores(database: sqlite3.Connection, cutoff_ms: int, classes: Mapping[int, Sequence[str]]) -> None:
    found = database.execute(
        "SELECT revision, given, chosen, group_concat(buckets, '') FROM label WHERE state = 0 AND issued_ms <= ?"
        " AND buckets IS NOT NULL GROUP BY revision, given, chosen",
        (cutoff_ms,),
    ).fetchall()
    requests: Counter[tuple[int, int, int, int]] = Counter()
    rows: Counter[tuple[int, int, int, int]] = Counter()
    for revision, given, chosen, letters in found:
        width = len(classes[revision])
        for class_ in range(width):
            for letter, count in Counter(letters[class_::width]).items():
                key = (revision, class_, int(class_ == given), _BUCKET_OF[letter])
                requests[key] += chosen * count
                # Rows beyond the one of their request are kept for few classes only.
                rows[key] += count if width <= MAX_CURVES else 0
    database.executemany(_ADD_SCORES, [(*key, count, rows[key]) for key, count in requests.items()])


def _slices(database: sqlite3.Connection, cutoff_ms: int, _: Mapping[int, Sequence[str]]) -> None:
    found = database.execute(
        "SELECT revision, slices, given, predicted, count(*) FROM label"
        " WHERE state = 0 AND issued_ms <= ? AND slices IS NOT NULL GROUP BY revision, slices, given, predicted",
        (cutoff_ms,),
    ).fetchall()
    counted: Counter[tuple[int, int, int, int, int]] = Counter()
    for revision, codes, given, predicted, rows in found:
        for slice_, code in enumerate(bytes.fromhex(codes)):
            if code:
                counted[revision, slice_, code - 1, given, predicted] += rows
    database.executemany(_ADD_SLICES, [(*key, rows) for key, rows in counted.items()])


def _pairs(database: sqlite3.Connection, cutoff_ms: int, classes: Mapping[int, Sequence[str]]) -> None:
    """Count what stable and a shadow made of one request: n11 both right, n10 only the canary, n01 only stable."""
    found = database.execute(
        "SELECT label.revision, decision.revision, label.row, label.given, label.predicted, decision.predicted"
        " FROM label JOIN decision ON decision.request = label.request"
        " WHERE state = 0 AND issued_ms <= ? AND chosen = 1 AND decision.revision <> label.revision",
        (cutoff_ms,),
    )
    counted: Counter[tuple[int, int, str]] = Counter()
    for stable, canary, row, given, predicted, decided in found:
        if row >= len(decided) or canary not in classes:
            continue
        # Indices of one revision mean nothing in another: names do.
        is_right = classes[canary][decided[row]] == classes[stable][given]
        counted[stable, canary, f"n{int(is_right)}{int(predicted == given)}"] += 1
    database.executemany(_ADD_PAIRS, [(*key, requests) for key, requests in counted.items()])
