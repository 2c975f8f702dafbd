"""Point-threshold gates beside ours, on the same traffic: windows of counts, one comparison each, a limit of failures.

`ARGO`: twelve windows of five minutes, more than three failed ones roll back, so do more than four in a row without
data (`count`, `interval`, `failureLimit`, `consecutiveErrorLimit` of an AnalysisTemplate). `FLAGGER`: windows of one
minute, five failed checks roll back, ten good ones promote, no data counts as failed (`threshold`, `iterations`).
Both compare values over all clusters, as a query with `sum()` does. Their decision logic, not their code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from pilotage.trials.delivery import Delivery
from pilotage.trials.questions import COUNTED, Question
from pilotage.trials.rollouts import End, Trial
from pilotage.trials.scenarios import Counting
from pilotage.trials.scores import average_precision, roc_auc
from pilotage.trials.traffic import ARMS, Counts, Stream
from pilotage.trials.truth import of_cells
from pilotage.trials.worlds import World

MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """`window`: minutes of one check; `failures` more than which roll back; `successes` that promote, or None: what is
    left after `checks`. `errors`: checks without data in a row more than which roll back, None: no data is a failure.
    """

    name: str
    window: int
    failures: int
    checks: int
    successes: int | None
    errors: int | None


ARGO: Final = Peer(name="Argo-style", window=5, failures=3, checks=12, successes=None, errors=4)
FLAGGER: Final = Peer(name="Flagger-style", window=1, failures=4, checks=10_000, successes=10, errors=None)
PEERS: Final = (ARGO, FLAGGER)


def peer_trials(world: World, seed: str) -> dict[str, Trial]:
    """How each peer ends the rollout, looking at the same kind of traffic minute by minute."""
    judges = {peer.name: _Judge(peer, world.questions) for peer in PEERS}
    ended: dict[str, Trial] = {}
    for minute, block in _minutes(world, Random(f"{seed}/peers")):  # noqa: S311 (a simulation)
        for name, judge in judges.items():
            if name not in ended and (end := judge.minute(block)) is not None:
                ended[name] = Trial(end=end, labels=judge.labels, requests=0, seconds=minute * MINUTE_S, reason="")
        if len(ended) == len(judges):
            break
    for name, judge in judges.items():
        at = world.setting.duration_s
        ended.setdefault(name, Trial(end=End.EXPIRED, labels=judge.labels, requests=0, seconds=at, reason=""))
    return ended


def _minutes(world: World, rng: Random) -> Iterator[tuple[int, dict[str, Counts]]]:
    """Labels of each arm over all clusters, minute after minute, as they arrive."""
    looks = max(1, round(world.setting.duration_s / MINUTE_S))
    setting = replace(world.setting, looks=looks)
    # they count labels as they come; where all come after one delay that is the same as matured counting
    counting = Counting.ARRIVAL if world.scenario.delayed_by_class else Counting.MATURED
    seen = replace(world, setting=setting, scenario=replace(world.scenario, counting=counting))
    stream, delivery = Stream(seen, rng), Delivery(seen)
    for look in range(looks):
        step = setting.step_of(look)
        blocks = list(delivery.told(setting.interval_s * (look + 1), step, stream.cohort(look, step)))
        yield look + 1, {arm: _added([arms[arm] for b in blocks for arms in b["clusters"].values()]) for arm in ARMS}


class _Judge:
    """One peer's counters of one rollout."""

    def __init__(self, peer: Peer, questions: Sequence[Question]) -> None:
        self._peer, self._questions = peer, [q for q in questions if not q.is_guard and not q.advisory]
        self._window: list[dict[str, Counts]] = []
        self._failed, self._blank = [0] * len(self._questions), [0] * len(self._questions)
        self._checks = self._good = self.labels = 0

    def minute(self, block: dict[str, Counts]) -> End | None:
        """One more minute; how it ends, if it does."""
        self._window.append(block)
        self.labels += sum(sum(row.values()) for row in block["canary"]["confusion"].values())
        if len(self._window) < self._peer.window:
            return None
        arms = {arm: _added([each[arm] for each in self._window]) for arm in ARMS}
        self._window = []
        return self._checked([_holds(question, arms) for question in self._questions])

    def _checked(self, answers: Sequence[bool | None]) -> End | None:
        self._checks += 1
        for n, answer in enumerate(answers):
            is_error = answer is None and self._peer.errors is not None
            self._blank[n] = self._blank[n] + 1 if is_error else 0
            self._failed[n] += not answer and not is_error
        self._good += all(answers)
        failed = self._checks - self._good if self._peer.errors is None else max(self._failed)
        if failed > self._peer.failures or (self._peer.errors is not None and max(self._blank) > self._peer.errors):
            return End.FAILED
        if self._good == self._peer.successes or (self._peer.successes is None and self._checks == self._peer.checks):
            return End.PASSED
        return None


