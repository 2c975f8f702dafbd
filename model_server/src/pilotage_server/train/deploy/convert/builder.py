"""Nodes of an ONNX graph, one after the other; equal calls give equal bytes.

Knows ONNX and arrays, nothing of scikit-learn. An input of a node is another node's value or an array, which becomes
an initializer (one per distinct content). What the output does not need is left out.
"""

from __future__ import annotations

from typing import Any, NewType

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pilotage_server.bundle.predictor import PROBABILITIES

Value = NewType("Value", str)
"""The result of a node, by its name in the graph."""

OPSETS = {"": 21, "ai.onnx.ml": 5}
"""The oldest operator sets that have the tree ensemble with double leaves; ONNX 1.16 brought both."""

_IR_VERSION = 10
_INPUT = Value("input")


class NoOnnx(Exception):
    """A step has no exact form in ONNX. The message says which, and why."""


class Graph:
    """A graph under construction over one input, rows [n, width] in double precision."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}

    @property
    def rows(self) -> Value:
        """The input."""
        return _INPUT

    def add(self, kind: str, *inputs: Value | NDArray[Any] | float, domain: str = "", **attributes: Any) -> Value:
        """Append a node of an operator; gives its one output. Numbers and arrays are taken as they are."""
        output = Value(f"v{len(self._nodes)}")
        names = [each if isinstance(each, str) else self._constant(np.asarray(each)) for each in inputs]
        self._nodes.append(helper.make_node(kind, names, [output], domain=domain, **attributes))
        return output

    def cast(self, value: Value, dtype: type[np.generic]) -> Value:
        """Append a change of type."""
        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def sum(self, value: Value, axis: int, *, keep: bool = False) -> Value:
        """Append a sum over one axis."""
        return self.add("ReduceSum", value, np.array([axis]), keepdims=int(keep))

    def columns(self, value: Value, indices: NDArray[np.int64]) -> Value:
        """Append a choice of columns."""
        return self.add("Gather", value, np.asarray(indices, dtype=np.int64), axis=1)

    def side_by_side(self, *values: Value) -> Value:
        """Append matrices to each other, column by column."""
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=1)

    def model(self, output: Value, classes: int) -> bytes:
        """Finish: `output` becomes the probabilities [n, classes]. Checked, and serialised deterministically."""
        self._nodes.append(helper.make_node("Identity", [output], [PROBABILITIES]))
        nodes = _needed(self._nodes)
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            "model",
            [helper.make_tensor_value_info(_INPUT, TensorProto.DOUBLE, [None, self._width])],
            [helper.make_tensor_value_info(PROBABILITIES, TensorProto.DOUBLE, [None, classes])],
            [tensor for tensor in self._constants.values() if tensor.name in used],
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="pilotage")
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _constant(self, values: NDArray[Any]) -> str:
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(np.ascontiguousarray(values), f"c{len(self._constants)}")
        return str(self._constants[key].name)


def _needed(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Those that the last one is made of, in their order."""
    wanted = set(nodes[-1].output)
    kept = []
    for node in reversed(nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]
