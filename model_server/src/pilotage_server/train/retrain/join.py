"""The payload log joined with labels: rows whose truth became known, in order of time.

The log is opt-in and written by whoever sees requests: JSON lines `{"token", "time", "rows": [[…], …]}`, `token` the
feedback token of the answer, `time` seconds since 1970. Labels are the file that `pilotage-model feedback` posts
(token, row, label); the last label of a row counts. What cannot be joined is counted, never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage_server.feedback.labels import Columns, LabelsRefused, read_labels
from pilotage_server.train.config import ConfigError


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


def join(log: Path, labels: Path, features: Sequence[str], classes: Sequence[str]) -> Feedback:
    """Join by token and row; raises `ConfigError` for files that cannot be read or match nowhere."""
    truth, left_out = _truth(labels, classes)
    found: dict[tuple[str, int], tuple[float, list[float], int]] = {}
    for number, (token, at, rows) in enumerate(_payloads(log)):
        for i, row in enumerate(rows):
            if (token, i) not in truth:
                left_out["unlabelled"] += 1
            elif len(row) != len(features):
                left_out["wrongWidth"] += 1
            elif (token, i) in found:
                left_out["loggedTwice"] += 1
            else:
                found[token, i] = (at, row, number)
    left_out["unlogged"] = len(truth.keys() - found.keys())
    if not found:
        raise ConfigError(
            f"--from-feedback {log}: no row has a label in {labels} ({left_out}); check that tokens match"
        )
    keys = sorted(found, key=lambda key: (found[key][0], key))
    return Feedback(
        rows=np.array([found[key][1] for key in keys], dtype=np.float64),
        labels=np.array([truth[key] for key in keys], dtype=np.int64),
        times=np.array([found[key][0] for key in keys]),
        requests=np.array([found[key][2] for key in keys], dtype=np.int64),
        left_out=left_out,
    )


def _truth(path: Path, classes: Sequence[str]) -> tuple[dict[tuple[str, int], int], dict[str, int]]:
    index = {label: i for i, label in enumerate(classes)}
    truth: dict[tuple[str, int], int] = {}
    left_out = {"unlabelled": 0, "wrongWidth": 0, "loggedTwice": 0, "unknownLabel": 0, "badLabelLine": 0}
    try:
        for one in read_labels(path, Columns()):
            if one.problem:
                left_out["badLabelLine"] += 1
            elif one.label not in index:
                left_out["unknownLabel"] += 1
            else:
                truth[one.token, one.row] = index[one.label]
    except LabelsRefused as refused:
        raise ConfigError(f"--labels: {refused}") from refused
    return truth, left_out


def _payloads(path: Path) -> Iterator[tuple[str, float, list[list[float]]]]:
    """Token, time and rows of every line; null in a row is a missing value."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _payload(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--from-feedback {path}: cannot be read ({error}); check the path") from error


def _payload(path: Path, number: int, line: str) -> tuple[str, float, list[list[float]]]:
    try:
        read: Any = json.loads(line)
        rows = [[np.nan if cell is None else float(cell) for cell in row] for row in read["rows"]]
        return str(read["token"]), float(read["time"]), rows
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f'--from-feedback {path}, line {number}: is not {{"token", "time", "rows"}} ({error}); repair or remove it'
        ) from error
