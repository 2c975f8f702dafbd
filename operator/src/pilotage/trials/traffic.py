"""Seeded traffic of one scenario: what both arms are told in each cluster at each look, as the gate wants its blocks.

Requests reach an arm by chance (Poisson), are predicted and labelled by chance. Labels come with the cohort of their
prediction; when they are counted is `delivery`'s part. Knows no test and no verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

from pilotage.trials.draws import binomial, multinomial, poisson
from pilotage.trials.models import Model
from pilotage.trials.questions import GUARDS, Question
from pilotage.trials.scores import bucket_chances, confidence_chances, losses
from pilotage.trials.settings import Setting
from pilotage.trials.worlds import HARD_CLIENTS, Law, World

ARMS: Final = ("stable", "canary")

HISTORY_PARTS: Final = 30
"""As the operator reads it."""

Counts = dict[str, Any]
Cohort = dict[str, dict[str, Counts]]
"""`{cluster: {arm: counts}}` of the predictions between two looks."""


class Stream:
    """One rollout's traffic, drawn look after look from one seed."""

    def __init__(self, world: World, rng: Random) -> None:
        self._world, self._rng = world, rng
        self._hardness: dict[tuple[str, str], tuple[int, float]] = {}
        self._scored = sorted({name for q in world.questions for name in _classes_scored(q, world.setting)})

    def history(self) -> dict[str, list[Counts]]:
        """Stable's labelled predictions before the rollout, per cluster, in parts between which bursts show."""
        setting, laws = self._world.setting, self._world.laws[0]
        found: dict[str, list[Counts]] = {}
        for name, share in self._world.clusters.items():
            requests = setting.history * share / setting.label_share / HISTORY_PARTS
            parts = HISTORY_PARTS if requests > 0 else 0
            found[name] = [
                self._labelled(laws[name]["stable"], requests, self._share_of_hard(requests)) for _ in range(parts)
            ]
        return found

    def cohort(self, look: int, step: int) -> Cohort:
        """What both arms predicted between the look before and this one."""
        world = self._world
        laws = world.laws[look * len(world.laws) // world.setting.looks]
        requests = world.setting.requests_per_s * world.setting.interval_s
        found: Cohort = {}
        for name, share in world.clusters.items():
            weight = world.weight(name, step)
            found[name] = {}
            for arm, part in (("canary", weight), ("stable", 1 - weight)):
                expected = requests * share * part
                hardness = self._crowd(look, name, arm, expected)
                found[name][arm] = self._labelled(laws[name][arm], expected, hardness)
        return found

    def _labelled(self, law: Law, requests: float, hardness: float) -> Counts:
        """One arm's counts: confusion of the labelled rows, rows served, and what single gates need besides."""
        world, rng = self._world, self._rng
        setting, rows = world.setting, law.at(hardness)
        classes = law.model.classes
        told = [setting.label_share * self._is_labelled(name) for name in classes]
        chances = [setting.shares[a] * p for a, row in zip(classes, rows, strict=True) for p in row]
        weights = [chance * told[i % len(classes)] for i, chance in enumerate(chances)]
        cells = multinomial(rng, poisson(rng, requests * sum(weights)), weights)
        confusion = _confusion(classes, cells)
        counts: Counts = {"confusion": confusion, "served": self._served(classes, rows, requests, told, cells)}
        served = sum(counts["served"].values())
        if any(q.audited for q in world.questions):
            counts["audit"] = _confusion(
                classes, multinomial(rng, poisson(rng, requests * setting.audit_share), chances)
            )
        self._add_scores(counts, law.model, confusion)
        self._add_requests(counts, law.model, served)
        if world.scenario.late_errors:
            _withhold_errors(rng, counts, world.scenario.late_errors, setting.label_delay_s)
        return counts

    def _served(
        self,
        classes: Sequence[str],
        rows: Sequence[Sequence[float]],
        requests: float,
        told: Sequence[float],
        cells: Sequence[int],
    ) -> dict[str, int]:
        """Rows by predicted class: the labelled ones and those whose truth nobody tells."""
        shares, found = self._world.setting.shares, {}
        for j, name in enumerate(classes):
            chance = sum(shares[actual] * row[j] for actual, row in zip(classes, rows, strict=True))
            found[name] = sum(cells[j :: len(classes)]) + poisson(self._rng, requests * chance * (1 - told[j]))
        return found

    def _add_scores(self, counts: Counts, model: Model, confusion: Mapping[str, Mapping[str, int]]) -> None:
        actual = {name: sum(confusion.get(name, {}).values()) for name in model.classes}
        labels = sum(actual.values())
        if self._scored:
            counts["buckets"] = {
                name: {
                    "0": multinomial(self._rng, labels - actual[name], bucket_chances(model.separation[name], False)),
                    "1": multinomial(self._rng, actual[name], bucket_chances(model.separation[name], True)),
                }
                for name in self._scored
            }
        for question in self._world.questions:
            if question.metric == "logLoss":
                drawn = multinomial(self._rng, labels, bucket_chances(model.separation[""], True))
                total = sum(n * loss for n, loss in zip(drawn, losses(), strict=True))
                squares = sum(n * loss * loss for n, loss in zip(drawn, losses(), strict=True))
                counts.setdefault("means", {})[question.name] = {"count": labels, "sum": total, "sumsq": squares}

    def _add_requests(self, counts: Counts, model: Model, served: int) -> None:
        for question in self._world.questions:
            if question.name in model.good:
                good = binomial(self._rng, served, model.good[question.name])
                counts.setdefault("proportions", {})[question.name] = {"successes": good, "trials": served}
        if any(question.metric in GUARDS for question in self._world.questions):
            shares = self._world.setting.shares
            right = sum(shares[name] * model.rows[i][i] for i, name in enumerate(model.classes))
            counts["confidence"] = multinomial(self._rng, served, confidence_chances(right))

    def _is_labelled(self, predicted: str) -> bool:
        return not self._world.scenario.labelled_prediction_only or predicted == self._world.about_class

    def _crowd(self, look: int, cluster: str, arm: str, requests: float) -> float:
        """Share of hard clients among the connections now open; it changes only when connections close."""
        sticky = self._world.scenario.sticky_requests
        if not sticky:
            return HARD_CLIENTS
        until, hardness = self._hardness.get((cluster, arm), (look, 0.0))
        if look >= until:
            hardness = self._share_of_hard(requests)
            self._hardness[cluster, arm] = (look + max(1, round(sticky / max(requests, 1e-9))), hardness)
        return hardness

    def _share_of_hard(self, requests: float) -> float:
        """Of the clients of so many requests: drawn per connection if clients stick, else their mean."""
        sticky = self._world.scenario.sticky_requests
        if not sticky:
            return HARD_CLIENTS
        connections = max(1, round(requests / sticky))
        return binomial(self._rng, connections, HARD_CLIENTS) / connections


def _classes_scored(question: Question, setting: Setting) -> Sequence[str]:
    if question.metric not in ("rocAuc", "prAuc"):
        return ()
    return (question.class_name,) if question.class_name is not None else setting.stable.classes


def _confusion(classes: Sequence[str], cells: Sequence[int]) -> dict[str, dict[str, int]]:
    size, found = len(classes), {}
    for i, actual in enumerate(classes):
        row = {predicted: n for predicted, n in zip(classes, cells[i * size : (i + 1) * size], strict=True) if n}
        if row:
            found[actual] = row
    return found


def _withhold_errors(rng: Random, counts: Counts, share: float, label_delay_s: float) -> None:
    """Errors whose label comes after `labelDelay` are told as late, not as matured."""
    late = 0
    for actual, row in counts["confusion"].items():
        for predicted in [name for name in row if name != actual]:
            withheld = binomial(rng, row[predicted], share)
            row[predicted] -= withheld
            late += withheld
    if late:
        counts["late"] = {str(round(2 * label_delay_s)): late}