def _holds(question: Question, arms: dict[str, Counts]) -> bool | None:
    """The comparison a template would write: value against floor, canary against stable less the margin."""
    canary, stable = (observed(question, arms[arm]) for arm in ("canary", "stable"))
    if canary is None or (question.margin is not None and stable is None):
        return None
    return question.excess(canary, stable if stable is not None else canary) >= 0


def observed(question: Question, counts: Counts) -> float | None:
    """The metric of one window's counts; None: no data."""
    if question.metric in COUNTED:
        part = counts["proportions"].get(question.name, {"successes": 0, "trials": 0})
        good = part["successes"] / part["trials"] if part["trials"] else None
        return good if good is None or question.metric == "latency" else 1 - good
    if question.metric == "logLoss":
        part = counts["means"].get(question.name, {"count": 0})
        return part["sum"] / part["count"] if part["count"] else None
    if question.metric in ("rocAuc", "prAuc"):
        return _area(question, counts)
    confusion = counts["audit" if question.audited else "confusion"]
    classes = sorted({*confusion, *(name for row in confusion.values() for name in row)})
    if question.class_name is not None and question.class_name not in classes:
        return None
    cells = [[confusion.get(actual, {}).get(predicted, 0) for predicted in classes] for actual in classes]
    if question.metric == "expectedCost":
        total = sum(map(sum, cells))
        costs = question.costs or {}
        paid = sum(
            n * costs.get(a, {}).get(p, 0.0)
            for a, row in zip(classes, cells, strict=True)
            for p, n in zip(classes, row, strict=True)
        )
        return paid / total if total else None
    return of_cells(question, classes, cells)


def _area(question: Question, counts: Counts) -> float | None:
    of = roc_auc if question.metric == "rocAuc" else average_precision
    found, weights = [], []
    for name, sides in counts["buckets"].items():
        if question.class_name in (None, name):
            if not sum(sides["0"]) or not sum(sides["1"]):
                return None
            found.append(of(sides["1"], sides["0"]))
            weights.append(sum(sides["1"]) if question.average == "weighted" else 1)
    return sum(w * v for w, v in zip(weights, found, strict=True)) / sum(weights) if found else None


def _added(parts: Sequence[Counts]) -> Counts:
    """Counts of the same shape, added up cell by cell."""
    total: Counts = {"confusion": {}, "audit": {}, "proportions": {}, "means": {}, "buckets": {}}
    for part in parts:
        for key in total:
            _add_into(total[key], part.get(key, {}))
    return total


def _add_into(total: dict[str, Any], part: dict[str, Any]) -> None:
    for name, found in part.items():
        if isinstance(found, dict):
            _add_into(total.setdefault(name, {}), found)
        elif isinstance(found, list):
            before = total.get(name, [0] * len(found))
            total[name] = [a + b for a, b in zip(before, found, strict=True)]
        else:
            total[name] = total.get(name, 0) + found
