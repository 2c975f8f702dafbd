"""Request bodies into rows: the Open Inference Protocol V2 in JSON, checked in full before anything joins a
batch.

A request is one matrix [n, F] under any name, or one tensor [n] (or [n, 1]) per feature under the features'
names. Values must be finite numbers that fit their datatype. Bytes in, frozen values out; every complaint is
a `Rejected` that says which tensor, what it is, what it should be. Source: kserve/open-inference-protocol,
inference_rest.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from pilotage_server.document import nearest
from pilotage_server.serve.errors import Reason, Rejected

PREDICT: Final = "predict"
PREDICT_PROBA: Final = "predict_proba"
OUTPUTS: Final = (PREDICT, PREDICT_PROBA)
_FLOATS: Final[Mapping[str, Any]] = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
_INTEGERS: Final[Mapping[str, Any]] = {
    name: np.dtype(name.lower()) for name in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
}
_DATATYPES: Final = (*_FLOATS, *_INTEGERS, "BOOL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a model takes: its features in column order, and how many rows one request may have."""

    features: tuple[str, ...]
    max_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """A checked request.

    Rows [n, F] (float64, finite, 1 ≤ n ≤ max_rows) and the outputs it asks for, in order.
    """

    id: str | None
    rows: NDArray[np.float64]
    outputs: tuple[str, ...]


