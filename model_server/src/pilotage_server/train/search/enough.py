"""How many rows a comparison needs: no more than go on telling ways of training apart.

The first way is fitted on more and more rows, twice as many each time, and judged on inner folds. Where twice the rows
improve the metric by less than the share asked for, they are enough to compare and to tune on; the final fit takes
all rows all the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pilotage_server.train.config import Range
from pilotage_server.train.models.fitting import Variant
from pilotage_server.train.models.folds import Rows
from pilotage_server.train.progress import Progress
from pilotage_server.train.search.tune import Task, evaluate, stratified_share

_FIRST = 500


def enough_rows(variant: Variant, rows: Rows, task: Task, progress: Progress) -> tuple[Rows, list[dict[str, Any]]]:
    """Give the rows to compare and tune on, and what was seen by number of rows; all rows where nothing is asked."""
    share = task.search.enough
    if share <= 0:
        return rows, []
    progress.begin("finding how many rows are enough")
    # Listed values begin with the first, ranges with their lower end: any fixed choice shows what rows do.
    space = variant.blueprint.candidate.space
    params = {key: values.low if isinstance(values, Range) else values[0] for key, values in space.items()}
    seen: list[dict[str, Any]] = []
    size = _FIRST
    while size < len(rows):
        part = rows.take(stratified_share(rows, size / len(rows), variant.blueprint.candidate.seed))
        (trial,) = evaluate(variant, [params], part, replace(task, jobs=1), progress)
        seen.append({"rows": len(part), "goodness": trial.goodness})
        if len(seen) > 1:
            before, now = seen[-2]["goodness"], seen[-1]["goodness"]
            if now - before < share * abs(before):
                return part, seen
        size *= 2
    return rows, seen
