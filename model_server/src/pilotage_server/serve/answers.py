"""Answers as bytes: inference and errors of the Open Inference Protocol V2. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from pilotage_server.serve.body import JSON_LENGTH
from pilotage_server.serve.infer import InferRequest, Kind, Output
from pilotage_server.serve.inference import Answered
from pilotage_server.serve.model import Predictions, ServedModel

Headers = Sequence[tuple[bytes, bytes]]

JSON: Final = ((b"content-type", b"application/json"),)
_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY


def error_body(message: str) -> bytes:
    """The body of every answer that is not a success."""
    return orjson.dumps({"error": message})


class InferWriter:
    """Writes infer answers of one model."""

    def __init__(self, model: ServedModel) -> None:
        self._labels = model.labels
        self._datatype = model.label_datatype
        self._classes = len(model.labels)
        self._head = {"model_name": model.name, "model_version": model.revision}
        self._model = model

    def write(self, request: InferRequest, answered: Answered) -> tuple[Headers, bytes]:
        """Write the outputs asked for, in row-major order; binary ones stand behind the JSON."""
        answer: dict[str, Any] = dict(self._head)
        if request.id is not None:
            answer["id"] = request.id
        if answered.parameters:
            answer["parameters"] = answered.parameters
        tails: list[bytes] = []
        answer["outputs"] = [self._output(output, answered.predictions, tails) for output in request.outputs]
        document = orjson.dumps(answer, option=_OPTIONS)
        if not tails:
            return JSON, document
        headers = ((b"content-type", b"application/octet-stream"), (JSON_LENGTH, b"%d" % len(document)))
        return headers, b"".join((document, *tails))

    def _output(self, output: Output, predictions: Predictions, tails: list[bytes]) -> dict[str, Any]:
        rows = len(predictions.predicted)
        content: Any
        match output.kind:
            case Kind.PREDICT_PROBA:
                described = {"name": output.name, "datatype": "FP64", "shape": [rows, self._classes]}
                flat = predictions.probabilities.reshape(-1)
                content = flat.astype("<f8", copy=False).tobytes() if output.binary else flat
            case Kind.PREDICT:
                described = {"name": output.name, "datatype": self._datatype, "shape": [rows]}
                predicted = predictions.predicted
                content = packed_labels(self._model, predicted) if output.binary else self._named(predicted)
            case Kind.DECISION:
                described = {"name": output.name, "datatype": "BYTES", "shape": [rows]}
                decided = self._model.decided(predictions)
                content = packed_texts(decided) if output.binary else decided
        if not output.binary:
            return {**described, "data": content}
        tails.append(content)
        return {**described, "parameters": {"binary_data_size": len(content)}}

    def _named(self, predicted: NDArray[np.int64]) -> list[str | int]:
        labels = self._labels
        return [labels[index] for index in predicted.tolist()]


def packed_labels(model: ServedModel, predicted: NDArray[np.int64]) -> bytes:
    """Classes [n] as the binary extension writes them: int64, or texts behind their lengths of 4 bytes."""
    if model.label_datatype == "INT64":
        return np.array(model.labels, dtype="<i8")[predicted].tobytes()
    return packed_texts([str(model.labels[index]) for index in predicted.tolist()])


def packed_texts(texts: Sequence[str]) -> bytes:
    """Texts as the binary extension writes BYTES: each behind its length of 4 bytes."""
    return b"".join(_length_prefixed(text) for text in texts)


def _length_prefixed(text: str) -> bytes:
    content = text.encode()
    return len(content).to_bytes(4, "little") + content