def read_infer(body: bytes, signature: Signature) -> InferRequest:
    """Read one infer request; raises `Rejected`."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Rejected(Reason.BODY, f"body: is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise Rejected(Reason.BODY, 'body: is not an object; send {"inputs": [...]}')
    identity = document.get("id")
    if identity is not None and not (isinstance(identity, str) and len(identity) <= 1_024):
        raise Rejected(Reason.BODY, "id: is not a text of at most 1024 characters")
    _refuse_binary(document, "parameters")
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise Rejected(Reason.BODY, "inputs: is missing or empty; send a list of tensors")
    return InferRequest(id=identity, rows=_rows(inputs, signature), outputs=_outputs(document.get("outputs")))


def _refuse_binary(holder: Mapping[str, Any], key: str) -> None:
    parameters = holder.get(key)
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        raise Rejected(Reason.BODY, f"{key}: is not an object")
    for name in ("binary_data_output", "binary_data", "binary_data_size"):
        if parameters.get(name):
            raise Rejected(
                Reason.ENCODING,
                f"{key}.{name}: this server speaks JSON tensors only; send and ask for binary_data=False",
            )


def _outputs(wanted: Any) -> tuple[str, ...]:
    if wanted is None or wanted == []:
        return OUTPUTS
    if not isinstance(wanted, list):
        raise Rejected(Reason.OUTPUT, "outputs: is not a list")
    names = []
    for i, output in enumerate(wanted):
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str) or name not in OUTPUTS:
            hint = nearest(str(name)[:64], OUTPUTS)
            raise Rejected(Reason.OUTPUT, f"outputs[{i}]: {str(name)[:64]!r} is no output of this model; {hint}")
        _refuse_binary(output, "parameters")
        names.append(name)
    return tuple(dict.fromkeys(names))


def _rows(inputs: list[Any], signature: Signature) -> NDArray[np.float64]:
    width = len(signature.features)
    if len(inputs) > width + 1:
        raise Rejected(
            Reason.FEATURE, f"inputs: {len(inputs)} tensors; send one matrix [n, {width}], or one per feature"
        )
    tensors = [_Tensor.read(item, i) for i, item in enumerate(inputs)]
    if len(tensors) == 1 and (tensors[0].name not in signature.features or len(tensors[0].shape) == 2):
        return _matrix(tensors[0], signature)
    return _columns(tensors, signature)


def _matrix(tensor: _Tensor, signature: Signature) -> NDArray[np.float64]:
    width = len(signature.features)
    if len(tensor.shape) != 2 or tensor.shape[1] != width:
        raise Rejected(
            Reason.SHAPE, f"{tensor.label}: shape {list(tensor.shape)}; this model takes [n, {width}], one row per case"
        )
    _check_count(tensor, signature.max_rows)
    return tensor.values().reshape(tensor.shape)


def _columns(tensors: Sequence[_Tensor], signature: Signature) -> NDArray[np.float64]:
    by_name: dict[str, _Tensor] = {}
    for tensor in tensors:
        if tensor.name not in signature.features:
            hint = nearest(tensor.name, signature.features) if len(signature.features) <= 100 else "see the metadata"
            raise Rejected(Reason.FEATURE, f"{tensor.label}: is no feature of this model; {hint}")
        if tensor.name in by_name:
            raise Rejected(Reason.FEATURE, f"{tensor.label}: occurs twice")
        by_name[tensor.name] = tensor
    missing = [name for name in signature.features if name not in by_name]
    if missing:
        shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise Rejected(
            Reason.FEATURE,
            f"inputs: {len(missing)} features are missing ({shown}); "
            f"send all, or one matrix [n, {len(signature.features)}]",
        )
    count = tensors[0].shape[0] if tensors[0].shape else 0
    for tensor in tensors:
        if tensor.shape not in ((count,), (count, 1)):
            raise Rejected(
                Reason.SHAPE, f"{tensor.label}: shape {list(tensor.shape)}; every feature must be [n], equal n"
            )
    _check_count(tensors[0], signature.max_rows)
    return np.column_stack([by_name[name].values().reshape(-1) for name in signature.features])


def _check_count(tensor: _Tensor, max_rows: int) -> None:
    rows = tensor.shape[0]
    if rows < 1:
        raise Rejected(Reason.SHAPE, f"{tensor.label}: shape {list(tensor.shape)} has no rows; send at least one")
    if rows > max_rows:
        message = f"{tensor.label}: {rows} rows; at most {max_rows} in one request, split it"
        raise Rejected(Reason.SIZE, message, status=413)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """One input tensor: names and shape are checked, values are when they are asked for."""

    label: str
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any

    @classmethod
    def read(cls, item: Any, i: int) -> _Tensor:
        if not isinstance(item, dict):
            raise Rejected(Reason.BODY, f"inputs[{i}]: is not an object with name, datatype, shape and data")
        name, datatype, shape = item.get("name"), item.get("datatype"), item.get("shape")
        if not isinstance(name, str) or not 0 < len(name) <= 256:
            raise Rejected(Reason.BODY, f"inputs[{i}].name: is missing, or no text of 1 to 256 characters")
        label = f"inputs[{i}] {name!r}"
        _refuse_binary(item, "parameters")
        if not isinstance(datatype, str) or datatype not in _DATATYPES:
            raise Rejected(
                Reason.DTYPE, f"{label}: datatype {str(datatype)[:32]!r}; this model takes {', '.join(_DATATYPES)}"
            )
        if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
            raise Rejected(Reason.SHAPE, f"{label}: shape is missing, or no list of whole numbers such as [1, 4]")
        if "data" not in item:
            raise Rejected(Reason.BODY, f"{label}: data is missing")
        return cls(label=label, name=name, datatype=datatype, shape=tuple(shape), data=item["data"])

    def values(self) -> NDArray[np.float64]:
        """Give the values in row-major order, [prod(shape)]; raises `Rejected`."""
        if not isinstance(self.data, list):
            raise Rejected(Reason.BODY, f"{self.label}: data is not a list")
        try:
            found = np.array(self.data)
        except (ValueError, OverflowError) as error:
            raise Rejected(Reason.SHAPE, f"{self.label}: data is ragged; rows must have one length") from error
        if found.size != math.prod(self.shape) or (found.ndim > 1 and found.shape != self.shape):
            held = f"{found.size} values" if found.ndim <= 1 else f"shape {list(found.shape)}"
            raise Rejected(Reason.SHAPE, f"{self.label}: shape {list(self.shape)} but data has {held}; make them agree")
        values = self._cast(found).reshape(-1)
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise Rejected(
                Reason.VALUE, f"{self.label}: value {at} is not finite as {self.datatype}; send finite numbers"
            )
        return values

    def _cast(self, found: NDArray[Any]) -> NDArray[np.float64]:
        """Turn what JSON held into float64 by way of the datatype, without bending a value in silence."""
        kind = found.dtype.kind
        if kind not in "iufb" or (kind == "b") != (self.datatype == "BOOL"):
            held = {"b": "booleans", "U": "texts", "O": "null, or values of several kinds"}.get(kind, "no numbers")
            raise Rejected(Reason.DTYPE, f"{self.label}: datatype {self.datatype}, but data holds {held}; send numbers")
        if self.datatype in _FLOATS:
            if self.datatype == "FP64":
                return found.astype(np.float64, copy=False)
            with np.errstate(over="ignore"):  # what overflows becomes infinite, and is rejected as such
                return found.astype(_FLOATS[self.datatype]).astype(np.float64)
        if self.datatype in _INTEGERS:
            if kind == "f":
                raise Rejected(
                    Reason.DTYPE, f"{self.label}: datatype {self.datatype}, but data has fractions; send FP64"
                )
            limits = np.iinfo(_INTEGERS[self.datatype])
            if int(found.min()) < limits.min or int(found.max()) > limits.max:
                raise Rejected(Reason.VALUE, f"{self.label}: a value is outside [{limits.min}, {limits.max}]")
        return found.astype(np.float64)
