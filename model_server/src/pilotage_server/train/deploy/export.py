"""From a fitted pipeline to the file that serves: ONNX if it gives the same answers, scikit-learn if not.

The parity gate compares probabilities *and* decisions on held-out rows, on random rows from the training range and on
rows at split points. A step without an exact form, or one changed decision, means scikit-learn serves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from pilotage_server.bundle.decision import Decision
from pilotage_server.bundle.errors import Refused
from pilotage_server.bundle.manifest import BackendKind
from pilotage_server.bundle.predictor import OnnxPredictor, Predictor, SklearnPredictor
from pilotage_server.train.config import ConfigError
from pilotage_server.train.deploy import skops_file
from pilotage_server.train.deploy.convert import NoOnnx, to_onnx
from pilotage_server.train.deploy.parity import TOLERANCE, compare
from pilotage_server.train.deploy.split_rows import split_rows

ONNX_FILE = "model.onnx"
SKOPS_FILE = "model.skops"
_KIND = BackendKind.ONNX_F64


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
    attempts: tuple[Attempt, ...] = ()
    if wanted != "sklearn":
        attempt, content, predictor = _converted(pipeline, rows, decision)
        attempts = (attempt,)
        if predictor is not None:
            return Export(
                backend=attempt.backend,
                model_file=ONNX_FILE,
                files=files | {ONNX_FILE: content},
                predictor=predictor,
                attempts=attempts,
            )
        if wanted == "onnx":
            problem = f"onnx is not exact for this model ({attempt.problem}); use auto or sklearn"
            raise ConfigError(f"export.backend: {problem}")
    try:
        fallback = SklearnPredictor(skops, name=SKOPS_FILE)
    except Refused as refused:
        raise ConfigError(f"model.estimator: the server would not load it: {refused}") from refused
    return Export(
        backend=BackendKind.SKLEARN, model_file=SKOPS_FILE, files=files, predictor=fallback, attempts=attempts
    )


def judge(
    pipeline: Pipeline, content: bytes, rows: NDArray[np.float64], decision: Decision
) -> tuple[Attempt, Predictor | None]:
    """The parity gate for one ONNX model: what it found, and the model loaded if it passed."""
    width, classes = rows.shape[1], len(pipeline.classes_)
    try:
        judged = np.vstack([rows, split_rows(pipeline, rows)])
        predictor = OnnxPredictor(content, name=ONNX_FILE, width=width, classes=classes, threads=1)
        difference, changed = compare(pipeline, predictor, judged, decision)
    except Refused as refused:
        return _failed(refused.problem), None
    except Exception as error:  # a wrong graph fails with anything; the reason is reported
        return _failed(f"{type(error).__name__}: {_first_line(error)}"), None
    passed = difference <= TOLERANCE and changed == 0
    attempt = Attempt(
        backend=_KIND,
        rows=len(judged),
        max_difference=difference,
        changed_decisions=changed,
        problem="" if passed else f"probabilities differ by up to {difference:.2g}, {changed} decisions change",
    )
    return attempt, predictor if passed else None


def _converted(
    pipeline: Pipeline, rows: NDArray[np.float64], decision: Decision
) -> tuple[Attempt, bytes, Predictor | None]:
    try:
        content = to_onnx(pipeline, rows.shape[1])
    except NoOnnx as reason:
        return _failed(str(reason)), b"", None
    except Exception as error:  # an estimator without what the converter reads must not end the run
        return _failed(f"{type(error).__name__}: {_first_line(error)}"), b"", None
    attempt, predictor = judge(pipeline, content, rows, decision)
    return attempt, content, predictor


def _failed(problem: str) -> Attempt:
    return Attempt(backend=_KIND, rows=0, max_difference=None, changed_decisions=None, problem=problem)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
