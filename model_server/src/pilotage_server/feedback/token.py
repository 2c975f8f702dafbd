"""The feedback token: what a prediction was, signed, so that nobody has to store it.

Layout, big-endian, then base64url without padding:

    version u8 = 2 | kid u8 | issued-at u64, unix ms | nonce 8 | flags u8 | rows u16
    | length u8, revision | length u8, cluster
    | with flag REQUEST: request id 8 | with flag SLICES: count u8, one code u8 each
    | predicted class index u8 per row
    | with flag PROBABILITIES: classes u8, then `probabilities.row_bytes` per row
    | HMAC-SHA256 over all before, first 16 bytes

Flag AUDIT has no field: the request was picked at random for labelling. Version 1 knew only PROBABILITIES, and one u8
per class whatever their number; it still verifies, and its labels count. Version 3 is `sealed`.
A token holds nothing the client did not see: no features, no rows. Signing keeps no state, so any pod reads any token.
Knows no HTTP, no label and no collector.
"""

import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Any, Final

from pilotage_server.feedback.keys import Key, KeyRing
from pilotage_server.feedback.probabilities import MANY_CLASSES, row_bytes
from pilotage_server.feedback.sealed import CLUSTER_AT, SEALED_VERSION, unseal

VERSION: Final = 2
OLD_VERSION: Final = 1
MAC_BYTES: Final = 16
NONCE_BYTES: Final = 8
REQUEST_BYTES: Final = 8
MAX_ROWS: Final = 65_535
FLAG_PROBABILITIES: Final = 1
FLAG_AUDIT: Final = 2
FLAG_REQUEST: Final = 4
FLAG_SLICES: Final = 8
HEAD: Final = struct.Struct(">BBQ8sBH")
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One opened token. `issued_ms` is unix time in ms, `predicted` one class index per row.

    `classes` and `probabilities` (one encoded row each) are 0 and empty when the token carries none; `request` is the
    id a shadow answered under, `slices` one code per slice of the revision: 0 none, else the value's position + 1.
    """

    revision: str
    cluster: str
    issued_ms: int
    nonce: bytes
    predicted: bytes
    classes: int = 0
    probabilities: tuple[bytes, ...] = ()
    audit: bool = False
    request: bytes = b""
    slices: bytes = b""

    @property
    def rows(self) -> int:
        """How many rows the request had."""
        return len(self.predicted)


class Unreadable(ValueError):
    """The text is no token of a version known here; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forged:
    """The signature does not hold: `claimed_cluster` is what the token says, and nothing in it is proven."""

    claimed_cluster: str
    kid: int
    kid_known: bool


def chosen_row(nonce: bytes, rows: int) -> int:
    """The one row of a request that enters the gate's counters, drawn by a hash of the nonce, in [0, rows).

    Rows of one request are not independent outcomes (design §7); which one counts must not depend on its content.
    """
    if rows == 1:
        return 0
    return int.from_bytes(hashlib.sha256(b"gate row" + nonce).digest()[:8], "big") % rows


def open_token(text: str, ring: KeyRing) -> Token | Forged:
    """The token with its signature proven, or `Forged`. Raises `Unreadable`. About 3 µs for one row."""
    raw = _decode(text)
    if raw[0] == SEALED_VERSION:
        return _open_sealed(raw, ring)
    version, kid = raw[0], raw[1]
    if version not in (VERSION, OLD_VERSION):
        raise Unreadable(f"token version {version}; this server reads versions {OLD_VERSION} to {SEALED_VERSION}")
    _, at = _name(raw, HEAD.size)
    cluster, _ = _name(raw, at)
    key = ring.get(kid)
    if key is None or not _proven(raw, key):
        return Forged(claimed_cluster=cluster, kid=kid, kid_known=key is not None)
    return _read(raw[:-MAC_BYTES])


def _open_sealed(raw: bytes, ring: KeyRing) -> Token | Forged:
    cluster, at = _name(raw, CLUSTER_AT)
    key = ring.get(raw[1])
    message = unseal(raw, at, key) if key is not None else None
    if message is None:
        return Forged(claimed_cluster=cluster, kid=raw[1], kid_known=key is not None)
    return _read(message)


def _read(message: bytes) -> Token:
    """A proven message. Raises `Unreadable`."""
    try:
        version, _, issued_ms, nonce, flags, rows = HEAD.unpack_from(message)
        revision, at = _name(message, HEAD.size, 0)
        cluster, at = _name(message, at, 0)
        contents = _contents(message, at, rows, flags, version)
    except (struct.error, IndexError):
        contents = {}
    if not contents:  # only a holder of the key can bring it about: a server that writes tokens in another way
        raise Unreadable("signed, but not laid out as this server writes tokens")
    return Token(revision=revision, cluster=cluster, issued_ms=issued_ms, nonce=nonce, **contents)


def _contents(body: bytes, at: int, rows: int, flags: int, version: int) -> dict[str, Any]:
    """What stands behind the names; nothing if the length is not exactly right. Raises IndexError if cut short."""
    request, slices = b"", b""
    if flags & FLAG_REQUEST:
        request, at = body[at : at + REQUEST_BYTES], at + REQUEST_BYTES
    if flags & FLAG_SLICES:
        slices, at = body[at + 1 : at + 1 + body[at]], at + 1 + body[at]
    predicted, at = body[at : at + rows], at + rows
    classes, probabilities = 0, tuple[bytes, ...]()
    if flags & FLAG_PROBABILITIES:
        # Version 1 wrote one byte per class whatever their number; where that is another form, the label counts alone.
        classes, at = body[at], at + 1
        width = classes if version == OLD_VERSION else row_bytes(classes)
        probabilities = tuple(body[start : start + width] for start in range(at, at + rows * width, max(width, 1)))
        at += rows * width
        if version == OLD_VERSION and not 2 < classes <= MANY_CLASSES:
            classes, probabilities = 0, ()
    if at != len(body) or not predicted:
        return {}
    return {
        "predicted": predicted,
        "classes": classes,
        "probabilities": probabilities,
        "audit": bool(flags & FLAG_AUDIT),
        "request": request,
        "slices": slices,
    }


def _proven(raw: bytes, key: Key) -> bool:
    return hmac.compare_digest(key.mac(raw[:-MAC_BYTES])[:MAC_BYTES], raw[-MAC_BYTES:])


def _name(raw: bytes, at: int, behind: int = MAC_BYTES) -> tuple[str, int]:
    if at >= len(raw):
        raise Unreadable("token cut short")
    end = at + 1 + raw[at]
    name = raw[at + 1 : end]
    if not name or end > len(raw) - behind or not name.isascii():
        raise Unreadable("token cut short or altered")
    return name.decode("ascii"), end


def as_text(raw: bytes) -> str:
    """Base64url without padding."""
    return binascii.b2a_base64(raw, newline=False).translate(_URL_SAFE).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        raw = binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))
    except ValueError as error:
        raise Unreadable("not base64url") from error
    # The decoder skips foreign characters and ignores spare bits: one token must have one spelling.
    if as_text(raw) != text:
        raise Unreadable("not base64url as this server writes it; send the token unchanged")
    if len(raw) < HEAD.size + MAC_BYTES + 2:
        raise Unreadable("token cut short")
    return raw
