"""The demo's plan: traffic, labels, steps, gates, and what the three classifiers are expected to get right.

One place for every number of the main job, so that the load generator, the manifests and the seeds benchmark cannot
drift apart. The traffic's class mix is skewed as production mixes are: eights are over a third of it. Confusion rows
were measured on the held-back digits with the trainer's own split; ``benchmarks/demo_seeds.py --measure`` repeats that.
"""

from collections.abc import Mapping
from typing import Any, Final

CLASSES: Final = tuple("0123456789")
GATED_CLASS: Final = "8"

REQUESTS_PER_S: Final[Mapping[str, int]] = {"aws": 140, "gcp": 110, "azure": 110}
CLASS_MIX: Final[Mapping[str, float]] = {name: 0.35 if name == GATED_CLASS else 0.65 / 9 for name in CLASSES}

LABEL_SHARE: Final = 0.9
"""Share of the predictions whose truth is posted at all."""
LABEL_DELAY_S: Final = 3.0
"""``spec.feedback.labelDelay``: labels count when their prediction is that old."""
DELAY_BY_CLASS_S: Final[Mapping[str, float]] = {
    name: 1.8 if name == GATED_CLASS else 0.4 + 0.1 * int(name) for name in CLASSES
}
"""Truth arrives this long after the prediction: eights last, all of them with a second to spare."""

WEIGHTS: Final = (30, 50)
WAVES: Final[Mapping[str, tuple[str, ...]]] = {"first": ("aws",), "rest": ("azure", "gcp")}
GUARD_S: Final = 15.0
"""Predictions this near a weight change are left out of the evidence (design.md §8.5)."""

GATES: Final[tuple[Mapping[str, Any], ...]] = (
    {"name": "recall-of-8", "metric": "recall", "class": GATED_CLASS, "floor": 0.85, "margin": 0.05},
    {"name": "precision", "metric": "precision", "average": "macro", "margin": 0.05},
)
ANALYSIS: Final[Mapping[str, Any]] = {"interval": "2s", "alpha": 0.05, "beta": 0.05, "minSamples": 100}
INTERVAL_S: Final = 2.0

HELD_BACK: Final[Mapping[str, tuple[tuple[int, ...], ...]]] = {
    "v1": (
        (70, 0, 0, 0, 0, 0, 1, 0, 0, 0),
        (0, 58, 8, 0, 0, 1, 2, 0, 0, 4),
        (0, 3, 61, 5, 0, 0, 0, 0, 2, 0),
        (0, 0, 0, 69, 0, 1, 0, 1, 0, 2),
        (0, 0, 0, 0, 70, 0, 0, 1, 1, 0),
        (1, 0, 0, 0, 1, 69, 1, 0, 0, 1),
        (0, 1, 0, 0, 0, 0, 71, 0, 0, 0),
        (0, 0, 1, 0, 2, 0, 0, 69, 0, 0),
        (0, 9, 0, 0, 0, 4, 2, 1, 49, 5),
        (0, 0, 0, 2, 0, 2, 0, 3, 1, 64),
    ),
    "v2": (
        (70, 0, 0, 0, 0, 0, 1, 0, 0, 0),
        (0, 72, 0, 0, 0, 0, 0, 0, 1, 0),
        (0, 0, 71, 0, 0, 0, 0, 0, 0, 0),
        (0, 0, 0, 67, 0, 2, 0, 0, 3, 1),
        (0, 0, 0, 0, 71, 0, 0, 0, 1, 0),
        (0, 0, 0, 0, 0, 71, 1, 0, 0, 1),
        (0, 1, 0, 0, 0, 0, 71, 0, 0, 0),
        (0, 0, 0, 0, 1, 0, 0, 70, 0, 1),
        (0, 1, 0, 0, 0, 2, 1, 0, 66, 0),
        (0, 0, 0, 0, 0, 1, 0, 0, 2, 69),
    ),
    "v3": (
        (70, 0, 0, 0, 0, 0, 1, 0, 0, 0),
        (0, 72, 0, 0, 0, 0, 1, 0, 0, 0),
        (0, 0, 71, 0, 0, 0, 0, 0, 0, 0),
        (0, 0, 0, 70, 0, 2, 0, 0, 0, 1),
        (0, 0, 0, 0, 71, 0, 0, 0, 0, 1),
        (0, 0, 0, 0, 0, 71, 1, 0, 0, 1),
        (0, 2, 0, 0, 0, 0, 70, 0, 0, 0),
        (0, 0, 0, 0, 1, 0, 0, 70, 0, 1),
        (0, 9, 0, 5, 0, 5, 2, 0, 44, 5),
        (0, 0, 0, 0, 0, 1, 0, 0, 0, 71),
    ),
}
"""Version → confusion rows [actual][predicted] on the held-back digits, classes in order."""


def expected_confusion(version: str) -> dict[str, dict[str, float]]:
    """What one label of this version's traffic looks like: ``{actual: {predicted: probability}}``, summing to 1."""
    return {
        actual: {
            predicted: CLASS_MIX[actual] * count / sum(row)
            for predicted, count in zip(CLASSES, row, strict=True)
            if count
        }
        for actual, row in zip(CLASSES, HELD_BACK[version], strict=True)
    }
