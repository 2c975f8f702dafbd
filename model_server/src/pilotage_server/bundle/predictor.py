"""What computes probabilities: ONNX Runtime, or scikit-learn where the parity gate found ONNX different.

A predictor maps rows [n, F] (float64) to probabilities [n, K] (float64) and does nothing else: the decision
is the manifest's. ONNX models are loaded from memory, so external data files are out of reach, and without
custom operators. scikit-learn is imported only when a manifest asks for it; the list of types it may load is
here, never in the bundle.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pilotage_server.bundle.errors import Refused
from pilotage_server.bundle.manifest import BackendKind, Manifest

PROBABILITIES = "probabilities"
"""Name of the one output an exported ONNX model has."""

TRUSTED_TYPES = (
    "numpy.dtype",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._mutual_info.mutual_info_classif",
    "sklearn.feature_selection._univariate_selection.f_classif",
    *(
        f"sklearn.metrics._dist_metrics.{name}Distance64"
        for name in (
            "BrayCurtis",
            "Canberra",
            "Chebyshev",
            "Euclidean",
            "Hamming",
            "Jaccard",
            "Manhattan",
            "Minkowski",
        )
    ),
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)
"""What skops may build beyond its own safe list. A signature comes first.

Crafted trees can crash a process.
"""

_REMEDY = "train or export the bundle again with a matching version of pilotage-model"


class Predictor(Protocol):
    """Rows in, probabilities out."""

    def probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities [n, K] of rows [n, F]; columns in the manifest's class order."""


class OnnxPredictor:
    """ONNX Runtime on the CPU, with a fixed number of threads."""

    def __init__(self, content: bytes, *, name: str, width: int, classes: int, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin between requests would burn the CPU an idle server does not need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(content, sess_options=options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base class
            raise Refused(name, f"ONNX Runtime cannot load it ({_first_line(error)})", _REMEDY) from error
        inputs, outputs = session.get_inputs(), [output.name for output in session.get_outputs()]
        if len(inputs) != 1 or list(inputs[0].shape[1:]) != [width] or PROBABILITIES not in outputs:
            raise Refused(name, f"must map one input [n, {width}] to {PROBABILITIES!r} [n, {classes}]", _REMEDY)
        dtypes = {"tensor(double)": np.float64, "tensor(float)": np.float32}
        if inputs[0].type not in dtypes:
            raise Refused(name, f"its input is a {inputs[0].type}, not double or float", _REMEDY)
        self._run = session.run
        self._input = inputs[0].name
        self._dtype: Any = dtypes[inputs[0].type]

    def probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities [n, K] of rows [n, F]."""
        found = self._run([PROBABILITIES], {self._input: rows.astype(self._dtype, copy=False)})[0]
        result: NDArray[np.float64] = found.astype(np.float64, copy=False)
        return result


class SklearnPredictor:
    """A scikit-learn estimator out of a skops file."""

    def __init__(self, content: bytes, *, name: str) -> None:
        try:
            from skops import io as skops_io
        except ImportError as error:
            raise Refused(
                name,
                "needs scikit-learn, which is not installed",
                "install pilotage-server[sklearn], or export ONNX",
            ) from error
        try:
            foreign = sorted(set(skops_io.get_untrusted_types(data=content)) - set(TRUSTED_TYPES))
            if foreign:
                raise Refused(name, f"holds types this server does not load: {', '.join(foreign[:5])}", _REMEDY)
            self._estimator = skops_io.loads(content, trusted=list(TRUSTED_TYPES))
        except Refused:
            raise
        except Exception as error:  # a damaged file can raise anything in skops and scikit-learn
            raise Refused(name, f"skops cannot load it ({_first_line(error)})", _REMEDY) from error

    def probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities [n, K] of rows [n, F]."""
        return np.asarray(self._estimator.predict_proba(rows), dtype=np.float64)


def open_predictor(manifest: Manifest, content: bytes, *, threads: int) -> Predictor:
    """Load the backend a manifest names; raises `Refused`."""
    match manifest.backend:
        case BackendKind.ONNX_F64 | BackendKind.ONNX_F32:
            return OnnxPredictor(
                content,
                name=manifest.model_file,
                width=len(manifest.features),
                classes=len(manifest.classes),
                threads=threads,
            )
        case BackendKind.SKLEARN:
            return SklearnPredictor(content, name=manifest.model_file)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
