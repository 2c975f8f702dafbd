"""What a gate asks, in the words of its manifest, as far as a simulated truth must know it. Knows no test.

`questions_of` reads a document that `Analysis.from_spec` has accepted, so it checks nothing. `worse` is a sign: for
losses a larger value is worse. The boundary of a gate with a floor and a margin is the stricter of the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

LOSSES: Final = frozenset({"logLoss", "expectedCost", "errorRate"})
GUARDS: Final = frozenset({"predictionShift", "confidenceShift"})
"""They may fail a rollout and are never needed to pass one; no metric of a confusion matrix moves them alone."""
SCORED: Final = frozenset({"rocAuc", "prAuc", "logLoss"})
"""They look at scores, not at confusion cells."""
COUNTED: Final = frozenset({"errorRate", "latency"})
"""Proportions of requests, labelled or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One gate. `limit` is its floor or its ceiling; `margin` how much worse than stable the canary may be."""

    name: str
    metric: str
    class_name: str | None
    average: str | None
    limit: float | None
    margin: float | None
    beta: float = 1.0
    costs: Mapping[str, Mapping[str, float]] | None = None
    audited: bool = False
    advisory: bool = False

    @property
    def title(self) -> str:
        """How people read it: `recall[8]`, `f1[macro]`, `accuracy`."""
        about = self.class_name if self.class_name is not None else self.average
        return f"{self.metric}[{about}]" if about is not None else self.metric

    @property
    def worse(self) -> int:
        """Which way is worse: +1 for losses, −1 for everything else."""
        return 1 if self.metric in LOSSES else -1

    @property
    def is_guard(self) -> bool:
        """It needs no labels and can only fail."""
        return self.metric in GUARDS

    @property
    def scale(self) -> float:
        """A step that matters here, in the metric's units: the margin, or 0.02."""
        return self.margin or (0.02 if self.metric not in ("errorRate", "latency") else 0.005)

    def boundary(self, stable: float) -> float:
        """The canary's worst acceptable value beside a stable of this value."""
        bounds = [] if self.limit is None else [self.limit]
        if self.margin is not None:
            bounds.append(stable + self.worse * self.margin)
        return min(bounds) if self.worse > 0 else max(bounds)

    def excess(self, canary: float, stable: float) -> float:
        """How much better than the boundary the canary is; negative: the gate is violated."""
        return self.worse * (self.boundary(stable) - canary)


def questions_of(spec: Mapping[str, Any]) -> tuple[Question, ...]:
    """The questions of a document `{"gates": […]}`, in its order."""
    gates: Sequence[Mapping[str, Any]] = spec["gates"]
    return tuple(
        Question(
            name=gate["name"],
            metric=gate["metric"],
            class_name=gate.get("class"),
            average=gate.get("average"),
            limit=gate.get("floor", gate.get("ceiling")),
            margin=gate.get("margin"),
            beta=gate.get("beta", 1.0),
            costs=gate.get("costs"),
            audited=gate.get("labels") == "audit",
            advisory=gate.get("mode") == "Advisory",
        )
        for gate in gates
    )
