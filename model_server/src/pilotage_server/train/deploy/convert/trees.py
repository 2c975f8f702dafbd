"""Trees, forests and gradient boosting: equal to scikit-learn to the last bit, because every sum keeps its order.

scikit-learn's trees compare a value rounded to single precision with a threshold in double precision; so does this
graph. In a forest a leaf's weight is the number of its row in a table of distinct probabilities (most leaves are
pure: a forest of 15,000 leaves on digits has 10 rows), each tree has a target of its own, and the rows are added up
tree after tree in double precision. Ties between classes, which many trees' votes bring about all the time, are
therefore decided as in scikit-learn. Boosting adds its leaves' values in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from pilotage_server.train.deploy.convert.builder import Graph, NoOnnx, Value
from pilotage_server.train.deploy.convert.scores import Scores, from_logits

FORESTS = (RandomForestClassifier, ExtraTreesClassifier)
_AT_MOST = 0  # the mode of a node of ONNX that asks whether a value is ≤ its split


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Nodes of one tree, the root first: a value ≤ `threshold`, or a missing one where `missing_left`, goes left.

    `is_single`: values are rounded to single precision before they are compared.
    """

    feature: NDArray[Any]
    threshold: NDArray[np.float64]
    missing_left: NDArray[Any]
    left: NDArray[Any]
    right: NDArray[Any]
    is_leaf: NDArray[np.bool_]
    is_single: bool

    def rounded(self, values: Any) -> Any:
        """Values as they are compared."""
        return np.float32(values).astype(np.float64) if self.is_single else values


def decision_tree(graph: Graph, rows: Value, model: DecisionTreeClassifier) -> Scores:
    """Shares of the classes in the leaf."""
    return Scores(probabilities=_mean(graph, rows, [model]))


def forest(graph: Graph, rows: Value, model: RandomForestClassifier | ExtraTreesClassifier) -> Scores:
    """Mean of the trees' shares."""
    return Scores(probabilities=_mean(graph, rows, model.estimators_))


