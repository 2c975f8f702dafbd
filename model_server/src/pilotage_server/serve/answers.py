"""Answers as bytes: inference, metadata, health and errors of the Open Inference Protocol V2. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from pilotage_server import __version__
from pilotage_server.serve.model import Predictions, ServedModel
from pilotage_server.serve.tensors import PREDICT, InferRequest

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

    def write(self, request: InferRequest, predictions: Predictions, token: str | None) -> bytes:
        """Write the outputs asked for, in row-major order, with the feedback token if there is one."""
        answer: dict[str, Any] = dict(self._head)
        if request.id is not None:
            answer["id"] = request.id
        if token is not None:
            answer["parameters"] = {"feedback_token": token}
        answer["outputs"] = [self._output(name, predictions) for name in request.outputs]
        return orjson.dumps(answer, option=_OPTIONS)

    def _output(self, name: str, predictions: Predictions) -> dict[str, Any]:
        rows = len(predictions.predicted)
        if name == PREDICT:
            labels = self._labels
            data = [labels[index] for index in predictions.predicted.tolist()]
            return {"name": name, "datatype": self._datatype, "shape": [rows], "data": data}
        flat = predictions.probabilities.reshape(-1)
        return {"name": name, "datatype": "FP64", "shape": [rows, self._classes], "data": flat}


def server_metadata() -> bytes:
    """`GET /v2`."""
    return orjson.dumps({"name": "pilotage-server", "version": __version__, "extensions": ["feedback"]})


def model_metadata(model: ServedModel) -> bytes:
    """`GET /v2/models/<model>`; `parameters` hold texts and numbers only, as the protocol asks."""
    manifest = model.bundle.manifest
    parameters: Mapping[str, str] = {
        "bundle_version": manifest.version,
        "bundle_digest": f"sha256:{model.bundle.digest}",
        "backend": str(manifest.backend),
        "signed_by": model.bundle.signer,
        "classes": orjson.dumps(manifest.classes).decode(),
        "features": orjson.dumps([feature.name for feature in manifest.features]).decode(),
    }
    return orjson.dumps(
        {
            "name": model.name,
            "versions": [model.revision],
            "platform": f"pilotage_{manifest.backend.value.partition('-')[0]}",
            "inputs": [{"name": "input", "datatype": "FP64", "shape": [-1, len(manifest.features)]}],
            "outputs": [
                {"name": "predict", "datatype": model.label_datatype, "shape": [-1]},
                {"name": "predict_proba", "datatype": "FP64", "shape": [-1, len(manifest.classes)]},
            ],
            "parameters": parameters,
        }
    )
