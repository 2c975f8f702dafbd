"""A shadow's decisions on their way to the collector: gathered, sent every half second, dropped rather than hoarded.

Nobody waits for a shadow, and a pair that is not counted biases nothing: which ones are lost does not depend on who was
right. So this queue is bounded, tries each message once, and counts what it sent and what it dropped.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from pilotage_server.feedback.announcing import announcement_of
from pilotage_server.feedback.classes import Identity
from pilotage_server.feedback.link import CollectorLink, CollectorUnavailable, Unregistered
from pilotage_server.feedback.messages import MAX_MESSAGE_ITEMS, Decision, Decisions

EVERY_S: Final = 0.5
MAX_WAITING: Final = 20_000
MAX_ROWS: Final = 64
"""Rows of one request that are told; the gate's row of a longer request may then have no pair."""
_log = structlog.get_logger(__name__)


class ShadowPost(Collector):
    """Sends decisions to the collector. Register it with Prometheus; `run` as a task."""

    def __init__(self, identity: Identity, link: CollectorLink) -> None:
        self._identity = identity
        self._link = link
        self._waiting: list[Decision] = []
        self._sent = self._dropped = 0

    def add(self, request: bytes, predicted: bytes, now: float) -> None:
        """Queue what was decided for one request; `now`: unix time in s. Never waits, never raises."""
        if len(self._waiting) >= MAX_WAITING:
            self._dropped += 1
            return
        self._waiting.append(Decision(request.hex(), int(now * 1000), predicted[:MAX_ROWS].hex()))

    async def run(self) -> None:
        """Send until cancelled. Owns: its link. Ends: when cancelled. Retried: nothing. Fatal: nothing."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                while self._waiting:
                    await self.flush()
        finally:
            self._link.close()

    async def flush(self) -> None:
        """Send one message of what waits."""
        taken, self._waiting = self._waiting[:MAX_MESSAGE_ITEMS], self._waiting[MAX_MESSAGE_ITEMS:]
        decisions = Decisions(model=self._identity.model, sender=self._identity.revision, decisions=tuple(taken))
        try:
            try:
                await self._link.tell(decisions)
            except Unregistered:
                await self._link.announce(announcement_of(self._identity))
                await self._link.tell(decisions)
        except (CollectorUnavailable, Unregistered) as error:
            self._dropped += len(taken)
            _log.warning("feedback.decisions_dropped", error=str(error), decisions=len(taken))
        else:
            self._sent += len(taken)

    def collect(self) -> Iterable[Metric]:
        """How many decisions were sent and dropped."""
        family = CounterMetricFamily(
            "model_shadow_decisions",
            "Decisions of this shadow by what became of them.",
            labels=("model", "revision", "result"),
        )
        for result, count in (("sent", self._sent), ("dropped", self._dropped)):
            family.add_metric((self._identity.model, self._identity.revision, result), count)
        yield family
