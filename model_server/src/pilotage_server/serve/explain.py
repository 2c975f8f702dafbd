"""Why a row got its class: what each feature adds to it, against typical rows.

A feature's contribution is the change of the class's centred log-probability (log p_k minus the mean log p over all
classes) when the feature takes the values it has in the background rows instead, averaged over these. For a linear
model (logistic regression, softmax, scaled or not) that is exactly weight × (value − background mean); for others it is
the effect of one feature at a time, and interactions are not shared out. The background are the bundle's golden rows.
Off by default, one explanation at a time, on the inference thread: explaining costs features × background predictions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from pilotage_server.serve.errors import Reason, Rejected
from pilotage_server.serve.infer import InferRequest
from pilotage_server.serve.model import Predictions, ServedModel

MAX_ROWS: Final = 8
MAX_PREDICTIONS: Final = 65_536
"""Rows predicted for one explanation; wide models get fewer background rows."""
_LEAST: Final = 1e-12

Predict = Callable[[NDArray[np.float64]], Predictions]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One row: its class index, what each feature adds [F], and where the background stands (`base`)."""

    predicted: int
    contributions: NDArray[np.float64]
    base: float


def explain_row(predict: Predict, row: NDArray[np.float64], background: NDArray[np.float64]) -> Explanation:
    """Explain one row [F] against background rows [B, F]."""
    features, count = len(row), len(background)
    found = predict(row[None])
    k = int(found.predicted[0])
    changed = np.repeat(row[None], features * count, axis=0)
    for feature in range(features):
        changed[feature * count : (feature + 1) * count, feature] = background[:, feature]
    without = _centred(predict(changed).probabilities)[:, k].reshape(features, count).mean(axis=1)
    base = float(_centred(predict(background).probabilities)[:, k].mean())
    return Explanation(predicted=k, contributions=_centred(found.probabilities)[0, k] - without, base=base)


def _centred(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    logs = np.log(np.maximum(probabilities, _LEAST))
    centred: NDArray[np.float64] = logs - logs.mean(axis=1, keepdims=True)
    return centred


class Explainer:
    """Explains requests of one model, one at a time."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        golden = np.array(model.bundle.manifest.golden.rows, dtype=np.float64)
        self._background = golden[: max(1, MAX_PREDICTIONS // golden.shape[1])]
        self._busy = False

    async def answer(self, request: InferRequest) -> bytes:
        """Explanations of a checked request's rows, as JSON. Raises `Rejected` for too many rows or requests."""
        if len(request.rows) > MAX_ROWS:
            text = f"inputs: {len(request.rows)} rows; at most {MAX_ROWS} are explained at once, split the request"
            raise Rejected(Reason.SIZE, text, status=413)
        if self._busy:
            raise Rejected(Reason.SHED, "another explanation is under way; try again", status=503)
        self._busy = True
        try:
            found = await asyncio.to_thread(self._explain, request.rows)
        finally:
            self._busy = False
        return orjson.dumps(self._written(request, found), option=orjson.OPT_SERIALIZE_NUMPY)

    def _explain(self, rows: NDArray[np.float64]) -> list[Explanation]:
        return [explain_row(self._model.predict, row, self._background) for row in rows]

    def _written(self, request: InferRequest, found: list[Explanation]) -> dict[str, Any]:
        model, width = self._model, request.rows.shape[1]
        labels = [model.labels[one.predicted] for one in found]
        contributions = np.concatenate([one.contributions for one in found])
        answer: dict[str, Any] = {
            "model_name": model.name,
            "model_version": model.revision,
            "parameters": {"background_rows": len(self._background), "scale": "centred log-probability"},
            "outputs": [
                {"name": "predict", "datatype": model.label_datatype, "shape": [len(found)], "data": labels},
                {"name": "contributions", "datatype": "FP64", "shape": [len(found), width], "data": contributions},
                {"name": "base", "datatype": "FP64", "shape": [len(found)], "data": [one.base for one in found]},
            ],
        }
        return answer if request.id is None else answer | {"id": request.id}
