"""What a broken condition is, and which gates it speaks about.

A breach withholds a Pass of the gates it touches, and the fail evidence of those whose counts it makes worthless.
It is never an answer by itself: a touched gate says Inconclusive with the reason until later evidence clears it.

| condition | touches | fail side too |
|---|---|---|
| LabelsLate | every gate on labels (a floor only if the canary's are late) | yes, once proved |
| CoverageDiffers (between arms, rows predicted k) | every gate on labels; precision only of k | yes |
| CoverageByPrediction (some predictions are labelled more) | every gate on labels but precision of classes | yes |
| ClassAbsent (class k in one arm only) | every gate on labels but recall of other classes | yes |
| SplitDiffers, InputsDiffer | every gate | all but errorRate and latency |
| PrevalenceShifted | floors of precision, F1 and F-beta that hold or break by the shift alone | that floor's |

Error rate and latency keep their fail side when the split or the inputs differ: a canary that falls over loses
requests first, and must still be rolled back. Knows no counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pilotage.gate.spec import GUARDS, Average, GateSpec, Labels, Metric


class Condition(StrEnum):
    """The conditions of the guarantee that are checked; values are reasons users meet."""

    LABELS_LATE = "LabelsLate"
    COVERAGE_DIFFERS = "CoverageDiffers"
    COVERAGE_BY_PREDICTION = "CoverageByPrediction"
    CLASS_ABSENT = "ClassAbsent"
    SPLIT_DIFFERS = "SplitDiffers"
    INPUTS_DIFFER = "InputsDiffer"
    PREVALENCE_SHIFTED = "PrevalenceShifted"


_WITHOUT_LABELS: Final = GUARDS | {Metric.ERROR_RATE, Metric.LATENCY}
_ALWAYS_FAIL: Final = frozenset({Metric.ERROR_RATE, Metric.LATENCY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """``passes``: gates whose Pass it withholds; ``fails``: gates whose fail evidence does not count meanwhile.

    ``floors_only``: of those gates only the test against the floor; the one against stable goes on failing.
    ``suspected``: not proved; it only makes a Pass wait, and is no condition to tell people about.
    """

    condition: Condition
    reason: str
    passes: frozenset[str]
    fails: frozenset[str]
    floors_only: bool = False
    suspected: bool = False


def needs_labels(gate: GateSpec) -> bool:
    """Whether the gate counts rows that our collectors labelled; a foreign exporter's labels are its own matter."""
    return gate.metric not in _WITHOUT_LABELS and gate.counts is None


def counts_labels(gate: GateSpec, labels: Labels) -> bool:
    """Whether the gate counts these labelled rows."""
    return needs_labels(gate) and gate.labels is labels


def precision_class(gate: GateSpec) -> str | None:
    """The class of a precision gate that asks about one."""
    return gate.class_name if gate.metric is Metric.PRECISION else None


def is_given_prediction(gate: GateSpec) -> bool:
    """Whether the metric only compares rows of one predicted class with each other: how often a class is labelled
    does not matter to it.
    """
    return gate.metric is Metric.PRECISION and (gate.class_name is not None or gate.average is Average.MACRO)


def breach(condition: Condition, reason: str, gates: Iterable[GateSpec]) -> Breach:
    """A breach that speaks about these gates."""
    touched = tuple(gates)
    spared = _ALWAYS_FAIL if condition in (Condition.SPLIT_DIFFERS, Condition.INPUTS_DIFFER) else frozenset()
    return Breach(
        condition=condition,
        reason=reason,
        passes=frozenset(gate.name for gate in touched),
        fails=frozenset(gate.name for gate in touched if gate.metric not in spared),
    )
