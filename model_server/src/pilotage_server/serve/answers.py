"""Infer answers of the Open Inference Protocol V2 as bytes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from pilotage_server.serve.body import JSON_LENGTH
from pilotage_server.serve.infer import InferRequest
from pilotage_server.serve.inference import Answered
from pilotage_server.serve.model import Predictions, ServedModel
from pilotage_server.serve.outputs import OUTPUT_NAMES, Kind, Output
from pilotage_server.serve.replies import JSON, Headers


class InferWriter:
    """Writes infer answers of one model: the same bytes as orjson would for the whole document, most of them ready."""

    def __init__(self, model: ServedModel) -> None:
        self._labels = [orjson.dumps(label) for label in model.labels]
        self._head = orjson.dumps({"model_name": model.name, "model_version": model.revision})[:-1]
        datatypes = {
            Kind.PREDICT_PROBA: ("FP64", b",%d]" % len(model.labels)),
            Kind.PREDICT: (model.label_datatype, b"]"),
            Kind.DECISION: ("BYTES", b"]"),
        }
        self._described = {
            name: (
                b'{"name":"%b","datatype":"%b","shape":[' % (name.encode(), datatypes[kind][0].encode()),
                datatypes[kind][1],
            )
            for name, kind in OUTPUT_NAMES.items()
        }
        self._model = model

    def write(self, request: InferRequest, answered: Answered) -> tuple[Headers, bytes]:
        """Write the outputs asked for, in row-major order; binary ones stand behind the JSON."""
        parts = [self._head]
        if request.id is not None:
            parts += b',"id":', orjson.dumps(request.id)
        if answered.parameters:
            parts += b',"parameters":', orjson.dumps(answered.parameters)
        tails: list[bytes] = []
        outputs = b",".join([self._output(output, answered.predictions, tails) for output in request.outputs])
        document = b'%b,"outputs":[%b]}' % (b"".join(parts), outputs)
        if not tails:
            return JSON, document
        headers = ((b"content-type", b"application/octet-stream"), (JSON_LENGTH, b"%d" % len(document)))
        return headers, b"".join((document, *tails))

    def _output(self, output: Output, predictions: Predictions, tails: list[bytes]) -> bytes:
        """Write one output; the values of a binary one go to `tails`."""
        name, inner = self._described[output.name]
        if output.binary:
            tails.append(self._packed(output.kind, predictions))
            key, value = b"parameters", b'{"binary_data_size":%d}' % len(tails[-1])
        else:
            key, value = b"data", self._listed(output.kind, predictions)
        return b'%b%d%b,"%b":%b}' % (name, len(predictions.predicted), inner, key, value)

    def _packed(self, kind: Kind, predictions: Predictions) -> bytes:
        match kind:
            case Kind.PREDICT_PROBA:
                return predictions.probabilities.astype("<f8", copy=False).tobytes()
            case Kind.PREDICT:
                return packed_labels(self._model, predictions.predicted)
            case Kind.DECISION:
                return packed_texts(self._model.decided(predictions))

    def _listed(self, kind: Kind, predictions: Predictions) -> bytes:
        match kind:
            case Kind.PREDICT_PROBA:
                return orjson.dumps(predictions.probabilities.reshape(-1), option=orjson.OPT_SERIALIZE_NUMPY)
            case Kind.PREDICT:
                return b"[%b]" % b",".join([self._labels[index] for index in predictions.predicted.tolist()])
            case Kind.DECISION:
                return orjson.dumps(self._model.decided(predictions))


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
