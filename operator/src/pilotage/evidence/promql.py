"""The PromQL we ask and the JSON that comes back. Pure text in, values out.

`last_over_time` returns the last raw sample of each series in a range, exactly and without extrapolation, also for a
series that has vanished since; `max by (ledger, …)` folds the series of one ledger (a collector that moved to another
address, two scrapers of one pod) without adding them up. `increase()` is not a count (statistics.md §9).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pilotage.evidence.errors import Malformed, Refused

MATURED = "pilotage_matured_labels_total"
LABEL_DELAY = "pilotage_label_delay_seconds"
ROWS = "model_rows_total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series of an answer: its labels and (unix seconds, value) samples in order."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


def selector(metric: str, **labels: str) -> str:
    """`metric{a="b",…}`; a value with a `|` is matched as a list of alternatives."""
    matchers = (f"{name}{'=~' if '|' in value else '='}{_quote(value)}" for name, value in sorted(labels.items()))
    return f"{metric}{{{','.join(matchers)}}}"


def last_values(metric: str, by: Iterable[str], range_s: float, **labels: str) -> str:
    """The last raw sample of every series within `range_s`, folded per ledger and cell."""
    return f"max by ({','.join(by)}) (last_over_time({selector(metric, **labels)}[{_duration(range_s)}]))"


def raw(metric: str, range_s: float, **labels: str) -> str:
    """The raw samples of the last `range_s`, no alignment."""
    return f"{selector(metric, **labels)}[{_duration(range_s)}]"


def increase(metric: str, range_s: float, **labels: str) -> str:
    """Growth over `range_s`, extrapolated: good enough for a share, never for a count."""
    return f"sum(increase({selector(metric, **labels)}[{_duration(range_s)}]))"


def last_scrape(metric: str, **labels: str) -> str:
    """When the series was last scraped, as its value."""
    return f"max(timestamp({selector(metric, **labels)}))"


def parse(body: bytes) -> tuple[Series, ...]:
    """The series of an answer of `/api/v1/query`: vector, matrix or scalar; raises Refused or Malformed."""
    try:
        answer = json.loads(body)
        if answer["status"] != "success":
            raise Refused(f"{answer.get('errorType', 'error')}: {answer.get('error', '')}")
        data = answer["data"]
        return tuple(_series(data["resultType"], data["result"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Malformed(f"not an answer of Prometheus' query API: {body[:80]!r}") from error


def _series(kind: str, result: Any) -> Iterable[Series]:
    if kind == "scalar":
        yield Series(labels={}, samples=(_sample(result),))
        return
    for item in result:
        pairs = item["values"] if kind == "matrix" else [item["value"]]
        yield Series(labels=item["metric"], samples=tuple(_sample(pair) for pair in pairs))


def _sample(pair: Any) -> tuple[float, float]:
    at, value = pair
    return float(at), float(value)


def _duration(range_s: float) -> str:
    """Whole milliseconds, rounded up: a range must not lose the sample it was chosen to reach."""
    return f"{-int(-range_s * 1000 // 1)}ms"


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
