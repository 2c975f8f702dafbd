"""Weights, evidence and verdicts of rollouts as metrics, made at scrape time from what the last decision wrote.

Never set and forgotten: a rollout's figures go five minutes after it ended (so that a scrape sees what it ended on),
and with its ModelDeployment. Cardinality is bounded by the spec: gates × waves, no revision or attempt among the
labels (`pilotage_rollout_info` has them). Knows values, no clients.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pilotage.api.types import DeploymentStatus, GateResult, RevisionStatus, RolloutRecord, WaveEvidence
from pilotage.gate import Outcome
from pilotage.kube import Key

LINGER_S = 300.0
_ROLLOUT = ("namespace", "model")
_GATE = (*_ROLLOUT, "wave", "gate")
_FIGURES = {
    "log_e_pass": "Log of the e-value against `the gate is violated`; a gate passes from log(1/alpha) on.",
    "log_e_fail": "Log of the greatest e-value for a violation; what counts together is pilotage_rollout_fail_weight.",
    "estimate": "The canary's metric over the production mix.",
    "lower": "Always-valid lower bound of the canary's metric.",
    "upper": "Always-valid upper bound of the canary's metric.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was written of one ModelDeployment: `revision` is the status of its rollout's revision."""

    status: DeploymentStatus
    revision: RevisionStatus | None
    beta: float | None


class RolloutFigures(Collector):
    """See the module. `now` gives unix seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._known: dict[Key, Known] = {}

    def put(self, key: Key, known: Known) -> None:
        """Replace what is known of a key."""
        self._known[key] = known

    def drop(self, key: Key) -> None:
        """Forget a key."""
        self._known.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """All figures, now."""
        families = _Families()
        for key, known in self._known.items():
            families.add_weights(key, known.status)
            rollout = known.status.rollout
            if rollout is not None and self._is_shown(rollout):
                families.add_rollout(key, rollout, known)
        return families.all()

    def _is_shown(self, rollout: RolloutRecord) -> bool:
        return rollout.outcome is None or (rollout.decided_at or 0.0) + LINGER_S > self._now()


class _Families:
    """One scrape."""

    def __init__(self) -> None:
        self._weight = _gauge(
            "pilotage_rollout_weight",
            "Share of a cluster's traffic that the revision it takes should get, in percent.",
            *_ROLLOUT,
            "revision",
            "cluster",
        )
        self._info = _gauge("pilotage_rollout_info", "1: the rollout under way.", *_ROLLOUT, "revision", "attempt")
        self._baking = _gauge("pilotage_rollout_baking", "1 from full promotion to the end of the bake.", *_ROLLOUT)
        self._fail = _gauge("pilotage_rollout_fail_weight", "Weighted sum of all fail e-values.", *_ROLLOUT)
        self._limit = _gauge("pilotage_rollout_fail_threshold", "1/beta: a rollback from there on.", *_ROLLOUT)
        self._figures = {name: _gauge(f"pilotage_gate_{name}", about, *_GATE) for name, about in _FIGURES.items()}
        self._labels = _gauge(
            "pilotage_gate_labels", "Matured labels counted, in the gate's denominator.", *_GATE, "arm"
        )
        self._verdict = _gauge(
            "pilotage_gate_verdict", "1 for the gate's verdict, 0 for others.", *_GATE, "mode", "verdict"
        )
        self._broken = _gauge(
            "pilotage_gate_condition",
            "1: what the guarantee rests on does not hold.",
            *_ROLLOUT,
            "wave",
            "condition",
            "cluster",
        )

    def all(self) -> Iterator[Metric]:
        """In the order of the page."""
        yield from (self._weight, self._info, self._baking, self._fail, self._limit)
        yield from self._figures.values()
        yield from (self._labels, self._verdict, self._broken)

    def add_weights(self, key: Key, status: DeploymentStatus) -> None:
        for cluster in status.clusters:
            if cluster.revision:
                self._weight.add_metric([key.namespace, key.name, cluster.revision, cluster.name], cluster.weight)

    def add_rollout(self, key: Key, rollout: RolloutRecord, known: Known) -> None:
        where = [key.namespace, key.name]
        revision = known.revision
        self._info.add_metric([*where, rollout.revision, str(rollout.attempt)], 1.0)
        self._baking.add_metric(where, float(rollout.outcome is None and rollout.full_at is not None))
        if revision is None or revision.attempt != rollout.attempt or not revision.evidence:
            return
        self._fail.add_metric(where, sum(entry.fail_weight for entry in revision.evidence))
        if known.beta:
            self._limit.add_metric(where, 1 / known.beta)
        for entry in revision.evidence:
            self._add_wave(where, entry)

    def _add_wave(self, where: list[str], entry: WaveEvidence) -> None:
        for gate in entry.gates:
            self._add_gate([*where, entry.wave, gate.name], gate)
        for broken in {(each.type, each.cluster) for each in entry.conditions}:
            self._broken.add_metric([*where, entry.wave, *broken], 1.0)

    def _add_gate(self, where: list[str], gate: GateResult) -> None:
        for name, family in self._figures.items():
            value = getattr(gate, name)
            if value is not None:
                family.add_metric(where, value)
        self._labels.add_metric([*where, "stable"], gate.labels_stable)
        self._labels.add_metric([*where, "canary"], gate.labels_canary)
        mode = "Advisory" if gate.advisory else "Blocking"
        for outcome in Outcome:
            self._verdict.add_metric([*where, mode, outcome.value], float(gate.verdict == outcome))


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, labels=list(labels))
