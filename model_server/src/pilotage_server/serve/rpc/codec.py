"""gRPC messages to the same requests and answers as JSON has: one set of rules, one set of complaints.

Tensors come as typed contents or as raw little-endian bytes, never both; an answer is raw exactly when its request
was. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pilotage_server.serve.answers import packed_labels, packed_texts
from pilotage_server.serve.errors import Reason, Rejected
from pilotage_server.serve.infer import InferRequest, Signature, read_tensors
from pilotage_server.serve.inference import Answered
from pilotage_server.serve.metadata import model_metadata
from pilotage_server.serve.model import Predictions, ServedModel
from pilotage_server.serve.outputs import Kind, read_outputs
from pilotage_server.serve.rpc.messages import message

_CONTENTS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def read_request(request: Any, signature: Signature) -> InferRequest:
    """Check a `ModelInferRequest`; raises `Rejected`."""
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise Rejected(
            Reason.BODY, f"raw_input_contents: {len(raw)} for {len(request.inputs)} inputs; send one for each, or none"
        )
    if not request.inputs:
        raise Rejected(Reason.BODY, "inputs: is empty; send a tensor")
    inputs = [_tensor(tensor, raw[i] if raw else None) for i, tensor in enumerate(request.inputs)]
    outputs = [{"name": output.name} for output in request.outputs]
    return InferRequest(
        id=request.id or None,
        parameters={
            name: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
            for name, value in request.parameters.items()
        },
        rows=read_tensors(inputs, b"".join(raw), signature),
        outputs=read_outputs(outputs, binary=bool(raw)),
    )


def write_answer(model: ServedModel, request: InferRequest, answered: Answered) -> Any:
    """A `ModelInferResponse`."""
    response = message("ModelInferResponse")(
        model_name=model.name, model_version=model.revision, id=request.id or "", parameters=_parameters(answered)
    )
    predictions = answered.predictions
    for output in request.outputs:
        tensor, content = response.outputs.add(name=output.name), _content(model, output.kind, predictions)
        tensor.datatype = content.datatype
        tensor.shape.extend(content.shape)
        if output.binary:
            response.raw_output_contents.append(content.packed)
        else:
            getattr(tensor.contents, content.field).extend(content.values)
    return response


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    datatype: str
    shape: tuple[int, ...]
    field: str
    values: Any
    packed: bytes


def _content(model: ServedModel, kind: Kind, predictions: Predictions) -> _Content:
    rows = len(predictions.predicted)
    match kind:
        case Kind.PREDICT_PROBA:
            flat = predictions.probabilities.astype("<f8", copy=False)
            shape, packed = (rows, flat.shape[1]), flat.tobytes()
            return _Content(datatype="FP64", shape=shape, field="fp64_contents", values=flat.reshape(-1), packed=packed)
        case Kind.PREDICT if model.label_datatype == "INT64":
            packed = packed_labels(model, predictions.predicted)
            labels = [model.labels[index] for index in predictions.predicted.tolist()]
            return _Content(datatype="INT64", shape=(rows,), field="int64_contents", values=labels, packed=packed)
        case Kind.PREDICT:
            texts = [str(model.labels[index]) for index in predictions.predicted.tolist()]
        case Kind.DECISION:
            texts = model.decided(predictions)
    values = [text.encode() for text in texts]
    return _Content(datatype="BYTES", shape=(rows,), field="bytes_contents", values=values, packed=packed_texts(texts))


def write_metadata(model: ServedModel) -> Any:
    """A `ModelMetadataResponse`."""
    described = model_metadata(model)
    return message("ModelMetadataResponse")(**{key: value for key, value in described.items() if key != "parameters"})


def _tensor(tensor: Any, raw: bytes | None) -> dict[str, Any]:
    described: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    if raw is not None:
        return described | {"parameters": {"binary_data_size": len(raw)}}
    field = _CONTENTS.get(tensor.datatype)
    return described | {"data": list(getattr(tensor.contents, field)) if field else []}


def _parameters(answered: Answered) -> dict[str, Any]:
    parameter = message("InferParameter")
    return {
        name: parameter(bool_param=value) if isinstance(value, bool) else parameter(string_param=value)
        for name, value in answered.parameters.items()
    }
