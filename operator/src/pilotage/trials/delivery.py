"""When labels are told: cohorts of predictions in, blocks out. Knows no model and no test.

Matured counting hands a cohort on as a whole when it is `labelDelay` old, with the step of its predictions. Counting by
arrival mixes cohorts: each class's labels come from the cohort of its own delay ago, under today's step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pilotage.trials.scenarios import Counting
from pilotage.trials.traffic import ARMS, Cohort
from pilotage.trials.worlds import World

Block = dict[str, Any]
FIRST_LABELS_S = 60.0
"""The quickest class is labelled after this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """`label_delay_s`: when a cohort counts; `by_class`: seconds until a class is labelled, empty: all at once."""

    label_delay_s: float
    by_class: Mapping[str, float]


def delays_of(world: World) -> Delays:
    """The scenario's delays: evenly spaced from a minute to `labelDelay`, the gate's class last."""
    setting, delay = world.setting, world.setting.label_delay_s
    if not world.scenario.delayed_by_class:
        return Delays(label_delay_s=delay, by_class={})
    delay = max(delay, setting.duration_s / 6)
    order = sorted(setting.stable.classes, key=lambda name: (name == world.about_class, name))
    spread = (delay - FIRST_LABELS_S) / max(1, len(order) - 1)
    return Delays(label_delay_s=delay, by_class={name: FIRST_LABELS_S + spread * n for n, name in enumerate(order)})


class Delivery:
    """Holds cohorts back until they are told."""

    def __init__(self, world: World) -> None:
        self._world, self._delays = world, delays_of(world)
        self._counting, self._interval_s = world.scenario.counting, world.setting.interval_s
        self._waiting: deque[tuple[float, int, Cohort]] = deque()

    def told(self, at: float, step: int, cohort: Cohort) -> Iterator[Block]:
        """Take what was predicted until now; give the blocks that can be told now."""
        if self._counting is Counting.ARRIVAL:
            yield self._arrived(at, step, cohort)
            return
        self._waiting.append((at, step, cohort))
        while self._waiting and self._waiting[0][0] + self._delays.label_delay_s <= at + 1e-6:
            predicted_at, predicted_step, ripe = self._waiting.popleft()
            ripe_at = predicted_at + self._delays.label_delay_s
            yield self._block(ripe_at, predicted_step, ripe)

    def _arrived(self, at: float, step: int, cohort: Cohort) -> Block:
        self._waiting.append((at, step, cohort))
        longest = max(self._delays.by_class.values(), default=self._delays.label_delay_s)
        while self._waiting[0][0] < at - longest - self._interval_s:
            self._waiting.popleft()
        clusters = {
            cluster: {
                arm: {**arms[arm], "confusion": self._rows(at, cluster, arm, tuple(self._delays.by_class))}
                for arm in ARMS
            }
            for cluster, arms in cohort.items()
        }
        return self._block(at, step, clusters)

    def _block(self, at: float, step: int, clusters: Cohort) -> Block:
        """Counts with the share of the requests that the canary was meant to get."""
        expected = {name: self._world.weight(name, step) for name in clusters}
        return {"at": at, "step": step, "clusters": clusters, "expected": expected}

    def _rows(self, at: float, cluster: str, arm: str, classes: Sequence[str]) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for name in classes:
            born = at - self._delays.by_class[name]
            for predicted_at, _, cohort in self._waiting:
                if born - self._interval_s / 2 < predicted_at <= born + self._interval_s / 2:
                    row = cohort[cluster][arm]["confusion"].get(name)
                    if row:
                        found[name] = row
        return found
