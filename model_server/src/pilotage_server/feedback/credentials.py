"""Who may post labels, and how fast: bearer tokens of a folder, and a budget of items for each of them.

A token proves what was predicted, never that a label is true: whoever may post labels decides rollouts. So a cluster
can ask for a credential of its own, apart from that of predictions, and can see whose labels are which. A folder with
one file per identity (a mounted Secret) holds the tokens, or lines of identity and token (a Secret's key as a
variable, which acts at the next start); without any everybody is `anonymous`.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pilotage_server.feedback.settings import CREDENTIAL_LINES, CREDENTIALS, FeedbackRefused

ANONYMOUS: Final = "anonymous"
MAX_IDENTITIES: Final = 20
LEAST_CHARACTERS: Final = 16
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_BEARER: Final = re.compile(rb"[Bb]earer +([\x21-\x7e]+) *")


class Credentials:
    """The identities that may post labels. `refresh` re-reads the folder and keeps the old ones if it is unusable.

    `may_be_closed`: a folder that cannot be used yet lets nobody in, until it can, instead of being refused.
    """

    def __init__(self, directory: Path | None, lines: str = "", *, may_be_closed: bool = False) -> None:
        """Read the folder, or the lines. Raises `FeedbackRefused`."""
        self._directory = directory
        self._digests: dict[str, bytes] = {}
        try:
            self._digests = _read(directory) if directory else _parse(lines)
        except FeedbackRefused:
            if not (may_be_closed and directory):  # lines are not read again: closed for ever, or open by mistake
                raise
        self._is_open = directory is None and not self._digests

    @property
    def identities(self) -> tuple[str, ...]:
        """All identities, `anonymous` alone where feedback is open."""
        return (ANONYMOUS,) if self._is_open else tuple(self._digests)

    def identify(self, authorization: bytes | None) -> str | None:
        """Whose credential this header carries; None if nobody's. Every token is compared, in constant time."""
        if self._is_open:
            return ANONYMOUS
        match = _BEARER.fullmatch(authorization or b"")
        digest = hashlib.sha256(match[1] if match else b"").digest()
        found = [identity for identity, known in self._digests.items() if hmac.compare_digest(known, digest)]
        return found[0] if match and found else None

    def refresh(self) -> None:
        """Read the folder again. Raises `FeedbackRefused`, keeping what was known."""
        if self._directory:
            self._digests = _read(self._directory)


class Budget:
    """Items per second an identity may post: a bucket that holds one second's worth, and at least one request."""

    def __init__(self, rate: float, *, most_at_once: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._size = max(rate, float(most_at_once))
        self._monotonic = monotonic
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, identity: str, items: int) -> float:
        """Take items out of an identity's bucket; 0, or the seconds after which they would fit. Rate 0: no limit."""
        if self._rate <= 0:
            return 0.0
        now = self._monotonic()
        left, at = self._left.get(identity, (self._size, now))
        left = min(self._size, left + (now - at) * self._rate)
        if left < items:
            self._left[identity] = (left, now)
            return (items - left) / self._rate
        self._left[identity] = (left - items, now)
        return 0.0


def _read(directory: Path) -> dict[str, bytes]:
    try:
        files = sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
        found = {file.name: file.read_bytes().strip() for file in files}
    except OSError as error:
        raise FeedbackRefused(
            f"{CREDENTIALS}: {directory}: cannot be read ({error.strerror}); mount a Secret with one token per identity"
        ) from error
    return _checked(found, f"{CREDENTIALS}: {directory}")


def _parse(lines: str) -> dict[str, bytes]:
    if not lines.strip():
        return {}
    found: dict[str, bytes] = {}
    for number, line in enumerate(lines.splitlines(), start=1):
        words = line.split()
        if words and (len(words) != 2 or words[0] in found):
            raise FeedbackRefused(f"{CREDENTIAL_LINES}: line {number} is not a new identity and its token")
        if words:
            found[words[0]] = words[1].encode(errors="replace")
    return _checked(found, CREDENTIAL_LINES)


def _checked(found: dict[str, bytes], place: str) -> dict[str, bytes]:
    """Digests of the tokens; a message names the identity, never a token."""
    if not 1 <= len(found) <= MAX_IDENTITIES:
        raise FeedbackRefused(f"{place}: {len(found)} tokens; give 1 to {MAX_IDENTITIES}, one key of the Secret each")
    for name, token in found.items():
        if not _NAME.fullmatch(name) or name == ANONYMOUS:
            raise FeedbackRefused(f"{place}: {name[:64]!r} names no identity; use lower-case letters, digits, - and .")
        if not (len(token) >= LEAST_CHARACTERS and _BEARER.fullmatch(b"Bearer " + token)):
            raise FeedbackRefused(
                f"{place}: {name}: a token is {LEAST_CHARACTERS} or more visible ASCII characters on one line"
            )
    digests = {name: hashlib.sha256(token).digest() for name, token in found.items()}
    if len(set(digests.values())) < len(digests):
        raise FeedbackRefused(f"{place}: two identities share a token; give each its own")
    return digests
