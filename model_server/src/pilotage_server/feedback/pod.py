"""The feedback side of one server pod, put together: signer, endpoint, and the background tasks behind them."""

import asyncio
from dataclasses import dataclass

from pilotage_server.feedback.classes import Identity
from pilotage_server.feedback.endpoint import FeedbackEndpoint
from pilotage_server.feedback.forwarder import Forwarder
from pilotage_server.feedback.keys import KeyRing
from pilotage_server.feedback.link import CollectorAddress, CollectorLink
from pilotage_server.feedback.registration import Registration, keep_keys_fresh
from pilotage_server.feedback.token import TokenSigner


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What `serve` needs: `signer`, `endpoint` (register it as a Prometheus collector too), and `run` as a task."""

    signer: TokenSigner
    endpoint: FeedbackEndpoint
    registration: Registration
    forwarder: Forwarder
    ring: KeyRing

    async def run(self) -> None:
        """Register, forward and re-read keys. Owns: both links. Ends: when cancelled. Fatal: only our own bugs.

        Cancel it last on shutdown: feedback requests under way get their answers through it.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.forwarder.run(), name="feedback-forwarder")
            tasks.create_task(self.registration.run(), name="feedback-registration")
            tasks.create_task(keep_keys_fresh(self.ring), name="feedback-keys")


def open_feedback(identity: Identity, ring: KeyRing, collector: CollectorAddress) -> Feedback:
    """The feedback side of one pod. Call it with a running event loop; it connects nothing before `run`."""
    forwarder = Forwarder(identity, CollectorLink(collector, ring))
    return Feedback(
        signer=TokenSigner(ring, identity),
        endpoint=FeedbackEndpoint(identity, ring, forwarder),
        registration=Registration(identity, CollectorLink(collector, ring)),
        forwarder=forwarder,
        ring=ring,
    )
