"""What leaves a prediction behind: its token, its place in the gate's counters, its flag for labelling.

One call per batch, on the hot path: what many rows have in common is done for all at once. A shadow (a canary that
answers mirrored requests nobody waits for) issues no token and counts no gate row: it only tells the collector what it
would have decided.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pilotage_server.feedback.shadow import ShadowPost
from pilotage_server.feedback.signing import Issued, TokenSigner
from pilotage_server.feedback.token import REQUEST_BYTES
from pilotage_server.quality.slices import Slice, codes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pilotage_server.quality.rows import GateRows


class Shadow(StrEnum):
    """A pod's part in a comparison by mirrored traffic."""

    NONE = ""
    STABLE = "stable"
    """Answers clients; its tokens carry the id of the request."""
    CANARY = "canary"
    """Answers copies; posts what it decided under the same id."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request brought beside its rows: its `id`, and `parameters` that may declare slices."""

    id: str | None = None
    parameters: Mapping[str, Any] | None = None


NOTHING = Asked()
Parameters = dict[str, str | bool]
"""What travels beside the outputs of one answer."""


class Issuer:
    """Issues what goes with the predictions of one pod; not thread-safe. `categories`: the texts of each feature."""

    def __init__(
        self,
        signer: TokenSigner,
        gate_rows: "GateRows | None",
        *,
        slices: Sequence[Slice] = (),
        categories: Sequence[Sequence[str]] = (),
        shadow: Shadow = Shadow.NONE,
        post: ShadowPost | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._signer = signer
        self._gate_rows = gate_rows
        self._slices = slices
        self._meanings = {column: [_number(text) for text in texts] for column, texts in enumerate(categories) if texts}
        self._shadow = shadow
        self._post = post
        self._clock = clock

    def issue(
        self,
        rows: "NDArray[np.float64]",
        predicted: "NDArray[np.int64]",
        probabilities: "NDArray[np.float64]",
        asked: Asked = NOTHING,
    ) -> Parameters:
        """The `parameters` of one answer. rows [n, F]; predicted [n], class indices; probabilities [n, K]."""
        return self.issue_all(rows, predicted, probabilities, [(len(rows), asked)])[0]

    def issue_all(
        self,
        rows: "NDArray[np.float64]",
        predicted: "NDArray[np.int64]",
        probabilities: "NDArray[np.float64]",
        requests: Sequence[tuple[int, Asked]],
    ) -> list[Parameters]:
        """The `parameters` of answers whose rows were predicted together; `requests`: how many rows each has."""
        # Class indices fit a byte: `classes.MAX_CLASSES`.
        decided, now = bytes(predicted.tolist()), self._clock()
        if self._shadow is Shadow.CANARY:
            return self._post_all(rows, decided, requests, now)
        signer = self._signer
        # Probabilities of a long request do not fit a token: no need to encode any where all are long.
        fits = any(count <= signer.most_rows for count, _ in requests)
        encoded = signer.encode(probabilities) if fits else b""
        found: list[Parameters] = []
        gate_rows: list[int] = []
        start = 0
        for count, asked in requests:
            end = start + count
            issued = signer.issue_encoded(
                decided[start:end],
                encoded[start * signer.row_bytes : end * signer.row_bytes] if count <= signer.most_rows else b"",
                now,
                request=b"" if self._shadow is Shadow.NONE else self._id(asked, rows[start:end]),
                slices=codes(self._slices, asked.parameters) if self._slices and asked.parameters else b"",
            )
            gate_rows.append(start + issued.gate_row)
            found.append(_told(issued))
            start = end
        if self._gate_rows is not None:
            # Where every request has one row there is nothing to pick, and picking costs more than all the rest.
            picked = gate_rows if len(gate_rows) < len(rows) else slice(None)
            self._gate_rows.add(rows[picked], predicted[picked], probabilities[picked].max(axis=1))
        return found

    def _post_all(
        self, rows: "NDArray[np.float64]", decided: bytes, requests: Sequence[tuple[int, Asked]], now: float
    ) -> list[Parameters]:
        """Tell the collector what a shadow decided; its answers, which nobody waits for, carry nothing."""
        start = 0
        for count, asked in requests:
            end = start + count
            if self._post is not None:
                self._post.add(self._id(asked, rows[start:end]), decided[start:end], now)
            start = end
        return [{} for _ in requests]

    def _id(self, asked: Asked, rows: "NDArray[np.float64]") -> bytes:
        """The id of a request, the same for every revision: codes stand for texts, and another may number them anew."""
        if not self._meanings:
            return request_id(asked.id, rows)
        shared = rows.copy()
        for column, numbers in self._meanings.items():
            shared[:, column] = [numbers[int(code)] if code == code else code for code in rows[:, column].tolist()]
        return request_id(asked.id, shared)


def _number(text: str) -> float:
    """A number that stands for a text in every pod."""
    return float(int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=6).digest()))


def _told(issued: Issued) -> Parameters:
    if issued.is_audited:
        return {"feedback_token": issued.token, "audit": True}
    return {"feedback_token": issued.token}


def request_id(name: str | None, rows: "NDArray[np.float64]") -> bytes:
    """What a request and its mirrored copy share: 8 bytes over the id the client gave, if any, and the inputs.

    The inputs are part of it: an id used twice for different rows must not pair answers to different questions.
    """
    digest = hashlib.blake2b((name or "").encode(errors="replace"), digest_size=REQUEST_BYTES)
    digest.update(b"\0")
    digest.update(rows.tobytes())
    return digest.digest()
