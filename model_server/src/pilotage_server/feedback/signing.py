"""Signing tokens: what one pod predicted, bound to its revision, its cluster and the key ring.

The layout is `token`'s. Laws: every token has a nonce of its own; which requests are audited depends on nothing but
that nonce. Knows no HTTP and no label.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pilotage_server.feedback.classes import Identity
from pilotage_server.feedback.keys import KeyRing
from pilotage_server.feedback.probabilities import encoder, row_bytes
from pilotage_server.feedback.sealed import seal_message
from pilotage_server.feedback.token import (
    FLAG_AUDIT,
    FLAG_PROBABILITIES,
    FLAG_REQUEST,
    FLAG_SLICES,
    HEAD,
    MAC_BYTES,
    MAX_ROWS,
    NONCE_BYTES,
    VERSION,
    as_text,
    chosen_row,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_PROBABILITY_BYTES: Final = 2_048
"""Beyond, a token carries none: it would outgrow the answer it travels in."""


def is_audited(nonce: bytes, rate: float) -> bool:
    """Whether a request is picked for labelling: drawn by a hash of its nonce, with probability `rate`."""
    if rate <= 0.0:
        return False
    return int.from_bytes(hashlib.sha256(b"audit" + nonce).digest()[:7], "big") < rate * 2.0**56


@dataclass(frozen=True, slots=True)
class Issued:
    """A signed token, the row of the request that enters the gate, and whether its labels are asked for."""

    token: str
    gate_row: int
    is_audited: bool


class TokenSigner:
    """Signs what one pod predicts.

    `audit_rate`: the share of requests picked for labelling. `sealed`: clients cannot read tokens. Not thread-safe:
    nonces are drawn from one buffer. About 2 µs a token, 3 µs more with ten probabilities encoded for it alone.
    """

    def __init__(self, ring: KeyRing, identity: Identity, *, audit_rate: float = 0.0, sealed: bool = False) -> None:
        revision, cluster = identity.revision.encode("ascii"), identity.cluster.encode("ascii")
        self._ring = ring
        self._classes = len(identity.classes)
        self._cluster = bytes([len(cluster)]) + cluster
        self._origin = bytes([len(revision)]) + revision + self._cluster
        self._sealed = sealed
        self._encode = encoder(self._classes)
        self.row_bytes = row_bytes(self._classes)
        """Bytes of one row's probabilities, as `encode` makes them."""
        self.most_rows = MAX_PROBABILITY_BYTES // self.row_bytes
        """Rows up to which a token carries probabilities."""
        self._audit_rate = audit_rate
        self._entropy = b""
        self._at = 0

    def sign(self, predicted: Sequence[int], probabilities: "NDArray[np.floating] | None", now: float) -> str:
        """The token of one request; see `issue`."""
        return self.issue(predicted, probabilities, now).token

    def issue(
        self,
        predicted: Sequence[int],
        probabilities: "NDArray[np.floating] | None",
        now: float,
        *,
        request: bytes = b"",
        slices: bytes = b"",
    ) -> Issued:
        """Sign one request.

        `predicted`: one class index per row, 1 to 65,535 rows. `probabilities`: array [rows, classes], each in [0, 1],
        or None. `now`: unix time in s. `request`: its id where a shadow answers too, 8 bytes. `slices`: codes of what
        the client declared. Raises ValueError when rows or an index are out of range.
        """
        rows = bytes(predicted)
        if len(rows) != len(predicted):  # bytes() of an array of wide integers is its memory
            raise ValueError("predicted: give a list of ints, not an array")
        encoded = b""
        if probabilities is not None and len(probabilities) <= self.most_rows:
            if len(probabilities) != len(rows):
                raise ValueError(f"probabilities: {len(probabilities)} rows; {len(rows)} were predicted")
            encoded = self.encode(probabilities)
        return self.issue_encoded(rows, encoded, now, request=request, slices=slices)

    def encode(self, probabilities: "NDArray[np.floating]") -> bytes:
        """Probabilities [n, classes] as they travel, `row_bytes` each; a batch costs little more than one row.

        Raises ValueError for another number of classes.
        """
        if probabilities.shape[1:] != (self._classes,):
            raise ValueError(f"probabilities: shape {probabilities.shape}; expected (n, {self._classes})")
        return self._encode(probabilities)

    def issue_encoded(
        self, predicted: bytes, encoded: bytes, now: float, *, request: bytes = b"", slices: bytes = b""
    ) -> Issued:
        """Sign one request whose probabilities are encoded; nothing encoded: the token carries none. See `issue`."""
        count = len(predicted)
        if not 1 <= count <= MAX_ROWS:
            raise ValueError(f"predicted: {count} rows; a token holds 1 to {MAX_ROWS}")
        if max(predicted) >= self._classes:
            raise ValueError(f"predicted: class index {max(predicted)}; the model has {self._classes} classes")
        nonce = self._nonce()
        audited = is_audited(nonce, self._audit_rate)
        flags, tail = (FLAG_AUDIT if audited else 0), predicted
        if encoded:
            flags |= FLAG_PROBABILITIES
            tail = b"%b%c%b" % (predicted, self._classes, encoded)
        if slices:
            flags |= FLAG_SLICES
            tail = b"%c%b%b" % (len(slices), slices, tail)
        if request:
            flags |= FLAG_REQUEST
            tail = request + tail
        key = self._ring.signing
        message = HEAD.pack(VERSION, key.kid, int(now * 1000), nonce, flags, count) + self._origin + tail
        token = seal_message(message, self._cluster, key) if self._sealed else message + key.mac(message)[:MAC_BYTES]
        return Issued(as_text(token), chosen_row(nonce, count), audited)

    def _nonce(self) -> bytes:
        if self._at >= len(self._entropy):
            self._entropy, self._at = os.urandom(NONCE_BYTES * 512), 0  # one call to the kernel for 512 requests
        start, self._at = self._at, self._at + NONCE_BYTES
        return self._entropy[start : self._at]
