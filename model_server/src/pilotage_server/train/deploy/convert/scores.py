"""What a classifier computes: a decision function, where it has one, and probabilities; and the links between them."""

from __future__ import annotations

from dataclasses import dataclass

from pilotage_server.train.deploy.convert.builder import Graph, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """`decision` [n, 1] of two classes or [n, K] of more, None without one; `probabilities` [n, K], None of margins."""

    decision: Value | None = None
    probabilities: Value | None = None


def two_columns(graph: Graph, positive: Value) -> Value:
    """Probabilities [n, 2] from those of the second class, [n, 1]."""
    return graph.side_by_side(graph.add("Sub", 1.0, positive), positive)


def normalised(graph: Graph, values: Value, classes: int) -> Value:
    """Values [n, K] divided by their sum; where all are 0, every class is equally probable."""
    total = graph.sum(values, 1, keep=True)
    none = graph.add("Equal", total, 0.0)
    return graph.add("Where", none, 1.0 / classes, graph.add("Div", values, total))


def from_logits(graph: Graph, decision: Value, classes: int) -> Value:
    """Probabilities of a decision function that is a log of odds: sigmoid of one column, softmax of several."""
    if classes == 2:
        return two_columns(graph, sigmoid(graph, decision))
    return graph.add("Softmax", decision, axis=1)


def sigmoid(graph: Graph, values: Value) -> Value:
    """1 / (1 + exp(−x)): ONNX Runtime's own sigmoid loses small probabilities (0 from x = −37 on)."""
    return graph.add("Div", 1.0, graph.add("Add", graph.add("Exp", graph.add("Neg", values)), 1.0))
