"""From a fitted pipeline to the file that serves: ONNX if it gives the same answers, scikit-learn if not.

The parity gate compares probabilities *and* decisions on held-out rows and on random rows from the training
range; float64 is tried before float32. A converter that fails, or changes one decision, means scikit-learn
serves. Measured: skl2onnx 1.20 drops thresholds silently and moves scaled forests by 0.06 (model-serving.md
§2.7).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import skl2onnx
from numpy.typing import NDArray
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.pipeline import Pipeline

from pilotage_server.bundle.decision import Argmax, Decision
from pilotage_server.bundle.errors import Refused
from pilotage_server.bundle.manifest import BackendKind
from pilotage_server.bundle.predictor import PROBABILITIES, OnnxPredictor, Predictor, SklearnPredictor
from pilotage_server.train.config import ConfigError
from pilotage_server.train.deploy import skops_file

TOLERANCE = 1e-5
RANDOM_ROWS = 2_000
ONNX_FILE = "model.onnx"
SKOPS_FILE = "model.skops"
_OPSET = 17
_GAPS = 0.1
_INPUTS = {BackendKind.ONNX_F64: DoubleTensorType, BackendKind.ONNX_F32: FloatTensorType}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What the parity gate found for one backend; `problem` is empty when it passed."""

    backend: BackendKind
    rows: int
    max_difference: float | None
    changed_decisions: int | None
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """The chosen backend, loaded from the very bytes that go into the bundle, and how it was chosen."""

    backend: BackendKind
    model_file: str
    files: dict[str, bytes]
    predictor: Predictor
    attempts: tuple[Attempt, ...]


def export(pipeline: Pipeline, rows: NDArray[np.float64], *, decision: Decision, wanted: str) -> Export:
    """Choose and write the backend; raises `ConfigError` when `wanted` is onnx and no conversion is exact.

    rows: [n, F] that parity is judged on, none of them from training.
    """
    skops = skops_file.dumps(pipeline)
    files = {SKOPS_FILE: skops}
    attempts: list[Attempt] = []
    for kind in _INPUTS if wanted != "sklearn" else ():
        attempt, converted = _attempt(pipeline, kind, rows, decision)
        attempts.append(attempt)
        if converted is not None:
            content, predictor = converted
            return Export(
                backend=kind,
                model_file=ONNX_FILE,
                files=files | {ONNX_FILE: content},
                predictor=predictor,
                attempts=tuple(attempts),
            )
    if wanted == "onnx":
        found = "; ".join(f"{attempt.backend}: {attempt.problem}" for attempt in attempts)
        raise ConfigError(f"export.backend: onnx is not exact for this model ({found}); use auto or sklearn")
    try:
        fallback = SklearnPredictor(skops, name=SKOPS_FILE)
    except Refused as refused:
        raise ConfigError(f"model.estimator: the server would not load it: {refused}") from refused
    return Export(
        backend=BackendKind.SKLEARN, model_file=SKOPS_FILE, files=files, predictor=fallback, attempts=tuple(attempts)
    )


def parity_rows(
    train: NDArray[np.float64], held_out: NDArray[np.float64], seed: int, categorical: Sequence[int] = ()
) -> NDArray[np.float64]:
    """Rows to judge parity on: held-out ones, and random ones from the range of training, [n, F].

    Random categories are codes that training had; a column with gaps there has some here.
    """
    rng = np.random.default_rng(seed)
    gaps = np.isnan(train)
    low = np.where(gaps, np.inf, train).min(axis=0, initial=np.inf)
    high = np.where(gaps, -np.inf, train).max(axis=0, initial=-np.inf)
    empty = low > high
    low[empty], high[empty] = 0.0, 0.0
    drawn = rng.uniform(low, high, size=(RANDOM_ROWS, train.shape[1]))
    for column in categorical:
        known = np.unique(train[~gaps[:, column], column])
        drawn[:, column] = rng.choice(known, size=RANDOM_ROWS) if len(known) else np.nan
    drawn[(rng.random(drawn.shape) < _GAPS) & gaps.any(axis=0)] = np.nan
    return np.vstack([held_out, drawn])


def _attempt(
    pipeline: Pipeline, kind: BackendKind, rows: NDArray[np.float64], decision: Decision
) -> tuple[Attempt, tuple[bytes, Predictor] | None]:
    try:
        content = to_onnx(pipeline, kind, rows.shape[1])
        predictor = OnnxPredictor(
            content, name=ONNX_FILE, width=rows.shape[1], classes=len(pipeline.classes_), threads=1
        )
        difference, changed = compare(pipeline, predictor, rows, decision)
    except Refused as refused:
        problem = refused.problem
        return Attempt(backend=kind, rows=0, max_difference=None, changed_decisions=None, problem=problem), None
    except Exception as error:  # a converter fails with anything; the reason is reported, and the next is tried
        problem = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
        return Attempt(backend=kind, rows=0, max_difference=None, changed_decisions=None, problem=problem), None
    passed = difference <= TOLERANCE and changed == 0
    problem = "" if passed else f"probabilities differ by up to {difference:.2g}, {changed} decisions change"
    attempt = Attempt(
        backend=kind, rows=len(rows), max_difference=difference, changed_decisions=changed, problem=problem
    )
    return attempt, (content, predictor) if passed else None


def compare(
    pipeline: Pipeline, predictor: Predictor, rows: NDArray[np.float64], decision: Decision
) -> tuple[float, int]:
    """Largest difference of probabilities, and number of rows that get another class than from scikit-learn."""
    expected = pipeline.predict_proba(rows)
    found = predictor.probabilities(rows)
    if found.shape != expected.shape:
        raise ValueError(f"answers have shape {found.shape}, not {expected.shape}")
    # `predict` is the estimator's own idea of its classes; an own threshold is not known to it.
    labels = pipeline.predict(rows) if isinstance(decision, Argmax) else decision.decide(expected)
    difference = float(np.max(np.abs(found - expected)))
    return difference if np.isfinite(difference) else np.inf, int(np.sum(decision.decide(found) != labels))


def to_onnx(pipeline: Pipeline, kind: BackendKind, width: int) -> bytes:
    """Convert to ONNX with one output, the probabilities; equal pipelines give equal bytes."""
    with warnings.catch_warnings():
        # skl2onnx 1.20 reads attributes that scikit-learn 1.9 has deprecated; nothing of ours to change.
        warnings.simplefilter("ignore")
        model = skl2onnx.convert_sklearn(
            pipeline,
            name="model",
            initial_types=[("input", _INPUTS[kind]([None, width]))],
            options={id(pipeline): {"zipmap": False}},
            target_opset=_OPSET,
        )
    _keep_only(model.graph, PROBABILITIES)
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _keep_only(graph: Any, output: str) -> None:
    """Drop every output but one, and what only the others needed: labels are the decision's business."""
    needed = {output}
    nodes = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed.update(node.input)
    kept = {
        "node": nodes[::-1],
        "output": [value for value in graph.output if value.name == output],
        "initializer": [tensor for tensor in graph.initializer if tensor.name in needed],
    }
    for field, values in kept.items():
        copies = list(_copies(values))
        del getattr(graph, field)[:]
        getattr(graph, field).extend(copies)


def _copies(messages: list[Any]) -> Iterator[Any]:
    """Copy protobuf messages, which die with the list they are taken from."""
    for message in messages:
        copy = type(message)()
        copy.CopyFrom(message)
        yield copy
