"""How a model treats the groups of a declared attribute: each metric per group, its spread, and limits on it.

difference = largest − smallest, ratio = smallest / largest over the groups with enough rows; both as fairlearn's
`MetricFrame` defines them (`between_groups`). Selection rate is the share that gets the class; equal opportunity is
recall, equalized odds recall and false positive rate. Groups too small to judge are shown with their intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage_server.train.config import Config, ConfigError, Fairness, FairnessLimit
from pilotage_server.train.evaluate.metrics import Answers
from pilotage_server.train.evaluate.resample import proportion

Indices = NDArray[np.int64]


def fairness(answers: Answers, attributes: Mapping[str, Sequence[str]], wanted: Fairness) -> dict[str, Any]:
    """Every attribute's groups with their metrics and gaps, and the limits that are broken."""
    found = {name: _attribute(answers, values, wanted.least_rows) for name, values in attributes.items()}
    verdicts = [_verdict(limit, found[limit.attribute], wanted.least_rows) for limit in wanted.limits]
    return {
        "leastRows": wanted.least_rows,
        "attributes": found,
        "limits": verdicts,
        "passed": all(verdict["passed"] for verdict in verdicts),
    }


def check_limits(config: Config, attributes: Mapping[str, Sequence[str]], classes: tuple[str, ...]) -> None:
    """Raise `ConfigError` for a limit on an attribute or class that is none."""
    for i, limit in enumerate(config.fairness.limits):
        if limit.attribute not in attributes:
            declared = ", ".join(attributes) or "none"
            raise ConfigError(
                f"fairness.limits[{i}].attribute: {limit.attribute!r} is not declared under data.columns.attributes "
                f"({declared})"
            )
        if limit.label and limit.label not in classes:
            raise ConfigError(f"fairness.limits[{i}].class: {limit.label!r} is no class; one of {', '.join(classes)}")


def _attribute(answers: Answers, values: Sequence[str], least: int) -> dict[str, Any]:
    column = np.array(values, dtype=object)
    groups = {name: _group(answers, np.flatnonzero(column == name)) for name in sorted(set(values))}
    judged = [group for group in groups.values() if group["rows"] >= least]
    return {"groups": groups, "gaps": _gaps(judged, answers.classes), "judged": len(judged)}


def _group(answers: Answers, rows: Indices) -> dict[str, Any]:
    actual, predicted = answers.actual[rows], answers.predicted[rows]
    return {
        "rows": len(rows),
        "accuracy": proportion(int((actual == predicted).sum()), len(rows)),
        "perClass": {label: _of_class(actual == i, predicted == i) for i, label in enumerate(answers.classes)},
    }


def _of_class(actual: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> dict[str, Any]:
    hits = int((actual & predicted).sum())
    return {
        "selectionRate": proportion(int(predicted.sum()), len(predicted)),
        "precision": proportion(hits, int(predicted.sum())),
        "recall": proportion(hits, int(actual.sum())),
        "falsePositiveRate": proportion(int((predicted & ~actual).sum()), int((~actual).sum())),
    }


def _gaps(groups: Sequence[Mapping[str, Any]], classes: tuple[str, ...]) -> dict[str, Any]:
    names = ("selectionRate", "precision", "recall", "falsePositiveRate")
    return {
        "accuracy": _gap([group["accuracy"]["value"] for group in groups]),
        "perClass": {
            label: {name: _gap([group["perClass"][label][name]["value"] for group in groups]) for name in names}
            for label in classes
        },
    }


def _gap(values: Sequence[float | None]) -> dict[str, float | None]:
    """Difference and ratio over the groups where the metric is defined; None with fewer than two."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return {"difference": None, "ratio": None}
    low, high = min(known), max(known)
    return {"difference": high - low, "ratio": low / high if high > 0 else None}


def _verdict(limit: FairnessLimit, found: Mapping[str, Any], least: int) -> dict[str, Any]:
    """A limit, what was found, and whether it holds; what cannot be judged does not hold."""
    gaps = found["gaps"]
    gap = gaps["perClass"][limit.label][limit.metric] if limit.label else gaps["accuracy"]
    verdict = {
        "attribute": limit.attribute,
        "metric": limit.metric,
        "class": limit.label,
        "limits": {"difference": limit.difference, "ratio": limit.ratio},
        "found": gap,
    }
    if gap["difference"] is None:
        problem = f"cannot be judged: fewer than two groups have {least} test rows and the metric"
    elif limit.difference is not None and gap["difference"] > limit.difference:
        problem = f"differs by {gap['difference']:.3f}, more than {limit.difference:g}"
    elif limit.ratio is not None and (gap["ratio"] is None or gap["ratio"] < limit.ratio):
        shown = "undefined" if gap["ratio"] is None else f"{gap['ratio']:.3f}"
        problem = f"has a ratio of {shown}, less than {limit.ratio:g}"
    else:
        problem = ""
    return verdict | {"passed": not problem, "problem": problem}
