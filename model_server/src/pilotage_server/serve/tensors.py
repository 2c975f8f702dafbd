"""One input tensor: name, datatype and shape checked first, values when they are asked for.

Values come as a JSON list, flat or nested, or as raw little-endian bytes (the binary tensor extension; texts behind
their lengths). Numbers must be finite and fit their datatype; null and NaN are gaps, where the caller takes any. Every
complaint is a `Rejected` that says which tensor, what it is, what it should be. Source: kserve/open-inference-protocol,
inference_rest.md and its binary data extension.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pilotage_server.serve.errors import Reason, Rejected

_FLOATS: Final[Mapping[str, Any]] = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
_INTEGERS: Final[Mapping[str, Any]] = {
    name: np.dtype(name.lower()) for name in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
}
_WIRE: Final[Mapping[str, np.dtype[Any]]] = {
    **{name: np.dtype(kind).newbyteorder("<") for name, kind in {**_FLOATS, **_INTEGERS}.items()},
    "BOOL": np.dtype(np.uint8),
}
"""Datatypes of numbers, and how their values travel as bytes."""
TEXTS: Final = "BYTES"
_NO_GAPS: Final = "there were no gaps in training"


def parameters_of(holder: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    """Give the `parameters` of a request, a tensor or an output; empty where there are none."""
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise Rejected(Reason.BODY, f"{label}: is not an object")
    return parameters


class Tail:
    """The bytes behind the JSON, handed out tensor by tensor in the order of the inputs."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._taken = 0

    def take(self, size: Any, label: str) -> bytes:
        """Give the next `size` bytes; raises `Rejected`."""
        left = len(self._content) - self._taken
        if type(size) is not int or not 0 <= size <= left:
            raise Rejected(
                Reason.ENCODING,
                f"{label}: binary_data_size {str(size)[:32]}, but {left} bytes are left behind the JSON; "
                "send them, and inference-header-content-length",
            )
        self._taken += size
        return self._content[self._taken - size : self._taken]

    def check_empty(self) -> None:
        """Raise `Rejected` if bytes are left that belong to no tensor."""
        if self._taken != len(self._content):
            left = len(self._content) - self._taken
            raise Rejected(Reason.ENCODING, f"body: {left} bytes behind the JSON belong to no tensor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """`data`: what JSON held, or the bytes that stand for this tensor behind the JSON."""

    label: str
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any

    @classmethod
    def read(cls, item: Any, i: int, tail: Tail) -> Tensor:
        """Check the tensor at `inputs[i]`; binary values are taken off the tail. Raises `Rejected`."""
        if not isinstance(item, dict):
            raise Rejected(Reason.BODY, f"inputs[{i}]: is not an object with name, datatype, shape and data")
        name, datatype, shape = item.get("name"), item.get("datatype"), item.get("shape")
        if not isinstance(name, str) or not 0 < len(name) <= 256:
            raise Rejected(Reason.BODY, f"inputs[{i}].name: is missing, or no text of 1 to 256 characters")
        label = f"inputs[{i}] {name!r}"
        if not isinstance(datatype, str) or (datatype not in _WIRE and datatype != TEXTS):
            raise _no_datatype(label, datatype)
        if not isinstance(shape, list) or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
            raise Rejected(Reason.SHAPE, f"{label}: shape is missing, or no list of whole numbers such as [1, 4]")
        size = parameters_of(item, f"{label}: parameters").get("binary_data_size")
        if size is not None:
            data: Any = tail.take(size, label)
        elif "data" in item:
            data = item["data"]
        else:
            raise Rejected(Reason.BODY, f"{label}: data is missing")
        return cls(label=label, name=name, datatype=datatype, shape=tuple(shape), data=data)

    def values(self, *, gaps: bool = False) -> NDArray[np.float64]:
        """Give the numbers in row-major order, [prod(shape)]; NaN for gaps, if any are taken. Raises `Rejected`."""
        if self.datatype == TEXTS:
            raise _no_datatype(self.label, self.datatype)
        values = (self._unpacked() if isinstance(self.data, bytes) else self._listed(gaps)).reshape(-1)
        if not np.isfinite(values).all():
            self._check_finite(values, gaps)
        return values

    def cells(self) -> list[Any]:
        """Give what a tensor of texts holds in row-major order, [prod(shape)]; JSON may hold other values among them.

        Raises `Rejected`.
        """
        count = math.prod(self.shape)
        found = _unpacked_texts(self.data, count, self.label) if isinstance(self.data, bytes) else self._flattened()
        if len(found) != count:
            raise Rejected(
                Reason.SHAPE,
                f"{self.label}: shape {list(self.shape)} but data has {len(found)} values; make them agree",
            )
        return [_decoded(cell, self.label) for cell in found] if found and isinstance(found[0], bytes) else found

    def _flattened(self) -> list[Any]:
        if not isinstance(self.data, list):
            raise Rejected(Reason.BODY, f"{self.label}: data is not a list")
        if len(self.shape) < 2 or not self.data or not isinstance(self.data[0], list):
            return self.data
        if any(not isinstance(item, list) or len(item) != self.shape[1] for item in self.data):
            raise Rejected(Reason.SHAPE, f"{self.label}: data is ragged; rows must have one length")
        return [cell for item in self.data for cell in item]

    def _check_finite(self, values: NDArray[np.float64], gaps: bool) -> None:
        wrong = ~np.isfinite(values) if not gaps else np.isinf(values)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            reason, why = (Reason.MISSING, f" ({_NO_GAPS})") if np.isnan(values[at]) else (Reason.RANGE, "")
            text = f"{self.label}: value {at} is not finite as {self.datatype}{why}; send finite numbers"
            raise Rejected(reason, text)

    def _unpacked(self) -> NDArray[np.float64]:
        wire, count = _WIRE[self.datatype], math.prod(self.shape)
        if len(self.data) != count * wire.itemsize:
            raise Rejected(
                Reason.SHAPE,
                f"{self.label}: shape {list(self.shape)} of {self.datatype} takes {count * wire.itemsize} bytes, "
                f"binary_data_size is {len(self.data)}; make them agree",
            )
        found = np.frombuffer(self.data, dtype=wire)
        if self.datatype == "BOOL" and (found > 1).any():
            raise Rejected(Reason.RANGE, f"{self.label}: a BOOL is neither 0 nor 1")
        with np.errstate(invalid="ignore"):  # NumPy warns of signalling NaNs: NaN is asked for elsewhere
            return found.astype(np.float64)

    def _listed(self, gaps: bool) -> NDArray[np.float64]:
        if not isinstance(self.data, list):
            raise Rejected(Reason.BODY, f"{self.label}: data is not a list")
        if _holds_texts(self.data):  # NumPy would give each of them the room of the longest
            raise self._no_numbers("texts")
        try:
            found = np.array(self.data)
        except (ValueError, OverflowError) as error:
            raise Rejected(Reason.SHAPE, f"{self.label}: data is ragged; rows must have one length") from error
        if found.size != math.prod(self.shape) or (found.ndim > 1 and found.shape != self.shape):
            held = f"{found.size} values" if found.ndim <= 1 else f"shape {list(found.shape)}"
            raise Rejected(Reason.SHAPE, f"{self.label}: shape {list(self.shape)} but data has {held}; make them agree")
        return self._cast(found) if found.dtype.kind != "O" else self._with_gaps(found.reshape(-1), gaps)

    def _with_gaps(self, found: NDArray[Any], gaps: bool) -> NDArray[np.float64]:
        """What JSON held with null in it: NaN there."""
        missing = np.array([cell is None for cell in found])
        if missing.any() and not gaps:
            at = int(np.flatnonzero(missing)[0])
            raise Rejected(Reason.MISSING, f"{self.label}: value {at} is null, and {_NO_GAPS}; send numbers")
        filling = False if self.datatype == "BOOL" else 0
        values = self._cast(np.array([filling if cell is None else cell for cell in found]))
        values[missing] = np.nan
        return values

    def _cast(self, found: NDArray[Any]) -> NDArray[np.float64]:
        """Turn what JSON held into float64 by way of the datatype, without bending a value in silence."""
        kind = found.dtype.kind
        if kind not in "iufb" or (kind == "b") != (self.datatype == "BOOL"):
            raise self._no_numbers({"b": "booleans", "O": "values of several kinds"}.get(kind, "no numbers"))
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
                raise Rejected(Reason.RANGE, f"{self.label}: a value is outside [{limits.min}, {limits.max}]")
        return found.astype(np.float64)

    def _no_numbers(self, held: str) -> Rejected:
        return Rejected(Reason.DTYPE, f"{self.label}: datatype {self.datatype}, but data holds {held}; send numbers")


def _holds_texts(data: list[Any]) -> bool:
    """Tell whether there is a text among values, however deep in lists."""
    kinds = set(map(type, data))
    while list in kinds and str not in kinds:
        data = list(chain.from_iterable(item for item in data if type(item) is list))
        kinds = set(map(type, data))
    return str in kinds


def _no_datatype(label: str, datatype: Any) -> Rejected:
    return Rejected(Reason.DTYPE, f"{label}: datatype {str(datatype)[:32]!r}; this model takes {', '.join(_WIRE)}")


def _unpacked_texts(data: bytes, count: int, label: str) -> list[bytes]:
    """Texts behind their lengths of 4 bytes, at most one more than `count`."""
    found: list[bytes] = []
    at = 0
    while at < len(data) and len(found) <= count:
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if at + 4 > len(data) or end > len(data):
            raise Rejected(
                Reason.ENCODING,
                f"{label}: text {len(found)} ends behind its {len(data)} bytes; BYTES are texts, each behind its "
                "length as 4 little-endian bytes",
            )
        found.append(data[at + 4 : end])
        at = end
    return found


def _decoded(text: bytes, label: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise Rejected(Reason.ENCODING, f"{label}: a text is not UTF-8 ({error.reason}); send UTF-8") from error
