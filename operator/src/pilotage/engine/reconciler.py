"""One key, from what is known to what is done: gather, decide, act."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pilotage.engine.act import Hands, act
from pilotage.engine.gather import gather
from pilotage.engine.readings import Readings
from pilotage.kube import Clock, Key
from pilotage.plan.decision import Decision
from pilotage.plan.observed import Observed

Decide = Callable[[Observed, float], Decision]


class Gauges(Protocol):
    """What is exported of a ModelDeployment: `pilotage.metrics.Metrics`."""

    def show(self, key: Key, observed: Observed, decision: Decision) -> None: ...  # noqa: D102
    def hide(self, key: Key) -> None: ...  # noqa: D102


class Reconciler:
    """See the module. Holds no state of its own."""

    def __init__(self, hands: Hands, readings: Readings, *, decide: Decide, clock: Clock, gauges: Gauges) -> None:
        self._hands, self._readings = hands, readings
        self._decide, self._clock, self._gauges = decide, clock, gauges

    async def reconcile(self, key: Key) -> float | None:
        """Bring one ModelDeployment closer to its spec; returns the seconds after which to look again."""
        deployment = self._hands.store.deployment(key)
        if deployment is None:
            self._forget(key)
            return None
        observed = gather(
            key,
            deployment,
            self._hands.store,
            self._hands.fleet,
            self._readings,
            hub_uid=self._hands.hub_uid,
        )
        decision = self._decide(observed, self._clock.now().timestamp())
        self._hands.require_leading()
        await act(self._hands, key, observed, decision)
        self._gauges.show(key, observed, decision)
        return decision.requeue_after_s

    def _forget(self, key: Key) -> None:
        self._hands.fleet.forget(key)
        self._readings.forget(key)
        self._gauges.hide(key)
