"""The feedback side of one server pod, put together: issuer, endpoint, and the background tasks behind them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

from pilotage_server.feedback.classes import Identity
from pilotage_server.feedback.credentials import Budget, Credentials
from pilotage_server.feedback.endpoint import FeedbackEndpoint
from pilotage_server.feedback.forwarder import Forwarder
from pilotage_server.feedback.issuing import Issuer, Shadow
from pilotage_server.feedback.items import MAX_ITEMS
from pilotage_server.feedback.keys import KeyRing
from pilotage_server.feedback.link import CollectorAddress, CollectorLink
from pilotage_server.feedback.numbers import QualityPage
from pilotage_server.feedback.peers import read_peers
from pilotage_server.feedback.registration import Registration, keep_secrets_fresh
from pilotage_server.feedback.relay import Relay
from pilotage_server.feedback.settings import FeedbackSettings
from pilotage_server.feedback.shadow import ShadowPost
from pilotage_server.feedback.signing import TokenSigner

if TYPE_CHECKING:
    from pilotage_server.quality.rows import GateRows


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What `serve` needs: `issuer`, `endpoint`, `quality`, `run` as a task, and `metrics` to register."""

    signer: TokenSigner
    issuer: Issuer
    endpoint: FeedbackEndpoint
    quality: QualityPage
    relay: Relay
    credentials: Credentials
    registration: Registration
    forwarder: Forwarder
    ring: KeyRing
    post: ShadowPost | None
    metrics: tuple[Collector, ...]

    async def run(self) -> None:
        """Register, forward and re-read keys. Owns: all links. Ends: when cancelled. Fatal: only our own bugs.

        Cancel it last on shutdown: feedback requests under way get their answers through it.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.forwarder.run(), name="feedback-forwarder")
                tasks.create_task(self.registration.run(), name="feedback-registration")
                tasks.create_task(keep_secrets_fresh(self.ring, self.credentials, self.relay), name="feedback-secrets")
                if self.post is not None:
                    tasks.create_task(self.post.run(), name="feedback-shadow")
        finally:
            self.quality.close()
            self.relay.close()


def open_feedback(
    identity: Identity,
    ring: KeyRing,
    collector: CollectorAddress,
    *,
    settings: FeedbackSettings | None = None,
    gate_rows: "GateRows | None" = None,
    categories: Sequence[Sequence[str]] = (),
) -> Feedback:
    """The feedback side of one pod. Call it with a running event loop; it connects nothing before `run`.

    `categories`: the texts of each feature, none for numbers.

    Raises `FeedbackRefused` for files of peers or credentials that cannot be used.
    """
    chosen = settings or FeedbackSettings()
    forwarder = Forwarder(identity, CollectorLink(collector, ring))
    signer = TokenSigner(ring, identity, audit_rate=chosen.audit_rate, sealed=chosen.sealed)
    credentials = Credentials(chosen.credentials, chosen.credential_lines)
    relay = Relay(identity.model, lambda: read_peers(chosen.peers) if chosen.peers else {})
    endpoint = FeedbackEndpoint(
        identity,
        ring,
        forwarder,
        credentials=credentials,
        budget=Budget(chosen.rate, most_at_once=MAX_ITEMS),
        relay=relay,
    )
    post = ShadowPost(identity, CollectorLink(collector, ring)) if chosen.shadow is Shadow.CANARY else None
    return Feedback(
        signer=signer,
        issuer=Issuer(
            signer, gate_rows, slices=identity.slices, categories=categories, shadow=chosen.shadow, post=post
        ),
        endpoint=endpoint,
        quality=QualityPage(identity.model, CollectorLink(collector, ring)),
        relay=relay,
        credentials=credentials,
        registration=Registration(identity, CollectorLink(collector, ring)),
        forwarder=forwarder,
        ring=ring,
        post=post,
        metrics=tuple(one for one in (endpoint.tally, relay, gate_rows, post) if one is not None),
    )