def boosting(graph: Graph, rows: Value, model: HistGradientBoostingClassifier) -> Scores:
    """The baseline and a value per iteration and class, added up."""
    if model.is_categorical_ is not None and np.any(model.is_categorical_):
        raise NoOnnx("HistGradientBoostingClassifier with categorical splits has no exact ONNX form here")
    columns = model.n_trees_per_iteration_
    trees = trees_of(model)
    nodes = [predictor.nodes for iteration in model._predictors for predictor in iteration]
    weights = [one["value"][tree.is_leaf] for one, tree in zip(nodes, trees, strict=True)]
    # The sum starts with the baseline, so the first iteration's leaves can carry it.
    baseline = np.broadcast_to(model._baseline_prediction, (1, columns))[0]
    weights[:columns] = [values + start for values, start in zip(weights[:columns], baseline, strict=True)]
    found = _ensemble(graph, rows, trees, weights)
    by_class = graph.add("Reshape", found, np.array([-1, len(trees) // columns, columns]))
    decision = graph.sum(graph.add("Transpose", by_class, perm=[1, 0, 2]), 0)
    return Scores(decision=decision, probabilities=from_logits(graph, decision, len(model.classes_)))


def trees_of(classifier: Any) -> list[Tree]:
    """The trees a classifier is made of; none for those that are not."""
    if isinstance(classifier, HistGradientBoostingClassifier):
        return [_boosted(predictor.nodes) for iteration in classifier._predictors for predictor in iteration]
    if isinstance(classifier, DecisionTreeClassifier):
        return [_grown(classifier)]
    return [_grown(each) for each in classifier.estimators_] if isinstance(classifier, FORESTS) else []


def _mean(graph: Graph, rows: Value, models: Sequence[DecisionTreeClassifier]) -> Value:
    trees = [_grown(model) for model in models]
    shares = [model.tree_.value[tree.is_leaf, 0, :] for model, tree in zip(models, trees, strict=True)]
    table, numbers = np.unique(np.vstack(shares), axis=0, return_inverse=True)
    ends = np.cumsum([len(each) for each in shares])
    weights = np.split(numbers.ravel().astype(np.float64), ends[:-1])
    rounded = graph.cast(graph.cast(rows, np.float32), np.float64)
    leaves = graph.cast(_ensemble(graph, rounded, trees, weights), np.int64)
    # Over the first axis ONNX Runtime adds row after row, with any number of threads; over others it need not.
    found = graph.add("Gather", table, graph.add("Transpose", leaves, perm=[1, 0]), axis=0)
    return graph.add("Div", graph.sum(found, 0), float(len(trees)))


def _grown(model: DecisionTreeClassifier) -> Tree:
    tree = model.tree_
    return Tree(
        feature=tree.feature,
        threshold=tree.threshold,
        missing_left=tree.missing_go_to_left,
        left=tree.children_left,
        right=tree.children_right,
        is_leaf=tree.children_left < 0,
        is_single=True,
    )


def _boosted(nodes: NDArray[Any]) -> Tree:
    return Tree(
        feature=nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        missing_left=nodes["missing_go_to_left"],
        left=nodes["left"],
        right=nodes["right"],
        is_leaf=nodes["is_leaf"].astype(bool),
        is_single=False,
    )


def _ensemble(graph: Graph, rows: Value, trees: Sequence[Tree], weights: Sequence[NDArray[np.float64]]) -> Value:
    """The weight of the leaf each row reaches in each tree, [n, trees]; `weights` are those of each tree's leaves."""
    columns: dict[str, list[NDArray[Any]]] = {}
    roots, leaf_targets = [], []
    nodes = leaves = 0
    for number, (tree, weight) in enumerate(zip(trees, weights, strict=True)):
        roots.append(nodes)
        rooted = _with_a_root(tree) if tree.is_leaf[0] else tree
        for name, values in _branches(rooted, nodes, leaves).items():
            columns.setdefault(name, []).append(values)
        leaf_targets.append(np.full(len(weight), number))
        nodes, leaves = nodes + len(columns["splits"][-1]), leaves + len(weight)
    flat = {name: np.concatenate(values) for name, values in columns.items()}
    splits = flat.pop("splits").astype(np.float64)
    if not flat["missing_value_tracks_true"].any():
        del flat["missing_value_tracks_true"]
    return graph.add(
        "TreeEnsemble",
        rows,
        domain="ai.onnx.ml",
        n_targets=len(trees),
        tree_roots=roots,
        nodes_splits=numpy_helper.from_array(splits),
        nodes_modes=numpy_helper.from_array(np.full(len(splits), _AT_MOST, dtype=np.uint8)),
        leaf_weights=numpy_helper.from_array(np.concatenate(weights)),
        leaf_targetids=np.concatenate(leaf_targets).tolist(),
        **{f"nodes_{name}": values.astype(np.int64).tolist() for name, values in flat.items()},
    )


def _branches(tree: Tree, nodes: int, leaves: int) -> dict[str, NDArray[Any]]:
    """One tree's inner nodes; its own ones are numbered from `nodes` on, its leaves from `leaves` on."""
    inner = ~tree.is_leaf
    place = np.where(inner, nodes + np.cumsum(inner), leaves + np.cumsum(tree.is_leaf)) - 1
    left, right = tree.left[inner], tree.right[inner]
    return {
        "featureids": tree.feature[inner],
        "splits": tree.threshold[inner],
        "missing_value_tracks_true": tree.missing_left[inner],
        "truenodeids": place[left],
        "trueleafs": tree.is_leaf[left],
        "falsenodeids": place[right],
        "falseleafs": tree.is_leaf[right],
    }


def _with_a_root(tree: Tree) -> Tree:
    """A tree that is a single leaf, as a node both branches of which lead to that leaf."""
    return Tree(
        feature=np.zeros(2),
        threshold=np.zeros(2),
        missing_left=np.zeros(2),
        left=np.array([1, -1]),
        right=np.array([1, -1]),
        is_leaf=np.array([False, True]),
        is_single=tree.is_single,
    )
