"""What the operator exports about itself and about rollouts under way, in its own registry.

Figures of a rollout are made at scrape time (`pilotage.figures`), never set and forgotten. Knows values, no clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pilotage.figures import Known, RolloutFigures
from pilotage.kube import Key
from pilotage.plan.decision import Decision
from pilotage.plan.observed import Observed

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
        rollout, spec = decision.status.rollout, observed.deployment.spec
        name = rollout.revision if rollout else ""
        seen = observed.revisions.get(name)
        revision = decision.revision_status.get(name, seen.status if seen else None)
        beta = spec.analysis.beta if spec else None
        self._rollouts.put(key, Known(status=decision.status, revision=revision, beta=beta))

    def hide(self, key: Key) -> None:
        """The ModelDeployment is gone."""
        self._rollouts.drop(key)


class _Members(Collector):
    """1 for every member that answers."""

    def __init__(self, members: Callable[[], Iterable[tuple[str, bool]]]) -> None:
        self._members = members

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("pilotage_member_up", "Whether the member answers.", labels=["member"])
        for name, is_up in self._members():
            up.add_metric([name], float(is_up))
        yield up
