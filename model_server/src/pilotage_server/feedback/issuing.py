"""What leaves a prediction behind: its token, its place in the gate's counters, its flag for labelling.

One call per request, on the hot path. A shadow (a canary that answers mirrored requests nobody waits for) issues no
token and counts no gate row: it only tells the collector what it would have decided.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pilotage_server.feedback.shadow import ShadowPost
from pilotage_server.feedback.token import REQUEST_BYTES, TokenSigner
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


class Issuer:
    """Issues what goes with the predictions of one pod; not thread-safe."""

    def __init__(
        self,
        signer: TokenSigner,
        gate_rows: "GateRows | None",
        *,
        slices: Sequence[Slice] = (),
        shadow: Shadow = Shadow.NONE,
        post: ShadowPost | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._signer = signer
        self._gate_rows = gate_rows
        self._slices = slices
        self._shadow = shadow
        self._post = post
        self._clock = clock

    def issue(
        self,
        rows: "NDArray[np.float64]",
        predicted: "NDArray[np.int64]",
        probabilities: "NDArray[np.float64]",
        asked: Asked = NOTHING,
    ) -> dict[str, str | bool]:
        """The `parameters` of one answer. rows [n, F]; predicted [n], class indices; probabilities [n, K]."""
        decided = predicted.tolist()
        request = b"" if self._shadow is Shadow.NONE else request_id(asked.id, rows)
        if self._shadow is Shadow.CANARY:
            if self._post is not None:
                self._post.add(request, bytes(decided), self._clock())
            return {}
        declared = codes(self._slices, asked.parameters) if self._slices and asked.parameters else b""
        issued = self._signer.issue(decided, probabilities, self._clock(), request=request, slices=declared)
        row = issued.gate_row
        if self._gate_rows is not None:
            # Python's max over a list of ten takes a fifth of what NumPy's does.
            self._gate_rows.add(rows[row], decided[row], max(probabilities[row].tolist()))
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
