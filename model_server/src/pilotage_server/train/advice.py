"""Which metrics to gate on, and why, in the user's own words: from class balance, costs of mistakes, and the use.

The same advice serves `advise` (before training) and `manifest` (after it). Pure; knows no files and no figures of
any model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pilotage_server.train.config.types import Costs

RARE = 0.2
"""A class below this share of a fair share (1/K) is called rare; with two classes, below 20 % of the rows."""


class Use(StrEnum):
    """What the answers are for."""

    GENERAL = "general"
    SCREENING = "screening"
    ALARMS = "alarms"
    RANKING = "ranking"
    PROBABILITIES = "probabilities"


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One metric to gate on: as the gate names it, with class or average, and the reason."""

    metric: str
    reason: str
    label: str = ""
    average: str = ""

    @property
    def title(self) -> str:
        """`recall of fraud`, `macro precision`, `accuracy`."""
        if self.label:
            return f"{self.metric} of {self.label}"
        return f"{self.average} {self.metric}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counsel:
    """What to gate on, what to select models by, and what not to look at, each with its reason."""

    gates: tuple[Advice, ...]
    select_by: str
    select_reason: str
    warnings: tuple[str, ...]


def advise(counts: Mapping[str, int], costs: Costs, use: Use, hardest: str | None = None) -> Counsel:
    """Advise for classes with their rows. `hardest`: the class a trained model finds least, where one is known."""
    total = sum(counts.values())
    rare = min(counts, key=lambda label: (counts[label], label))
    common = max(counts, key=lambda label: (counts[label], label))
    is_unequal = counts[rare] / total < RARE * (1.0 if len(counts) == 2 else 1.0 / len(counts) * 2)
    gates = [*_priced(costs), *_used(use, rare, common)]
    if not gates or (use is Use.GENERAL and not costs):
        gates += _balanced(counts, rare, hardest) if not is_unequal else _unequal(counts, rare, common)
    select_by, reason = _select(costs, use, is_unequal, rare)
    return Counsel(
        gates=tuple(dict.fromkeys(_first_of_each(gates))),
        select_by=select_by,
        select_reason=reason,
        warnings=tuple(_warnings(counts, rare, common, is_unequal)),
    )


def _first_of_each(gates: list[Advice]) -> list[Advice]:
    seen: dict[str, Advice] = {}
    for gate in gates:
        seen.setdefault(gate.title, gate)
    return list(seen.values())


def _priced(costs: Costs) -> list[Advice]:
    """Gates that follow from what mistakes cost."""
    cells = [
        (cost, actual, predicted)
        for actual, row in costs.items()
        for predicted, cost in row.items()
        if actual != predicted and cost > 0
    ]
    if not cells:
        return []
    dearest, actual, predicted = max(cells)
    found = [
        Advice(
            metric="recall",
            label=actual,
            reason=f"calling {actual} {predicted} is the dearest mistake ({dearest:g}): recall of {actual} says how "
            "many of them are found",
        )
    ]
    others = [cell for cell in cells if cell[2] != predicted]
    if others:
        cost, wrong, called = max(others)
        found.append(
            Advice(
                metric="precision",
                label=called,
                reason=f"calling {wrong} {called} costs {cost:g} each time: precision of {called} says how many of "
                "those calls are right",
            )
        )
    return [
        *found,
        Advice(metric="expectedCost", reason="you named prices: expected cost adds every mistake up in your currency"),
    ]


def _used(use: Use, rare: str, common: str) -> list[Advice]:
    match use:
        case Use.SCREENING:
            return [
                Advice(metric="recall", label=rare, reason=f"screening must not miss {rare}: recall counts the found"),
                Advice(
                    metric="precision",
                    label=rare,
                    reason="and people must not drown in false alarms: precision counts them",
                ),
            ]
        case Use.ALARMS:
            return [
                Advice(
                    metric="precision",
                    label=rare,
                    reason=f"an alarm that is usually false is soon ignored: precision of {rare} counts the true",
                ),
                Advice(
                    metric="recall", label=rare, reason=f"and an alarm that never rings is useless: recall of {rare}"
                ),
            ]
        case Use.RANKING:
            return [
                Advice(
                    metric="prAuc",
                    label=rare,
                    reason=f"you read a list from the top: PR AUC judges how early {rare} comes",
                ),
                Advice(metric="rocAuc", label=rare, reason=f"ROC AUC is the chance that {rare} ranks above {common}"),
            ]
        case Use.PROBABILITIES:
            return [
                Advice(
                    metric="logLoss", reason="the probabilities themselves are used: log loss punishes false certainty"
                )
            ]
        case Use.GENERAL:
            return []


def _balanced(counts: Mapping[str, int], rare: str, hardest: str | None) -> list[Advice]:
    label = hardest or rare
    why = "which the trained model finds least" if hardest else "the smallest class"
    return [
        Advice(
            metric="accuracy",
            reason="classes are about equally frequent and no mistake has a price: one figure for all",
        ),
        Advice(
            metric="recall",
            label=label,
            reason=f"accuracy can stay high while one class is lost; recall of {label}, {why}, shows it",
        ),
        *(
            [
                Advice(
                    metric="precision",
                    average="macro",
                    reason="how far each answer can be relied on, every class counting the same",
                )
            ]
            if len(counts) > 2
            else []
        ),
    ]


def _unequal(counts: Mapping[str, int], rare: str, common: str) -> list[Advice]:
    share = counts[rare] / sum(counts.values())
    return [
        Advice(
            metric="recall",
            label=rare,
            reason=f"{rare} is {share:.1%} of the rows: overall figures hardly move when it is lost, its recall does",
        ),
        Advice(
            metric="precision",
            label=rare,
            reason=f"with so few of {rare}, a small share of {common} taken for it floods the list: precision shows it",
        ),
        *(
            [Advice(metric="balancedAccuracy", reason="every class counts the same, however rare")]
            if len(counts) > 2
            else []
        ),
    ]


def _select(costs: Costs, use: Use, is_unequal: bool, rare: str) -> tuple[str, str]:
    if costs:
        return "expectedCost", "models are compared by what their mistakes cost"
    if use is Use.RANKING:
        return "prAuc", f"models are compared by how early {rare} comes in the list"
    if use is Use.PROBABILITIES or is_unequal:
        return "logLoss", "models are compared by their probabilities; where the line is drawn is decided afterwards"
    return "logLoss", "log loss tells models apart with the fewest rows, and keeps probabilities honest"


def _warnings(counts: Mapping[str, int], rare: str, common: str, is_unequal: bool) -> list[str]:
    total = sum(counts.values())
    found = []
    if is_unequal:
        found.append(
            f"accuracy misleads here: always answering {common} is right {counts[common] / total:.1%} of the time and "
            f"finds no {rare}"
        )
    for label, count in counts.items():
        if count < 50:
            rows = f"{count} row{'s' if count != 1 else ''}"
            found.append(
                f"{label} has {rows}: a recall measured on a fifth of them is only known to about "
                f"±{100 * 0.98 / max(1, count / 5) ** 0.5:.0f} points"
            )
    return found
