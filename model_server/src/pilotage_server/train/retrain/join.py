"""The payload log joined with labels: rows whose truth became known, in order of time.

The log is what `pilotage-server serve --payload-log` writes, or whoever else sees requests: a file of JSON lines
`{"token", "time", "rows": [[…], …]}`, or a folder of `*.jsonl`; `token` is the feedback token of the answer, `time`
seconds since 1970. Labels are the file that `pilotage-model feedback` posts (token, row, label); the last label of a
row counts. What cannot be joined is counted, never guessed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage_server.bundle.manifest import Feature
from pilotage_server.feedback.labels import Columns, LabelsRefused, read_labels
from pilotage_server.train.config import ConfigError

COLUMNS = Columns()
Payload = tuple[str, float, list[list[Any]]]
"""Token, time in s, and rows as they were sent."""
REASONS = (
    "unlabelled",
    "unlogged",
    "unknownLabel",
    "badLabelLine",
    "halfLogLine",
    "loggedTwice",
    "wrongWidth",
    "unknownValue",
    "gap",
)
"""Why a row is left out: it has no label, a label has no row, a line of labels cannot be read, the log ends in half a
line (a pod was killed), the champion does not know a class or a value, or a value is missing in a column that had no
gaps in training.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """Labelled rows [n, F] with class indices, times (s) and requests (codes), sorted by time.

    `left_out` counts what could not be joined, by reason.
    """

    rows: NDArray[np.float64]
    labels: NDArray[np.int64]
    times: NDArray[np.float64]
    requests: NDArray[np.int64]
    left_out: dict[str, int]

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.labels)

    def take(self, chosen: NDArray[np.bool_]) -> Feedback:
        """The rows of a mask."""
        return Feedback(
            rows=self.rows[chosen],
            labels=self.labels[chosen],
            times=self.times[chosen],
            requests=self.requests[chosen],
            left_out=self.left_out,
        )


def join(
    log: Path, labels: Path, features: Sequence[Feature], classes: Sequence[str], columns: Columns = COLUMNS
) -> Feedback:
    """Join by token and row; raises `ConfigError` for files that cannot be read or match nowhere."""
    truth, left_out = _truth(labels, classes, columns)
    codes = [{text: float(code) for code, text in enumerate(feature.categories)} for feature in features]
    found: dict[tuple[str, int], tuple[float, list[float], int]] = {}
    for number, payload in enumerate(_payloads(log)):
        if payload is None:
            left_out["halfLogLine"] += 1
            continue
        token, at, rows = payload
        for i, cells in enumerate(rows):
            if (token, i) not in truth:
                left_out["unlabelled"] += 1
            elif len(cells) != len(features):
                left_out["wrongWidth"] += 1
            elif (token, i) in found:
                left_out["loggedTwice"] += 1
            else:
                row = [_value(cell, code) for cell, code in zip(cells, codes, strict=True)]
                problem = _problem(row, features)
                if problem:
                    left_out[problem] += 1
                else:
                    found[token, i] = (at, [np.nan if value is None else value for value in row], number)
    left_out["unlogged"] = len(truth.keys() - found.keys())
    if not found:
        told = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
        raise ConfigError(
            f"--from-feedback {log}: no row can be joined with {labels} ({told or 'both are empty'}); the log and the "
            "labels must be of this champion, and name the same tokens"
        )
    keys = sorted(found, key=lambda key: (found[key][0], key))
    return Feedback(
        rows=np.array([found[key][1] for key in keys], dtype=np.float64),
        labels=np.array([truth[key] for key in keys], dtype=np.int64),
        times=np.array([found[key][0] for key in keys]),
        requests=np.array([found[key][2] for key in keys], dtype=np.int64),
        left_out=left_out,
    )


def _value(cell: Any, codes: Mapping[str, float]) -> float | None:
    """A cell as the model knows it: a text as its code, null as None; NaN for what no training row could hold."""
    if cell is None:
        return None
    if isinstance(cell, str) and codes:
        return codes.get(cell, np.nan)
    return float(cell) if isinstance(cell, int | float) and not isinstance(cell, bool) else np.nan


def _problem(row: Sequence[float | None], features: Sequence[Feature]) -> str:
    """Why a row cannot be learned from, as `left_out` calls it; empty where it can."""
    if any(value is not None and not math.isfinite(value) for value in row):
        return "unknownValue"
    gaps = any(value is None and not feature.missing for value, feature in zip(row, features, strict=True))
    return "gap" if gaps else ""


def _truth(path: Path, classes: Sequence[str], columns: Columns) -> tuple[dict[tuple[str, int], int], dict[str, int]]:
    index = {label: i for i, label in enumerate(classes)}
    truth: dict[tuple[str, int], int] = {}
    left_out = dict.fromkeys(REASONS, 0)
    try:
        for one in read_labels(path, columns):
            if one.problem:
                left_out["badLabelLine"] += 1
            elif one.label not in index:
                left_out["unknownLabel"] += 1
            else:
                truth[one.token, one.row] = index[one.label]
    except LabelsRefused as refused:
        raise ConfigError(f"--labels: {refused}") from refused
    return truth, left_out


def _payloads(path: Path) -> Iterator[Payload | None]:
    """Every line of a file, or of every `*.jsonl` in a folder; None for a last one that was never finished."""
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise ConfigError(f"--from-feedback {path}: holds no *.jsonl; name the folder that --payload-log wrote to")
    for one in files:
        try:
            with one.open(encoding="utf-8") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield _payload(one, number, line)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--from-feedback {one}: cannot be read ({error}); check the path") from error


def _payload(path: Path, number: int, line: str) -> Payload | None:
    try:
        read: Any = json.loads(line)
        return str(read["token"]), float(read["time"]), [list(row) for row in read["rows"]]
    except (ValueError, KeyError, TypeError) as error:
        if not line.endswith("\n"):
            return None
        raise ConfigError(
            f'--from-feedback {path}, line {number}: is not {{"token", "time", "rows"}} ({error}); repair or remove it'
        ) from error
