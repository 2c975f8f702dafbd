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

from pilotage.evidence.errors import Malformed, Refused, TooLarge

MATURED = "pilotage_matured_labels_total"
AUDIT = "pilotage_matured_audit_total"
SCORES = "pilotage_matured_scores_total"
LOSS = "pilotage_matured_loss_total"
LATE = "pilotage_late_labels_total"
LABEL_DELAY = "pilotage_label_delay_seconds"
ROWS = "model_rows_total"
SERVED = "model_gate_rows_total"
REQUESTS = "model_requests_total"
DURATIONS = "model_request_duration_seconds_bucket"
INPUTS = "model_feature_bins_total"
CONFIDENCE = "model_confidence_bins_total"
NAME = "__name__"
REVISION_PLACE = "$revision"
"""Where a revision's name goes in a selector that a user wrote."""


_TOO_MANY = "too many samples"
"""What Prometheus says beyond its --query.max-samples."""
_SPECIAL = ".+*?()|{}[$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series of an answer: its labels and (unix seconds, value) samples in order."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


def selector(metric: str | Iterable[str], **labels: str) -> str:
    """`metric{a="b",…}`; a value with a `|` is matched as a list of alternatives, several metrics by their name."""
    matchers = [f"{name}{'=~' if '|' in value else '='}{_quote(value)}" for name, value in sorted(labels.items())]
    if isinstance(metric, str):
        return f"{metric}{{{','.join(matchers)}}}"
    return f"{{{','.join([by_name(metric), *matchers])}}}"


def by_name(metrics: Iterable[str]) -> str:
    """The matcher that stands for several metrics in a selector."""
    return f"{NAME}=~{_quote('|'.join(metrics))}"


def last_values(metric: str, by: Iterable[str], range_s: float, **labels: str) -> str:
    """The last raw sample of every series within `range_s`, folded per ledger and cell."""
    return f"max by ({','.join(by)}) (last_over_time({selector(metric, **labels)}[{_duration(range_s)}]))"


def marked(expression: str, counter: str) -> str:
    """The answer with a label `counter`, so that several can be asked for at once (`either`)."""
    return f'label_replace({expression},"counter","{counter}","","")'


def either(expressions: Iterable[str]) -> str:
    """All series of all expressions."""
    return " or ".join(expressions)


def raw(metric: str | Iterable[str], range_s: float, **labels: str) -> str:
    """The raw samples of the last `range_s`, no alignment."""
    return within(selector(metric, **labels), range_s)


def within(selected: str, range_s: float) -> str:
    """The raw samples that a selector finds in the last `range_s`."""
    return f"{selected}[{_duration(range_s)}]"


def last_within(selected: str, range_s: float) -> str:
    """The last raw sample of each series that a selector finds in the last `range_s`."""
    return f"last_over_time({within(selected, range_s)})"


def folded(selected: str, process: Iterable[str], by: Iterable[str], range_s: float) -> str:
    """Sums of last values over processes, each read once whoever scrapes it."""
    return f"sum by ({','.join(by)}) (max by ({','.join(process)}) ({last_within(selected, range_s)}))"


def resets(selected: str, range_s: float) -> str:
    """How often any of the selected counters has begun anew."""
    return f"sum(resets({within(selected, range_s)}))"


def scrapers(selected: str, process: Iterable[str], range_s: float) -> str:
    """How many series there are at most of one process' counter."""
    return f"max(count by ({','.join(process)}) ({last_within(selected, range_s)}))"


def live_values(metric: str, by: Iterable[str], **labels: str) -> str:
    """Each counter as it stands in series that are still being scraped."""
    return f"max by ({','.join(by)}) ({selector(metric, **labels)})"


def increase(metric: str, range_s: float, **labels: str) -> str:
    """Growth over `range_s`, extrapolated: good enough for a share, never for a count."""
    return f"sum(increase({selector(metric, **labels)}[{_duration(range_s)}]))"


def last_scrape(metric: str, **labels: str) -> str:
    """When each series that is still being scraped was scraped last, as its value."""
    return f"timestamp({selector(metric, **labels)})"


def values_of(label: str, metric: str, **labels: str) -> str:
    """Which values a label has, for each revision."""
    return f"count by (revision,{label}) ({selector(metric, **labels)})"


def for_revision(selected: str, revision: str) -> str:
    """A selector that a user wrote, for one revision."""
    return selected.replace(REVISION_PLACE, revision)


def one_of(values: Iterable[str]) -> str:
    """A regular expression that matches exactly these values."""
    escaped = ("".join(f"[{sign}]" if sign in _SPECIAL else sign for sign in value) for value in values)
    return "|".join(escaped)


def parse(body: bytes) -> tuple[Series, ...]:
    """The series of an answer of `/api/v1/query`: vector, matrix or scalar; raises Refused or Malformed."""
    try:
        answer = json.loads(body)
        if answer["status"] != "success":
            words = f"{answer.get('errorType', 'error')}: {answer.get('error', '')}"
            raise TooLarge(words) if _TOO_MANY in words else Refused(words)
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
