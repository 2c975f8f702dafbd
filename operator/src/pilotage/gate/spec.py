"""Gates as types: what a decoded gate and the settings of all gates hold, and the mistakes of a document.

``spec_reader`` decodes them, ``spec_rules`` says which metric takes which field. Knows nothing of evidence, clusters
or time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Metric(StrEnum):
    """What a gate asks about. Names as users write them."""

    ACCURACY = "accuracy"
    PRECISION = "precision"
    RECALL = "recall"
    SPECIFICITY = "specificity"
    F1 = "f1"
    F_BETA = "fBeta"
    BALANCED_ACCURACY = "balancedAccuracy"
    ROC_AUC = "rocAuc"
    PR_AUC = "prAuc"
    LOG_LOSS = "logLoss"
    EXPECTED_COST = "expectedCost"
    ERROR_RATE = "errorRate"
    LATENCY = "latency"
    PREDICTION_SHIFT = "predictionShift"
    CONFIDENCE_SHIFT = "confidenceShift"


class Average(StrEnum):
    """How a multiclass metric becomes one number."""

    MACRO = "macro"
    MICRO = "micro"
    WEIGHTED = "weighted"


class Mode(StrEnum):
    """Whether a gate decides, or only reports."""

    BLOCKING = "Blocking"
    ADVISORY = "Advisory"


class Labels(StrEnum):
    """Which labelled rows a gate counts: all, or only those the server picked at random for labelling."""

    ALL = "all"
    AUDIT = "audit"


LOSSES = frozenset({Metric.LOG_LOSS, Metric.EXPECTED_COST, Metric.ERROR_RATE})
GUARDS = frozenset({Metric.PREDICTION_SHIFT, Metric.CONFIDENCE_SHIFT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake: where it stands, what stands there, what to write instead."""

    path: str
    value: object
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.remedy}"


class GateSpecError(ValueError):
    """The gates cannot be used as written; ``problems`` holds every mistake, in the document's order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """One question to the evidence.

    ``floor`` (the canary's metric must be above it) or, for losses, ``ceiling``; ``margin``: how much worse than stable
    it may be. All in the metric's units. ``beta``: of F-beta. ``costs``: ``{actual: {predicted: cost}}``, cells not
    named cost 0. ``bound_s``: of latency, in seconds. ``counts``: selectors of a foreign exporter, for evidence only.
    """

    name: str
    metric: Metric
    class_name: str | None = None
    average: Average | None = None
    floor: float | None = None
    ceiling: float | None = None
    margin: float | None = None
    beta: float | None = None
    costs: Mapping[str, Mapping[str, float]] | None = None
    bound_s: float | None = None
    mode: Mode = Mode.BLOCKING
    labels: Labels = Labels.ALL
    counts: Mapping[str, str] | None = None

    @property
    def title(self) -> str:
        """How people read it: ``recall[8]``, ``precision[macro]``, ``accuracy``."""
        about = self.class_name if self.class_name is not None else self.average
        return f"{self.metric}[{about}]" if about is not None else str(self.metric)

    @property
    def is_loss(self) -> bool:
        """Larger is worse: it has a ceiling, and its margin allows that much more than stable's."""
        return self.metric in LOSSES

    @property
    def is_guard(self) -> bool:
        """Needs no labels: may fail a rollout, is never needed for a pass."""
        return self.metric in GUARDS

    @property
    def blocking(self) -> bool:
        """Decides; an advisory gate reports only."""
        return self.mode is Mode.BLOCKING

    @property
    def needed_for_pass(self) -> bool:
        """Nothing passes before this gate does."""
        return self.blocking and not self.is_guard

    @property
    def limit(self) -> float | None:
        """The fixed value the metric is held against: the floor, or a loss's ceiling."""
        return self.ceiling if self.is_loss else self.floor


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSpec:
    """What holds for all gates. ``alpha``, ``beta`` in (0, 0.5]; seconds for times."""

    alpha: float
    beta: float
    min_samples: int
    min_duration_s: float
    interval_s: float
