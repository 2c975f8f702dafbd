"""The messages of the Open Inference Protocol over gRPC, built from one table instead of generated code.

Names, numbers and types are the protocol's (package `inference`), and those of `grpc.health.v1`; what is not listed
is not in it. Field types are protobuf's own names; `*` marks a repeated field, `map` one from text to InferParameter.
Source: kserve/open-inference-protocol, open_inference_grpc.proto; grpc/grpc, health.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE: Final = "inference.GRPCInferenceService"
HEALTH_SERVICE: Final = "grpc.health.v1.Health"
SERVING: Final = 1
NOT_SERVING: Final = 2
SERVICE_UNKNOWN: Final = 3
_PACKAGE: Final = "inference"

_Fields = Mapping[str, tuple[int, str]]
_TENSOR: Final[_Fields] = {
    "name": (1, "string"),
    "datatype": (2, "string"),
    "shape": (3, "*int64"),
    "parameters": (4, "map"),
    "contents": (5, "InferTensorContents"),
}
_DESCRIBED: Final[_Fields] = {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "*int64")}
_MODEL: Final[_Fields] = {"name": (1, "string"), "version": (2, "string")}
_MESSAGES: Final[Mapping[str, _Fields]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ModelReadyRequest": _MODEL,
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": (1, "string"), "version": (2, "string"), "extensions": (3, "*string")},
    "ModelMetadataRequest": _MODEL,
    "ModelMetadataResponse.TensorMetadata": _DESCRIBED,
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "*string"),
        "platform": (3, "string"),
        "inputs": (4, "*ModelMetadataResponse.TensorMetadata"),
        "outputs": (5, "*ModelMetadataResponse.TensorMetadata"),
    },
    "InferParameter": {
        "bool_param": (1, "bool"),
        "int64_param": (2, "int64"),
        "string_param": (3, "string"),
        "double_param": (4, "double"),
        "uint64_param": (5, "uint64"),
    },
    "InferTensorContents": {
        "bool_contents": (1, "*bool"),
        "int_contents": (2, "*int32"),
        "int64_contents": (3, "*int64"),
        "uint_contents": (4, "*uint32"),
        "uint64_contents": (5, "*uint64"),
        "fp32_contents": (6, "*float"),
        "fp64_contents": (7, "*double"),
        "bytes_contents": (8, "*bytes"),
    },
    "ModelInferRequest.InferInputTensor": _TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": {"name": (1, "string"), "parameters": (2, "map")},
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "map"),
        "inputs": (5, "*ModelInferRequest.InferInputTensor"),
        "outputs": (6, "*ModelInferRequest.InferRequestedOutputTensor"),
        "raw_input_contents": (7, "*bytes"),
    },
    "ModelInferResponse.InferOutputTensor": _TENSOR,
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "map"),
        "outputs": (5, "*ModelInferResponse.InferOutputTensor"),
        "raw_output_contents": (6, "*bytes"),
    },
}
_ONE_OF: Final = {"InferParameter": "parameter_choice"}
_PARENTS: Final = tuple(name for name in _MESSAGES if "." not in name)


def _scalar(kind: str) -> int | None:
    return getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind.upper()}", None)


def _field(message: Any, name: str, number: int, kind: str) -> None:
    field, plain = message.field.add(), kind.removeprefix("*")
    field.name, field.number = name, number
    field.label = field.LABEL_REPEATED if kind != plain or kind == "map" else field.LABEL_OPTIONAL
    scalar = _scalar(plain)
    if kind == "map":
        entry = message.nested_type.add()
        entry.name, entry.options.map_entry = f"{name.capitalize()}Entry", True
        _field(entry, "key", 1, "string")
        _field(entry, "value", 2, "InferParameter")
        # Protobuf finds nested names from the inside out, so the entry's bare name will do.
        field.type, field.type_name = field.TYPE_MESSAGE, entry.name
    elif scalar is not None:
        field.type = scalar
    else:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{plain}"


def _describe() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="pilotage/open_inference.proto", package=_PACKAGE, syntax="proto3")
    for parent in _PARENTS:
        message = file.message_type.add()
        message.name = parent
        if parent in _ONE_OF:
            message.oneof_decl.add().name = _ONE_OF[parent]
        for child in (name for name in _MESSAGES if name.startswith(f"{parent}.")):
            nested = message.nested_type.add()
            nested.name = child.partition(".")[2]
            for name, (number, kind) in _MESSAGES[child].items():
                _field(nested, name, number, kind)
        for name, (number, kind) in _MESSAGES[parent].items():
            _field(message, name, number, kind)
            if parent in _ONE_OF:
                message.field[-1].oneof_index = 0
    return file


def _describe_health() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="pilotage/health.proto", package="grpc.health.v1", syntax="proto3")
    asked, told = file.message_type.add(), file.message_type.add()
    asked.name, told.name = "HealthCheckRequest", "HealthCheckResponse"
    _field(asked, "service", 1, "string")
    _field(told, "status", 1, "int32")  # an enum on paper; both travel as one varint
    return file


# A pool of our own: a client library in the same process registers the same names in the default one.
_pool = descriptor_pool.DescriptorPool()
_pool.Add(_describe())
_pool.Add(_describe_health())


def message(name: str) -> Any:
    """The class of a message by its name in the protocol; raises KeyError for others."""
    package = "grpc.health.v1" if name.startswith("HealthCheck") else _PACKAGE
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{package}.{name}"))
