"""Infer requests: a body into rows that are safe to predict and the outputs asked for, checked in full.

A request is one matrix [n, F] under any name, or one tensor [n] (or [n, 1]) per feature under the features'
names. Tensors of features speak the data's words (texts of categories); a matrix holds the model's own rows (codes), or
is of BYTES and holds cells as a table does. Bytes in, frozen values out; complaints are `Rejected`, with the remedy.
Source: kserve/open-inference-protocol, inference_rest.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pilotage_server.document import nearest
from pilotage_server.serve.body import Body
from pilotage_server.serve.columns import Column, Place
from pilotage_server.serve.errors import Reason, Rejected
from pilotage_server.serve.model import ServedModel
from pilotage_server.serve.outputs import Output, read_flag, read_outputs
from pilotage_server.serve.plain import read_plain
from pilotage_server.serve.settings import Limits
from pilotage_server.serve.tensors import TEXTS, Tail, Tensor, parameters_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a model takes: its features in column order, and how many rows one request may have.

    `columns`: how to read each feature; empty where all are numbers without gaps, which need no reading.
    """

    features: tuple[str, ...]
    max_rows: int
    columns: tuple[Column, ...] = ()

    @classmethod
    def of(cls, model: ServedModel, limits: Limits) -> Signature:
        """What a served model takes under these limits."""
        described = model.bundle.manifest.features
        features = tuple(feature.name for feature in described)
        plain = not any(feature.categories or feature.missing for feature in described)
        columns = () if plain else tuple(map(Column.of, described))
        return cls(features=features, max_rows=limits.rows, columns=columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """A checked request.

    Rows [n, F] (float64, finite or NaN where a gap is allowed, 1 ≤ n ≤ max_rows) and the outputs it asks for, in order.
    `parameters`: as sent, where slices may be declared.
    """

    id: str | None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rows: NDArray[np.float64]
    outputs: tuple[Output, ...]


def read_infer(body: Body, signature: Signature) -> InferRequest:
    """Read one infer request; raises `Rejected`."""
    document = read_object(body.json, 'body: is not an object; send {"inputs": [...]}')
    identity = document.get("id")
    if identity is not None and not (isinstance(identity, str) and len(identity) <= 1_024):
        raise Rejected(Reason.BODY, "id: is not a text of at most 1024 characters")
    parameters = parameters_of(document, "parameters")
    binary = read_flag(parameters, "binary_data_output", "parameters", default=False)
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise Rejected(Reason.BODY, "inputs: is missing or empty; send a list of tensors")
    return InferRequest(
        id=identity,
        parameters=parameters,
        rows=read_tensors(inputs, body.tail, signature),
        outputs=read_outputs(document.get("outputs"), binary=binary),
    )


def read_object(content: bytes, remedy: str) -> Mapping[str, Any]:
    """Parse a JSON object; raises `Rejected`."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Rejected(Reason.BODY, f"body: is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise Rejected(Reason.BODY, remedy)
    return document


def read_tensors(inputs: list[Any], binary: bytes, signature: Signature) -> NDArray[np.float64]:
    """Rows [n, F] of input tensors and the bytes behind them; raises `Rejected`."""
    width = len(signature.features)
    if len(inputs) > width + 1:
        raise Rejected(
            Reason.FEATURE, f"inputs: {len(inputs)} tensors; send one matrix [n, {width}], or one per feature"
        )
    if len(inputs) == 1 and not binary and (width > 1 or not signature.columns):
        plain = read_plain(inputs[0], width, signature.max_rows)
        if plain is not None:
            return _allowed(plain, signature, f"inputs[0] {inputs[0]['name']!r}") if signature.columns else plain
    tail = Tail(binary)
    tensors = [Tensor.read(item, i, tail) for i, item in enumerate(inputs)]
    tail.check_empty()
    name, shape = tensors[0].name, tensors[0].shape
    if len(tensors) == 1 and (name not in signature.features or (len(shape) == 2 and width > 1)):
        return _matrix(tensors[0], signature)
    return _columns(tensors, signature)


def _matrix(tensor: Tensor, signature: Signature) -> NDArray[np.float64]:
    width = len(signature.features)
    if len(tensor.shape) != 2 or tensor.shape[1] != width:
        raise Rejected(
            Reason.SHAPE, f"{tensor.label}: shape {list(tensor.shape)}; this model takes [n, {width}], one row per case"
        )
    check_count(tensor.shape[0], signature.max_rows, tensor.label)
    if not signature.columns:
        return tensor.values().reshape(tensor.shape)
    if tensor.datatype == TEXTS:
        places = [_in_matrix(tensor.label, column) for column in signature.columns]
        return read_by_place(tensor.cells(), signature, places)
    return _allowed(tensor.values(gaps=True).reshape(tensor.shape), signature, tensor.label)


def _allowed(rows: NDArray[np.float64], signature: Signature, label: str) -> NDArray[np.float64]:
    """Rows of a matrix, once their gaps and codes have been found to be allowed; raises `Rejected`."""
    has_gaps = bool(np.isnan(rows).any())
    for values, column in zip(rows.T, signature.columns, strict=True):
        if has_gaps:
            column.check_gaps(values, _in_matrix(label, column))
        if column.has_categories:
            column.check_codes(values, _in_matrix(label, column))
    return rows


def read_by_place(cells: Sequence[Any], signature: Signature, places: Sequence[Place]) -> NDArray[np.float64]:
    """Rows [n, F] of mixed cells in row-major order: texts, numbers and gaps; raises `Rejected`."""
    width = len(signature.features)
    columns = enumerate(zip(signature.columns, places, strict=True))
    return np.column_stack([column.read(cells[i::width], place, by_place=True) for i, (column, place) in columns])


def _in_matrix(label: str, column: Column) -> Place:
    return lambda row: f"{label}: row {row}, {column.name!r}"


def _columns(tensors: Sequence[Tensor], signature: Signature) -> NDArray[np.float64]:
    by_name: dict[str, Tensor] = {}
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
    check_count(count, signature.max_rows, tensors[0].label)
    if not signature.columns:
        return np.column_stack([by_name[name].values().reshape(-1) for name in signature.features])
    return np.column_stack([_column(by_name[column.name], column) for column in signature.columns])


def _column(tensor: Tensor, column: Column) -> NDArray[np.float64]:
    """One feature's values [n]."""

    def place(row: int) -> str:
        return f"{tensor.label}: value {row}"

    if not column.has_categories:
        if tensor.datatype == TEXTS:
            text = f"{tensor.label}: datatype 'BYTES', but {column.name!r} is a number; send FP64"
            raise Rejected(Reason.DTYPE, text)
        values = tensor.values(gaps=True)
        column.check_gaps(values, place)
        return values
    if tensor.datatype == TEXTS:
        return column.read(tensor.cells(), place)
    written: list[Any] = tensor.values(gaps=True).tolist()
    if tensor.datatype == "BOOL":
        written = [value if value != value else bool(value) for value in written]
    return column.read(written, place)


def check_count(rows: int, max_rows: int, label: str) -> None:
    """Raise `Rejected` unless 1 ≤ rows ≤ max_rows."""
    if rows < 1:
        raise Rejected(Reason.SHAPE, f"{label}: has no rows; send at least one")
    if rows > max_rows:
        message = f"{label}: {rows} rows; at most {max_rows} in one request, split it"
        raise Rejected(Reason.SIZE, message, status=413)
