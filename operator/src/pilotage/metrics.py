"""What the operator exports about itself and about rollouts under way, in its own registry.

Figures of a rollout belong to a ModelDeployment and vanish with it: they are computed at scrape time from what the last
decision saw (`RolloutFigures`), never set and forgotten. Knows values, no clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pilotage.api.types import DeploymentStatus, GateResult, RevisionStatus
from pilotage.kube import Key
from pilotage.plan.decision import Decision
from pilotage.plan.observed import Observed

_GATE = ("namespace", "model", "revision", "attempt", "wave", "gate")
_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class Metrics:
    """Every metric of the process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter that nobody reads
        self.registry = CollectorRegistry()
        self._reconciles = Counter("pilotage_reconciles", "Reconciles by result.", ("result",), registry=self.registry)
        self._seconds = Histogram(
            "pilotage_reconcile_seconds", "Time of one reconcile.", buckets=_BUCKETS, registry=self.registry
        )
        self._requests = Counter(
            "pilotage_api_requests",
            "Finished API requests (not watches) by cluster, verb and status code; 0: no answer.",
            ("member", "verb", "code"),
            registry=self.registry,
        )
        self._lag = Gauge(
            "pilotage_loop_lag_seconds", "By how much the last heartbeat came late.", registry=self.registry
        )
        self._leading = Gauge("pilotage_leading", "Whether this replica leads.", registry=self.registry)
        self._rollouts = RolloutFigures()
        self.registry.register(self._rollouts)

    def watch(
        self,
        *,
        depth: Callable[[], int],
        leading: Callable[[], bool],
        members: Callable[[], Iterable[tuple[str, bool]]],
    ) -> None:
        """Read the queue's depth, leadership and the members' links whenever somebody scrapes."""
        queue = Gauge("pilotage_queue_depth", "Keys that wait for a worker.", registry=self.registry)
        queue.set_function(depth)
        self._leading.set_function(lambda: float(leading()))
        self.registry.register(_Members(members))

    def expose(self) -> bytes:
        """The registry in Prometheus' text format."""
        return generate_latest(self.registry)

    def count_reconcile(self, result: str, seconds: float) -> None:
        """One reconcile is done."""
        self._reconciles.labels(result).inc()
        self._seconds.observe(seconds)

    def count_request(self, member: str, verb: str, code: int) -> None:
        """One API request is done; `member` is `hub` or a member's name."""
        self._requests.labels(member, verb, str(code)).inc()

    def set_lag(self, lag_s: float) -> None:
        """The last heartbeat came that late."""
        self._lag.set(lag_s)

    def show(self, key: Key, observed: Observed, decision: Decision) -> None:
        """Export the figures of one ModelDeployment's rollout."""
        name = decision.status.target_revision or decision.status.stable_revision or ""
        known = observed.revisions.get(name)
        status = decision.revision_status.get(name, known.status if known else None)
        self._rollouts.put(key, decision.status, status)

    def hide(self, key: Key) -> None:
        """The ModelDeployment is gone."""
        self._rollouts.drop(key)


class RolloutFigures(Collector):
    """Weights, log-evidence, estimates and labels of every rollout, made when asked for."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[DeploymentStatus, RevisionStatus | None]] = {}

    def put(self, key: Key, status: DeploymentStatus, revision: RevisionStatus | None) -> None:
        """Replace what is known of a key."""
        self._known[key] = (status, revision)

    def drop(self, key: Key) -> None:
        """Forget a key."""
        self._known.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """All figures, now."""
        evidence = GaugeMetricFamily(
            "pilotage_gate_log_evidence", "Log of the e-value for pass or fail.", labels=[*_GATE, "side"]
        )
        estimate = GaugeMetricFamily(
            "pilotage_gate_estimate", "The canary's metric over the mix, with its bounds.", labels=[*_GATE, "bound"]
        )
        labels = GaugeMetricFamily("pilotage_rollout_labels", "Matured labels counted.", labels=[*_GATE, "arm"])
        weight = GaugeMetricFamily(
            "pilotage_rollout_weight",
            "Traffic weight of the revision on trial, in percent.",
            labels=["namespace", "model", "revision", "cluster"],
        )
        for key, (status, revision) in self._known.items():
            _add_weights(weight, key, status)
            for where, gate in _gates(key, status, revision):
                for side, value in (("pass", gate.log_e_pass), ("fail", gate.log_e_fail)):
                    _add(evidence, [*where, side], value)
                for bound, value in (("estimate", gate.estimate), ("lower", gate.lower), ("upper", gate.upper)):
                    _add(estimate, [*where, bound], value)
                _add(labels, [*where, "stable"], gate.labels_stable)
                _add(labels, [*where, "canary"], gate.labels_canary)
        return iter((evidence, estimate, labels, weight))


class _Members(Collector):
    """1 for every member that answers."""

    def __init__(self, members: Callable[[], Iterable[tuple[str, bool]]]) -> None:
        self._members = members

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("pilotage_member_up", "Whether the member answers.", labels=["member"])
        for name, is_up in self._members():
            up.add_metric([name], float(is_up))
        yield up


def _gates(
    key: Key, status: DeploymentStatus, revision: RevisionStatus | None
) -> Iterator[tuple[list[str], GateResult]]:
    name = status.target_revision or status.stable_revision
    if revision is None or name is None:
        return
    for evidence in revision.evidence:
        for gate in evidence.gates:
            where = [key.namespace, key.name, name, str(revision.attempt), evidence.wave, gate.name]
            yield where, gate


def _add_weights(weight: GaugeMetricFamily, key: Key, status: DeploymentStatus) -> None:
    name = status.target_revision or status.stable_revision
    if name is None:
        return
    for cluster in status.clusters:
        weight.add_metric([key.namespace, key.name, name, cluster.name], cluster.weight)


def _add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    if value is not None:
        family.add_metric(labels, value)
