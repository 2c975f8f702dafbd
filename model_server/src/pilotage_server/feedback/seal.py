"""The proof of who sent a message: HMAC-SHA256 over path, time and body under a feedback key.

Only holders of the key can count. A message repeated inside the time window changes nothing, because every message is
idempotent. Knows no message.
"""

import hmac
from collections.abc import Mapping
from typing import Final

from pilotage_server.feedback.keys import KeyRing

WINDOW_MS: Final = 60_000
"""How far the clocks of two nodes of one cluster may differ before messages and tokens are refused."""
TIME_HEADER: Final = "x-pilotage-time"
KEY_HEADER: Final = "x-pilotage-key"
MAC_HEADER: Final = "x-pilotage-mac"


class NotOurs(Exception):
    """The message does not prove that one of our pods sent it, now; the text says what failed."""


def seal(ring: KeyRing, path: str, body: bytes, now_ms: int) -> dict[str, str]:
    """The headers that prove a message."""
    key = ring.signing
    mac = key.mac(_proven_bytes(path, str(now_ms), body)).hex()
    return {TIME_HEADER: str(now_ms), KEY_HEADER: str(key.kid), MAC_HEADER: mac}


def check_seal(ring: KeyRing, path: str, headers: Mapping[str, str], body: bytes, now_ms: int) -> None:
    """Raise `NotOurs` unless the headers prove this message and its time is within a minute of `now_ms`."""
    sent_at, kid, mac = (headers.get(name, "") for name in (TIME_HEADER, KEY_HEADER, MAC_HEADER))
    if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) < 16 and kid.isascii() and kid.isdigit()):
        raise NotOurs(f"headers {TIME_HEADER}, {KEY_HEADER}, {MAC_HEADER}: missing or not as our pods write them")
    key = ring.get(int(kid[:4]))
    if key is None:
        raise NotOurs(f"feedback key k{kid[:4]} is not known here; the Secret may not have been refreshed yet")
    if not hmac.compare_digest(key.mac(_proven_bytes(path, sent_at, body)).hex().encode(), mac.encode()):
        raise NotOurs("signature does not hold")
    if abs(int(sent_at) - now_ms) > WINDOW_MS:
        raise NotOurs(f"sent {(now_ms - int(sent_at)) / 1000:.0f} s ago by the sender's clock; set the nodes' clocks")


def _proven_bytes(path: str, sent_at: str, body: bytes) -> bytes:
    # Tokens under the same key start with their version, 1 to 3, messages with "p": neither passes for the other.
    return f"pilotage message\n{path}\n{sent_at}\n".encode() + body
