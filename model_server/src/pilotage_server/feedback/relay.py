"""Hands labels on to the cluster that predicted, as they were posted: only that cluster can prove their tokens.

Best effort: what cannot be handed on is answered `wrong_cluster` with the reason, and its client, who still has the
label, posts it there itself. A peer that failed is left alone for a few seconds, so that a cluster that is down costs
its labels nothing but that answer, and other labels nothing at all. Nothing is handed on twice: a peer that gets a
stranger's label says `wrong_cluster`. Peers may come, change and go while it runs.
"""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from pilotage_server.feedback.exchange import Exchange, ExchangeFailed
from pilotage_server.feedback.peers import Peer
from pilotage_server.feedback.wire import RELAY_PATH, Incomprehensible, read_relayed, write_relay

LEFT_ALONE_S: Final = 5.0
_log = structlog.get_logger(__name__)


class Relay(Collector):
    """The ways to other clusters' collectors. Register it with Prometheus."""

    def __init__(
        self, model: str, read: Callable[[], Mapping[str, Peer]], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`read` gives the peers as they are now. Raises what it raises."""
        self._model = model
        self._read = read
        self._ways: dict[str, _Way] = {}
        self._counted: dict[str, Counter[str]] = {}  # outlives a way: counters never fall
        self._monotonic = monotonic
        self.refresh()

    def refresh(self) -> None:
        """Learn of peers that came, changed or went. Raises what reading them raises, keeping those that are known."""
        peers = self._read()
        for cluster in [known for known, way in self._ways.items() if peers.get(known) != way.peer]:
            way = self._ways.pop(cluster)
            if not way.turn.locked():  # else whoever has the turn closes it
                way.exchange.close()
            _log.info("feedback.peer_changed", cluster=cluster, known=cluster in peers)
        for cluster in peers.keys() - self._ways.keys():
            self._ways[cluster] = way = _Way(peers[cluster])
            self._counted.setdefault(cluster, Counter())
            if way.problem:
                _log.warning("feedback.peer_unusable", cluster=cluster, error=way.problem)

    def knows(self, cluster: str) -> bool:
        """Whether labels of that cluster may be handed on."""
        return cluster in self._ways

    async def hand_on(self, cluster: str, posted: Sequence[Any]) -> list[dict[str, Any]] | str:
        """The issuing cluster's answer to each item, or why there is none."""
        while (way := self._ways.get(cluster)) is not None:
            async with way.turn:
                try:
                    if self._ways.get(cluster) is way:  # else the peer changed while others had their turn
                        return await self._sent(cluster, way, posted)
                finally:
                    if self._ways.get(cluster) is not way:
                        way.exchange.close()
        return "it is no longer known here"

    async def _sent(self, cluster: str, way: "_Way", posted: Sequence[Any]) -> list[dict[str, Any]] | str:
        counted = self._counted[cluster]
        if way.problem:
            return f"it could not be handed on ({way.problem})"
        if self._monotonic() < way.closed_until:
            return way.failure
        try:
            answers = await way.send(self._model, posted)
        except (ExchangeFailed, Incomprehensible) as error:
            way.failure = f"it could not be handed on ({error})"
            way.closed_until = self._monotonic() + LEFT_ALONE_S
            counted["failed"] += len(posted)
            _log.warning("feedback.relay_failed", cluster=cluster, error=str(error), items=len(posted))
            return way.failure
        counted["answered"] += len(posted)
        return answers

    def close(self) -> None:
        """Drop all connections."""
        for way in self._ways.values():
            way.exchange.close()

    def collect(self) -> Iterable[Metric]:
        """Items handed on, by cluster and what became of it."""
        family = CounterMetricFamily(
            "model_feedback_relayed",
            "Feedback items handed on to the cluster that predicted.",
            labels=("model", "cluster", "result"),
        )
        for cluster, counted in list(self._counted.items()):
            for result in ("answered", "failed"):
                family.add_metric((self._model, cluster, result), counted[result])
        yield family


class _Way:
    """One peer, one message at a time. `problem`: why nothing can be sent, or empty."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.problem = peer.problem
        tls: ssl.SSLContext | None = None
        if peer.is_tls and not peer.problem:
            try:
                tls = ssl.create_default_context(cadata=peer.authorities or None)
            except ssl.SSLError as error:
                self.problem = f"caFile: {error}"
        self.exchange = Exchange(peer.host, peer.port, tls=tls)
        self.turn = asyncio.Lock()
        self.closed_until = float("-inf")
        self.failure = ""
        self._headers = {"authorization": f"Bearer {peer.credential}"} if peer.credential else {}

    async def send(self, model: str, posted: Sequence[Any]) -> list[dict[str, Any]]:
        body = write_relay(model, posted)
        status, answer = await self.exchange.post(self.peer.path + RELAY_PATH, self._headers, body)
        if status != 200:
            raise Incomprehensible(f"it answered {status}: {answer[:200].decode(errors='replace')}")
        return read_relayed(answer, len(posted))
