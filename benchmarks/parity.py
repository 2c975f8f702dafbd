"""ONNX against scikit-learn, 100,000 rows for every estimator of the catalogue; exits 1 if an answer differs.

digits    8 x 8 pixels, 10 classes: 35,000 random rows and 30,000 at split points (random ones where there are no trees)
credit    numbers with gaps and categories, 3 classes: 35,000 rows with gaps, half of them at split points

A difference of probabilities above 1e-9, or one changed decision, fails. Times are CPU time of one thread, the best of
several rounds, of one row alone and per row of 256.

Run: python -m benchmarks.parity [estimator …]; about 10 minutes for all on two cores.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pilotage_server.bundle.decision import Argmax
from pilotage_server.bundle.predictor import OnnxPredictor
from pilotage_server.train.config import Calibration, Candidate, Preparation
from pilotage_server.train.deploy.convert import NoOnnx, to_onnx
from pilotage_server.train.deploy.parity import TOLERANCE, compare
from pilotage_server.train.deploy.split_rows import split_rows
from pilotage_server.train.models.catalogue import PARAMETERS
from pilotage_server.train.models.fitting import Variant, fit_quietly
from pilotage_server.train.models.folds import Rows
from pilotage_server.train.models.pipeline import Blueprint, Columns
from pilotage_server.train.models.serving import serving_form

Matrix = NDArray[np.float64]
CHUNK = 5_000
PARAMS: dict[str, dict[str, Any]] = {
    "random-forest": {"n_estimators": 100},
    "extra-trees": {"n_estimators": 100},
    "hist-gradient-boosting": {"max_iter": 30},
}
VARIANTS = [
    *((estimator, "auto") for estimator in PARAMETERS),
    *(("random-forest", method) for method in ("sigmoid", "isotonic", "temperature")),
    *(("logistic-regression", method) for method in ("isotonic", "temperature")),
]


def a_pipeline(estimator: str, method: str, rows: Rows, columns: Columns, scale: str) -> Pipeline:
    """A pipeline in its serving form."""
    candidate = Candidate(name="it", estimator=estimator, params=PARAMS.get(estimator, {}), scale=scale, seed=1)
    blueprint = Blueprint(candidate=candidate, columns=columns, preparation=Preparation(indicator=True))
    fitted, _ = fit_quietly(Variant(blueprint=blueprint, calibration=Calibration(method=method)), {}, rows)
    return serving_form(fitted)


def credit(count: int, seed: int) -> Rows:
    """Numbers on a grid and categories, a tenth missing."""
    rng = np.random.default_rng(seed)
    numbers = np.round(rng.normal(size=(count, 8)) * 10.0 ** np.arange(-3, 5), 3)
    kinds = rng.integers(0, [4, 12], size=(count, 2)).astype(np.float64)
    score = numbers[:, 3] + numbers[:, 4] / 10 + kinds[:, 0] - 1.5 + rng.normal(size=count)
    values = np.hstack([numbers, kinds])
    values[rng.random(values.shape) < 0.1] = np.nan
    return Rows(values=values, labels=np.digitize(score, [-1.0, 1.0]).astype(np.int64))


def at_splits(pipeline: Pipeline, rows: Matrix, count: int) -> Matrix:
    """Exactly `count` rows at split points, filled up with the given ones where there are fewer."""
    found = split_rows(pipeline, rows, count=count // 2)
    return np.vstack([found, rows])[:count]


def cases(estimator: str, method: str) -> Iterator[tuple[Pipeline, Matrix]]:
    """Fitted pipelines, each with the rows to judge it on."""
    rng = np.random.default_rng(0)
    values, labels = load_digits(return_X_y=True)
    pixels = Columns(numeric=tuple(range(64)), categorical=())
    pipeline = a_pipeline(estimator, method, Rows(values=values[:1200], labels=labels[:1200]), pixels, "standard")
    anywhere = np.vstack([values[1200:], rng.uniform(0, 16, size=(35_000 - len(values) + 1200, 64))])
    yield pipeline, np.vstack([anywhere, at_splits(pipeline, anywhere, 30_000)])
    mixed = Columns(numeric=tuple(range(8)), categorical=(8, 9), has_missing=True)
    scale = "none" if "tree" in estimator or "forest" in estimator or "boosting" in estimator else "standard"
    pipeline = a_pipeline(estimator, method, credit(1_500, 1), mixed, scale)
    gaps = credit(35_000, 2).values
    yield pipeline, np.vstack([gaps[:17_500], at_splits(pipeline, gaps, 17_500)])


def cpu(call: Callable[[Matrix], object], rows: Matrix) -> float:
    """Microseconds of CPU per call, the best of nine rounds."""
    call(rows)
    best = np.inf
    for _ in range(9):
        begun, calls = time.process_time(), 0
        while (taken := time.process_time() - begun) < 0.03:
            call(rows)
            calls += 1
        best = min(best, taken / calls * 1e6)
    return best


def judge(estimator: str, method: str) -> bool:
    """Print one line of the table; tells whether ONNX answers as scikit-learn does, or stays out of it."""
    worst, changed, count, times = 0.0, 0, 0, ""
    for pipeline, rows in cases(estimator, method):
        width, classes = rows.shape[1], len(pipeline.classes_)
        first = rows[:256]
        slow = cpu(pipeline.predict_proba, first[:1]), cpu(pipeline.predict_proba, first) / 256
        name = estimator if method == "auto" else f"{estimator}, {method}"
        try:
            content = to_onnx(pipeline, width)
        except NoOnnx:
            print(f"| {name} | scikit-learn | | | | {slow[0]:,.0f} | | {slow[1]:.2f} | |", flush=True)
            return True
        predictor = OnnxPredictor(content, name=estimator, width=width, classes=classes, threads=1)
        for start in range(0, len(rows), CHUNK):
            difference, wrong = compare(pipeline, predictor, rows[start : start + CHUNK], Argmax())
            worst, changed, count = max(worst, difference), changed + wrong, count + len(rows[start : start + CHUNK])
        if not times:
            fast = cpu(predictor.probabilities, first[:1]), cpu(predictor.probabilities, first) / 256
            times = f"{fast[0]:,.0f} | {slow[0]:,.0f} | {fast[1]:.2f} | {slow[1]:.2f} | {len(content) / 1e3:,.0f}"
    print(f"| {name} | onnx-f64 | {count:,} | {worst:.1g} | {changed} | {times} |", flush=True)
    return worst <= TOLERANCE and changed == 0


def main() -> None:
    """Judge every estimator, or those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("estimator", nargs="*", choices=[*PARAMETERS, []], metavar="estimator")
    wanted = parser.parse_args().estimator
    warnings.simplefilter("ignore")
    print("| estimator | backend | rows | max dp | changed | 1 row, µs: ONNX | sklearn | of 256: ONNX | sklearn | kB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with threadpool_limits(limits=1):
        passed = [judge(*variant) for variant in VARIANTS if not wanted or variant[0] in wanted]
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
