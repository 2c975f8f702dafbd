"""`model_quality`: every metric of a revision's window, as one glance for people. Gates never read it.

Of the labels this collector counted last, so it neither adds up nor averages over clusters; undefined is NaN. Curves
come from score buckets, which rows of up to ten classes keep. Computed once per window, when somebody looks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from pilotage_server.feedback.collector.snapshot import RevisionCounts
from pilotage_server.feedback.collector.text import Family, Kind, labelled
from pilotage_server.feedback.collector.window import Window
from pilotage_server.quality.buckets import MICRO
from pilotage_server.quality.formulas import Matrix, Outcomes, Ranking, mean, ratio

QUALITY: Final = Family(
    "model_quality",
    Kind.GAUGE,
    "Of the last matured labels of this collector, for people and not for gates; never average it over clusters.",
)
QUALITY_LABELS: Final = Family("model_quality_labels", Kind.GAUGE, "Labels that model_quality is made of, all rows.")
_PER_CLASS: Final[Mapping[str, Callable[[Outcomes], float]]] = {
    "precision": lambda one: one.precision,
    "recall": lambda one: one.recall,
    "f1": lambda one: one.f1,
    "specificity": lambda one: one.specificity,
}
_CURVES: Final[Mapping[str, Callable[[Ranking], float]]] = {
    "auc": lambda one: one.auc,
    "pr_auc": lambda one: one.pr_auc,
    "ece": lambda one: one.ece,
}
_REMEMBERED: Final = 16

Measure = tuple[str, str, int | None, float]
"""Metric, kind of average (`class` for a class's own value), class index, value."""


def quality_families(counts: RevisionCounts, window: Window, base: str) -> Iterator[tuple[Family, list[str]]]:
    """The gauges of one revision; `base`: the labels ledger, model and revision."""
    names = ["", *counts.classes]
    yield (
        QUALITY,
        [
            QUALITY.line(
                f"{base},{labelled(metric=metric, average=average, class_=names[0 if i is None else i + 1])}", value
            )
            for metric, average, i, value in measures(window)
        ],
    )
    yield QUALITY_LABELS, [QUALITY_LABELS.line(base, window.labels)]


@lru_cache(maxsize=_REMEMBERED)
def measures(window: Window) -> tuple[Measure, ...]:
    """Every metric of a window. About 2 ms for 5,000 labels of ten classes, nothing for a window seen before."""
    matrix = Matrix(window.cells(), window.classes)
    scored, loss, brier = window.losses()
    outcomes = matrix.outcomes
    support = [one.support for one in outcomes]
    found: list[Measure] = [
        ("accuracy", "", None, matrix.accuracy),
        ("mcc", "", None, matrix.mcc),
        ("kappa", "", None, matrix.kappa),
        ("log_loss", "", None, ratio(loss / MICRO, scored)),
        ("brier", "", None, ratio(brier / MICRO, scored)),
    ]
    for metric, value in _PER_CLASS.items():
        found += _averaged(metric, [value(one) for one in outcomes], support)
        # Every wrong row is one miss and one false alarm.
        if metric != "specificity":
            found.append((metric, "micro", None, matrix.accuracy))
    found.append(("balanced_accuracy", "", None, mean(zip((one.recall for one in outcomes), support, strict=True))))
    rankings = window.rankings()
    for metric, area in _CURVES.items():
        if rankings:
            found += _averaged(metric, [area(one) for one in rankings], support)
    return tuple(found)


def _averaged(metric: str, values: Sequence[float], support: Sequence[int]) -> Iterator[Measure]:
    for class_, value in enumerate(values):
        yield metric, "class", class_, value
    pairs = list(zip(values, support, strict=True))
    yield metric, "macro", None, mean(pairs)
    yield metric, "weighted", None, mean(pairs, weighted=True)
