"""What calm pods counted: differences of sums that Prometheus makes, where nothing has happened that needs more.

A block of fifty pods with their bins is ten thousand series; their raw samples are megabytes. Where no process began
anew in the last hour and none has two scrapers, the sum of last values at the end minus that at the start is the same
count, exactly: a process that was born has nothing at the start, one that vanished has the same at both. Anything else
is left to the raw samples (`evidence.pods`).
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotage.evidence import promql
from pilotage.evidence.asking import Asking
from pilotage.evidence.errors import TooLarge
from pilotage.evidence.pods import EARLIER_S, OF_A_PROCESS, Line

_RESETS, _SCRAPERS = "resets", "scrapers"


async def calm_lines(
    asking: Asking, selected: str, own: Mapping[str, tuple[str, ...]], start: float, end: float
) -> tuple[Line, ...] | None:
    """One line per revision and counter, over all its pods; None where raw samples must tell.

    `own`: the labels of each metric that `selected` finds, of which the first names the metric.
    """
    range_s = end - start + EARLIER_S
    by = ("revision", *dict.fromkeys(name for names in own.values() for name in names))
    process = (*by, *OF_A_PROCESS)
    try:
        if not await _is_calm(asking, selected, process, range_s, end):
            return None
        first = await _sums(asking, promql.folded(selected, process, by, EARLIER_S), start)
        last = await _sums(asking, promql.folded(selected, process, by, range_s), end)
    except TooLarge:
        return None
    if any(last.get(labels, 0.0) < value for labels, value in first.items()):
        return None
    metric_of = {names[0]: metric for metric, names in own.items()}
    return tuple(
        Line(
            labels={**dict(labels), promql.NAME: next(metric_of[name] for name, _ in labels if name in metric_of)},
            samples=((start, first.get(labels, 0.0)), (end, value)),
        )
        for labels, value in last.items()
    )


async def _is_calm(asking: Asking, selected: str, process: tuple[str, ...], range_s: float, at: float) -> bool:
    found = await asking.at(
        promql.either(
            (
                promql.marked(promql.resets(selected, range_s), _RESETS),
                promql.marked(promql.scrapers(selected, process, range_s), _SCRAPERS),
            )
        ),
        at,
    )
    told = {series.labels.get("counter", ""): series.samples[-1][1] for series in found}
    return told.get(_RESETS, 0.0) == 0 and told.get(_SCRAPERS, 1.0) == 1


async def _sums(asking: Asking, expression: str, at: float) -> Mapping[frozenset[tuple[str, str]], float]:
    return {frozenset(series.labels.items()): series.samples[-1][1] for series in await asking.at(expression, at)}
