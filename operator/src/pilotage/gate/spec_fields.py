"""Single fields of a user's document: read, checked, refused with path, value and remedy.

A ``Reader`` collects mistakes instead of stopping at the first; what it returns counts only if it has none.
Knows no gate and no metric.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from math import isfinite
from typing import Final, TypeVar

from pilotage.gate.spec import Problem

_Choice = TypeVar("_Choice", bound=StrEnum)

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_EXAMPLE: Final = {"floor": "0.92", "ceiling": "0.05", "margin": "0.02", "alpha": "0.05", "beta": "0.05"}


class Reader:
    """Walks a document and collects problems, in the document's order."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def refuse(self, path: str, value: object, remedy: str) -> None:
        """Note one mistake."""
        self.problems.append(Problem(path=path, value=value, remedy=remedy))

    def refuse_unknown(self, path: str, mapping: Mapping[str, object], known: Sequence[str]) -> None:
        """Note every key that is not known."""
        for key in mapping:
            if key not in known:
                self.refuse(f"{path}.{key}", mapping[key], f"unknown field; known here: {', '.join(known)}")

    def member(self, path: str, value: object, kind: type[_Choice]) -> _Choice | None:
        """One word of a closed set."""
        try:
            return kind(value)  # type: ignore[arg-type]
        except ValueError:
            self.refuse(path, value, f"{value!r} is not known here; use one of {', '.join(kind)}")
            return None

    def number(
        self,
        path: str,
        value: object,
        *,
        above: float | None = None,
        at_least: float | None = None,
        below: float | None = None,
        at_most: float | None = None,
        unit: str = "a proportion",
    ) -> float | None:
        """A finite number within bounds; None stays None."""
        if value is None:
            return None
        example = _EXAMPLE.get(path.rsplit(".", 1)[-1], "0.05") if unit == "a proportion" else "1.5"
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            self.refuse(path, value, f"{value!r} is not a number; write {unit} such as {example}")
            return None
        wrong = (
            (above is not None and not value > above and f"not above {above:g}")
            or (at_least is not None and not value >= at_least and f"below {at_least:g}")
            or (below is not None and not value < below and f"not below {below:g}")
            or (at_most is not None and not value <= at_most and f"above {at_most:g}")
        )
        if wrong:
            self.refuse(path, value, f"{value:g} is {wrong}; write {unit} such as {example}")
            return None
        return float(value)

    def count(self, path: str, value: object, default: int) -> int:
        """A whole number, 0 or more."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.refuse(path, value, f"{value!r} is not a count; write a whole number, 0 or more")
            return default
        return value

    def duration(self, path: str, value: object) -> float:
        """Seconds, from ``1h30m`` or a plain number of seconds."""
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0:
            return float(value)
        if isinstance(value, str) and _DURATION.fullmatch(value):
            return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(value))
        self.refuse(path, value, f"{value!r} is not a duration; write 30s, 10m or 1h30m")
        return 0.0

    def cost_matrix(self, path: str, value: object) -> dict[str, dict[str, float]]:
        """``{actual: {predicted: cost}}`` with finite costs of 0 or more, one of them positive; sorted by class."""
        remedy = "write {actual: {predicted: cost}}, such as {fraud: {ok: 10}, ok: {fraud: 1}}"
        costs: dict[str, dict[str, float]] = {}
        noted = len(self.problems)
        if not isinstance(value, Mapping) or not value:
            self.refuse(path, value, f"{value!r} is not a cost matrix; {remedy}")
            return costs
        for actual, row in _sorted(value.items()):
            if not isinstance(row, Mapping) or not isinstance(actual, str):
                self.refuse(f"{path}.{actual}", row, f"{row!r} is not a row of costs; {remedy}")
                continue
            costs[actual] = {}
            for predicted, cost in _sorted(row.items()):
                read = self.number(f"{path}.{actual}.{predicted}", cost, at_least=0.0, unit="a cost")
                if cost is None:
                    self.refuse(f"{path}.{actual}.{predicted}", cost, "no cost is given; write a number such as 1.5")
                costs[actual][str(predicted)] = read or 0.0
        known = len(self.problems) == noted
        if known and not any(cost > 0 for row in costs.values() for cost in row.values()):
            self.refuse(path, value, f"no cell costs anything, so no canary could be too costly; {remedy}")
        return costs

    def selectors(self, path: str, value: object, known: Sequence[frozenset[str]]) -> dict[str, str]:
        """PromQL selectors by role; the roles are one of ``known``, each selector names ``$revision``."""
        wanted = " or ".join("{" + ", ".join(sorted(names)) + "}" for names in known)
        if not isinstance(value, Mapping) or frozenset(value) not in known:
            self.refuse(path, value, f"these are not the counters that are needed; name {wanted}, each a selector")
            return {}
        for role, selector in value.items():
            if not isinstance(selector, str) or "$revision" not in selector:
                remedy = "write a PromQL selector with $revision where the revision's name stands"
                self.refuse(f"{path}.{role}", selector, remedy)
        return {str(role): str(selector) for role, selector in value.items()}


def _sorted(items: Iterable[tuple[object, object]]) -> list[tuple[object, object]]:
    return sorted(items, key=lambda item: str(item[0]))
