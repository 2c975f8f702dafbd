"""Labels for one predicted class only, told without served rows: "labelled positives" must not yield recall 1.

If every label of both arms was given to a row predicted k, then nothing is known about rows predicted otherwise, and
only precision of k means anything. A good model seldom predicts k for rows of other classes; so when five labelled
rows of other classes were all predicted k, and fifty labels in all, labelling by prediction is the likelier story:
at level .001 unless the model sends more than a quarter of all others to k (4⁻⁵ < .001). Or stable's history promises
twelve labels of other predictions by now and there is none (e⁻¹² < .001). A near-perfect model that is fed rows of
one class only (recall's own row) breaks neither rule. The first label of another prediction ends the suspicion for
good, so nothing is remembered after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pilotage.gate.arm import ArmCounts
from pilotage.gate.blocks import Block
from pilotage.gate.conditions.breach import Breach, Condition, breach, counts_labels, precision_class
from pilotage.gate.spec import GateSpec, Labels

_LABELS: Final = 50
_WRONG: Final = 5
_PROMISED: Final = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """``only``: the one predicted class that has labels, None before the first; ``several``: there are more.

    ``labels`` of that class and the ``wrong`` ones among them. ``past``: ``{predicted: share}`` of stable's history.
    """

    only: str | None = None
    several: bool = False
    labels: int = 0
    wrong: int = 0
    past: Mapping[str, float]


def opened(history: Sequence[ArmCounts], labels: Labels) -> Selection:
    """Before the first block."""
    columns: dict[str, int] = {}
    for counts in history:
        for row in (counts.audit if labels is Labels.AUDIT else counts.confusion).values():
            for predicted, n in row.items():
                columns[predicted] = columns.get(predicted, 0) + n
    total = sum(columns.values())
    return Selection(past={k: round(n / total, 4) for k, n in sorted(columns.items())})


def absorbed(memory: Selection, block: Block, labels: Labels) -> Selection:
    """The block's labels added, arms and clusters together."""
    for arms in block.clusters.values():
        for counts in arms.values():
            for actual, row in (counts.audit if labels is Labels.AUDIT else counts.confusion).items():
                for predicted, n in row.items():
                    if not memory.several:
                        memory = _more(memory, actual, predicted, n)
    return memory


def breaches(memory: Selection, gates: Sequence[GateSpec], labels: Labels) -> list[Breach]:
    """At most one, about every gate but precision of the one class."""
    k = memory.only
    if memory.several or k is None:
        return []
    promised = memory.labels * (1 - memory.past.get(k, 0.0)) if memory.past else 0.0
    if promised < _PROMISED and (memory.labels < _LABELS or memory.wrong < _WRONG):
        return []
    touched = [gate for gate in gates if counts_labels(gate, labels) and precision_class(gate) != k]
    reason = (
        f"all {memory.labels} labels of both arms were given to rows predicted {k!r}, none to any other; "
        "label rows whatever was predicted, or gate on labels: audit"
    )
    return [breach(Condition.COVERAGE_BY_PREDICTION, reason, touched)] if touched else []


def encode(memory: Selection) -> dict[str, Any]:
    """JSON."""
    if memory.several:
        return {"several": True}
    told: dict[str, Any] = {"past": dict(memory.past)}
    return told if memory.only is None else told | {"only": [memory.only, memory.labels, memory.wrong]}


def decode(raw: Mapping[str, Any]) -> Selection:
    """What ``encode`` wrote."""
    if raw.get("several"):
        return Selection(several=True, past={})
    only, labels, wrong = raw.get("only", (None, 0, 0))
    return Selection(only=only, labels=labels, wrong=wrong, past=dict(raw.get("past", {})))


def _more(memory: Selection, actual: str, predicted: str, n: int) -> Selection:
    if memory.only not in (None, predicted):
        return Selection(several=True, past={})
    return Selection(
        only=predicted,
        labels=memory.labels + n,
        wrong=memory.wrong + (n if actual != predicted else 0),
        past=memory.past,
    )
