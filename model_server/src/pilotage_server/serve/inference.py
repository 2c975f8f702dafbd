"""Rows into predictions with their feedback token: what every protocol on top of the data plane calls.

Laws: rows come in checked; a request whose client has stopped waiting is not predicted; the token names the
revision that predicted, not the one a URL asked for. Knows no HTTP, no JSON and no gRPC.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pilotage_server.feedback import NOTHING, Asked, Issuer
from pilotage_server.serve.batcher import Batcher
from pilotage_server.serve.errors import Reason, Rejected
from pilotage_server.serve.model import Predictions

if TYPE_CHECKING:
    from pilotage_server.serve.payloads import PayloadLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Predictions of one request, and what travels beside them as `parameters`."""

    predictions: Predictions
    parameters: dict[str, str | bool]


class Inference:
    """The data plane without a protocol. `issuer` is None without a feedback key, `payloads` unless asked for."""

    def __init__(self, batcher: Batcher, issuer: Issuer | None, payloads: PayloadLog | None = None) -> None:
        self._batcher = batcher
        self._issuer = issuer
        self._payloads = payloads

    async def run(self, rows: NDArray[np.float64], deadline_s: float | None, asked: Asked = NOTHING) -> Answered:
        """Predict checked rows [n, F]. Raises `Rejected` on overload and when `deadline_s` seconds were too few."""
        predicted = self._batcher.submit(rows)
        if deadline_s is None:
            predictions = await predicted
        else:
            try:
                async with asyncio.timeout(deadline_s):
                    predictions = await predicted
            except TimeoutError as error:
                text = f"x-request-deadline-ms: {deadline_s * 1000:g} ms were over before the rows were predicted"
                # 408, not 504: the limit is the client's, and must not count against the model.
                raise Rejected(Reason.DEADLINE, text, status=408) from error
        if self._issuer is None:
            return Answered(predictions=predictions, parameters={})
        parameters = self._issuer.issue(rows, predictions.predicted, predictions.probabilities, asked)
        if self._payloads is not None and "feedback_token" in parameters:
            self._payloads.add(str(parameters["feedback_token"]), rows)
        return Answered(predictions=predictions, parameters=parameters)
