"""The older `:predict` protocol of TensorFlow Serving and KServe, for clients that speak nothing newer.

`{"instances": [[…], …]}` becomes `{"predictions": [class, …]}`; no probabilities, no binary tensors. An instance is a
row [F], or an object with a value per feature: texts of categories, numbers, null for a gap where one is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pilotage_server.serve.body import Body
from pilotage_server.serve.columns import Column, Place
from pilotage_server.serve.errors import Reason, Rejected
from pilotage_server.serve.infer import Signature, check_count, read_by_place, read_object, read_tensors
from pilotage_server.serve.inference import Answered
from pilotage_server.serve.model import ServedModel


def read_v1(body: Body, signature: Signature) -> NDArray[np.float64]:
    """Rows [n, F] of a request; raises `Rejected`."""
    document = read_object(body.json, 'body: is not an object; send {"instances": [[...]]}')
    instances = document.get("instances")
    if not isinstance(instances, list) or not instances:
        raise Rejected(Reason.BODY, "instances: is missing or empty; send a list of rows")
    if signature.columns:
        return _mixed(instances, signature)
    if isinstance(instances[0], dict):
        instances = [_ordered(instance, signature.features, i) for i, instance in enumerate(instances)]
    shape = [len(instances), len(signature.features)]
    return read_tensors([{"name": "instances", "datatype": "FP64", "shape": shape, "data": instances}], b"", signature)


def _mixed(instances: list[Any], signature: Signature) -> NDArray[np.float64]:
    """Rows of a model with texts or gaps."""
    check_count(len(instances), signature.max_rows, "instances")
    places = [_in_instances(column) for column in signature.columns]
    if isinstance(instances[0], dict):
        rows = [_ordered(instance, signature.features, i) for i, instance in enumerate(instances)]
        columns = zip(zip(*rows, strict=True), signature.columns, places, strict=True)
        return np.column_stack([column.read(cells, place) for cells, column, place in columns])
    width = len(signature.features)
    for i, instance in enumerate(instances):
        if not isinstance(instance, list) or len(instance) != width:
            raise Rejected(Reason.SHAPE, f"instances[{i}]: is not a row of {width} values, one per feature")
    return read_by_place([cell for instance in instances for cell in instance], signature, places)


def _in_instances(column: Column) -> Place:
    return lambda row: f"instances[{row}], {column.name!r}"


def write_v1(model: ServedModel, answered: Answered) -> bytes:
    """Predictions in the order of the instances, and the feedback token beside them."""
    labels = model.labels
    predictions = [labels[index] for index in answered.predictions.predicted.tolist()]
    return orjson.dumps({"predictions": predictions, **answered.parameters})


def _ordered(instance: Any, features: Sequence[str], i: int) -> list[Any]:
    if not isinstance(instance, dict) or instance.keys() != set(features):
        raise Rejected(Reason.FEATURE, f"instances[{i}]: is not an object with exactly this model's features")
    return [instance[name] for name in features]
