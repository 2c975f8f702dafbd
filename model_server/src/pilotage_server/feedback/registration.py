"""Makes a pod's revision known to the collector, in the background and for ever.

All confusion cells of a revision exist at zero once it is announced, and a collector that lost its volume must hear
of it again: so an announcement is repeated every half minute. Serving and readiness never wait for any of this.
The same loop re-reads the keys, since both are the slow chores of a pod.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final

import structlog

from pilotage_server.feedback.announcing import announcement_of
from pilotage_server.feedback.classes import Identity
from pilotage_server.feedback.credentials import Credentials
from pilotage_server.feedback.keys import KeyRing, KeysRefused
from pilotage_server.feedback.link import CollectorLink, CollectorUnavailable
from pilotage_server.feedback.relay import Relay
from pilotage_server.feedback.settings import FeedbackRefused

AGAIN_S: Final = 30.0
FIRST_RETRY_S: Final = 0.5
LONGEST_RETRY_S: Final = 15.0
KEYS_EVERY_S: Final = 10.0
_log = structlog.get_logger(__name__)


def retry_delay_s(failures: int, jitter: float) -> float:
    """The pause after so many failures in a row: doubling from 0.5 s to 15 s, times 0.5 to 1 by `jitter` in [0, 1]."""
    return float(min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(failures - 1, 10)) * (0.5 + jitter / 2))


class Registration:
    """Announces one revision; `registered` is set once the collector has heard of it."""

    def __init__(self, identity: Identity, link: CollectorLink) -> None:
        self._announcement = announcement_of(identity)
        self._link = link
        self.registered = asyncio.Event()

    async def run(self, *, jitter: Callable[[], float] = random.random) -> None:
        """Announce until cancelled. Owns: its link. Ends: when cancelled. Retried: every failure. Fatal: nothing."""
        failures = 0
        try:
            while True:
                try:
                    await self._link.announce(self._announcement)
                except CollectorUnavailable as error:
                    failures += 1
                    if failures == 1:
                        _log.warning(
                            "feedback.registration_failed", error=str(error), revision=self._announcement.revision
                        )
                    await asyncio.sleep(retry_delay_s(failures, jitter()))
                    continue
                if failures or not self.registered.is_set():
                    _log.info("feedback.registered", revision=self._announcement.revision, failures=failures)
                failures = 0
                self.registered.set()
                await asyncio.sleep(AGAIN_S)
        finally:
            self._link.close()


async def keep_secrets_fresh(ring: KeyRing, credentials: Credentials, relay: Relay | None = None) -> None:
    """Re-read keys, credentials and peers until cancelled. Owns: nothing. Ends: when cancelled. Retried: all files."""
    refused = refused_credentials = refused_peers = ""
    while True:
        await asyncio.sleep(KEYS_EVERY_S)
        refused = refresh_keys(ring, refused)
        refused_credentials = refresh_or_keep(credentials, "credentials", refused_credentials)
        if relay is not None:
            refused_peers = refresh_or_keep(relay, "peers", refused_peers)


def refresh_keys(ring: KeyRing, refused: str = "") -> str:
    """Re-read the keys once, log what changed, and give the refusal if there is one; the old keys stay then."""
    try:
        if ring.refresh():
            _log.info("feedback.keys_changed", kids=sorted(ring.kids), signing=ring.signing.kid)
    except KeysRefused as error:
        if str(error) != refused:
            _log.error("feedback.keys_refused", error=str(error))
        return str(error)
    return ""


def refresh_or_keep(files: Credentials | Relay, what: str, refused: str = "") -> str:
    """Re-read once, and give the refusal if there is one, logged when it is new; what was known stays then."""
    try:
        files.refresh()
    except FeedbackRefused as error:
        if str(error) != refused:
            _log.error(f"feedback.{what}_refused", error=str(error))
        return str(error)
    return ""
