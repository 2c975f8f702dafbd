"""The feedback token: what a prediction was, signed, so that nobody has to store it.

Layout, big-endian, then base64url without padding:

    version u8 = 1 | kid u8 | issued-at u64, unix ms | nonce 8 | flags u8 | rows u16
    | length u8, revision | length u8, cluster | predicted class index u8 per row
    | with flag PROBABILITIES: classes u8, then per row and class u8 | HMAC-SHA256 over all before, first 16 bytes

A probability p travels as −ln p in 1/16 nat, rounded at random so that sums stay unbiased, capped at 255 (p < 1.2e-7).
A token holds nothing the client did not see: no features, no rows. Signing keeps no state, so any pod reads any token.
Knows no HTTP, no label and no collector.
"""

import binascii
import hashlib
import hmac
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pilotage_server.feedback.classes import Identity
from pilotage_server.feedback.keys import Key, KeyRing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION: Final = 1
MAC_BYTES: Final = 16
NONCE_BYTES: Final = 8
MAX_ROWS: Final = 65_535
MAX_PROBABILITIES: Final = 2_048
"""Rows × classes up to which a token carries probabilities: beyond, tokens would outgrow the answers they travel in."""
FLAG_PROBABILITIES: Final = 1
_HEAD: Final = struct.Struct(">BBQ8sBH")
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_PER_NAT: Final = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One opened token. `issued_ms` is unix time in ms, `predicted` one class index per row.

    `probabilities` holds, per row and class, −ln p in 1/16 nat, or nothing when the token carries none.
    """

    revision: str
    cluster: str
    issued_ms: int
    nonce: bytes
    predicted: bytes
    probabilities: tuple[bytes, ...] = ()

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


class TokenSigner:
    """Signs what one pod predicts: bound to its revision, its cluster and the key ring.

    Not thread-safe: nonces are drawn from one buffer. About 2 µs a token, 3 µs more with probabilities.
    """

    def __init__(self, ring: KeyRing, identity: Identity) -> None:
        import numpy  # only signers need it: a collector opens no token and starts 0.2 s and 25 MB lighter

        revision, cluster = identity.revision.encode("ascii"), identity.cluster.encode("ascii")
        self._ring = ring
        self._classes = len(identity.classes)
        self._origin = bytes([len(revision)]) + revision + bytes([len(cluster)]) + cluster
        self._entropy = b""
        self._at = 0
        self._np = numpy
        self._dither = numpy.random.default_rng(int.from_bytes(os.urandom(8), "big"))

    def sign(self, predicted: Sequence[int], probabilities: "NDArray[np.floating] | None", now: float) -> str:
        """The token of one request.

        `predicted`: one class index per row, 1 to 65,535 rows. `probabilities`: array [rows, classes], each in [0, 1],
        or None. `now`: unix time in s. Raises ValueError when rows or an index are out of range.
        """
        rows = bytes(predicted)
        if not 1 <= len(rows) <= MAX_ROWS:
            raise ValueError(f"predicted: {len(rows)} rows; a token holds 1 to {MAX_ROWS}")
        if len(rows) != len(predicted):  # bytes() of an array of wide integers is its memory
            raise ValueError("predicted: give a list of ints, not an array")
        if max(rows) >= self._classes:
            raise ValueError(f"predicted: class index {max(rows)}; the model has {self._classes} classes")
        flags = 0
        if probabilities is not None and probabilities.size <= MAX_PROBABILITIES:
            flags = FLAG_PROBABILITIES
            quantised = self._quantise(probabilities, len(rows))
        key = self._ring.signing
        message = _HEAD.pack(VERSION, key.kid, int(now * 1000), self._nonce(), flags, len(rows)) + self._origin + rows
        if flags:
            message += quantised
        return _encode(message + key.mac(message)[:MAC_BYTES])

    def _nonce(self) -> bytes:
        if self._at >= len(self._entropy):
            self._entropy, self._at = os.urandom(NONCE_BYTES * 512), 0  # one call to the kernel for 512 requests
        start, self._at = self._at, self._at + NONCE_BYTES
        return self._entropy[start : self._at]

    def _quantise(self, probabilities: "NDArray[np.floating]", rows: int) -> bytes:
        if probabilities.shape != (rows, self._classes):
            raise ValueError(f"probabilities: shape {probabilities.shape}; expected ({rows}, {self._classes})")
        scaled = self._np.maximum(probabilities, 1e-7)
        self._np.log(scaled, out=scaled)
        scaled *= -_PER_NAT
        scaled += self._dither.random(scaled.shape)
        self._np.minimum(scaled, 255.0, out=scaled)
        quantised: bytes = scaled.astype(self._np.uint8).tobytes()
        return bytes([self._classes]) + quantised


def open_token(text: str, ring: KeyRing) -> Token | Forged:
    """The token with its signature proven, or `Forged`. Raises `Unreadable`. About 3 µs for one row."""
    raw = _decode(text)
    version, kid, issued_ms, nonce, flags, rows = _HEAD.unpack_from(raw)
    if version != VERSION:
        raise Unreadable(f"token version {version}; this server reads version {VERSION}")
    revision, at = _name(raw, _HEAD.size)
    cluster, at = _name(raw, at)
    key = ring.get(kid)
    if key is None or not _proven(raw, key):
        return Forged(claimed_cluster=cluster, kid=kid, kid_known=key is not None)
    predicted = raw[at : at + rows]
    probabilities = _probabilities(raw, at + rows, rows) if flags & FLAG_PROBABILITIES else ()
    return Token(
        revision=revision,
        cluster=cluster,
        issued_ms=issued_ms,
        nonce=nonce,
        predicted=predicted,
        probabilities=probabilities,
    )


def _proven(raw: bytes, key: Key) -> bool:
    return hmac.compare_digest(key.mac(raw[:-MAC_BYTES])[:MAC_BYTES], raw[-MAC_BYTES:])


def _name(raw: bytes, at: int) -> tuple[str, int]:
    if at >= len(raw):
        raise Unreadable("token cut short")
    end = at + 1 + raw[at]
    name = raw[at + 1 : end]
    if not name or end > len(raw) - MAC_BYTES or not name.isascii():
        raise Unreadable("token cut short or altered")
    return name.decode("ascii"), end


def _probabilities(raw: bytes, at: int, rows: int) -> tuple[bytes, ...]:
    classes = raw[at]
    return tuple(raw[at + 1 + row * classes : at + 1 + (row + 1) * classes] for row in range(rows))


def _encode(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).translate(_URL_SAFE).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        raw = binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))
    except ValueError as error:
        raise Unreadable("not base64url") from error
    # The decoder skips foreign characters and ignores spare bits: one token must have one spelling.
    if _encode(raw) != text:
        raise Unreadable("not base64url as this server writes it; send the token unchanged")
    if len(raw) < _HEAD.size + MAC_BYTES + 2:
        raise Unreadable("token cut short")
    return raw
