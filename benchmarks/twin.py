"""The same model in MLServer and here: equal probabilities on random rows.

Run: python -m benchmarks.twin [--rows 2000]. Each model is trained into a bundle; MLServer serves the fitted pipeline
of that very bundle (its skops file, as scikit-learn computes it), our server what the bundle says: ONNX. Both are asked
over V2 JSON for rows drawn evenly from the ranges of training and half as much around them. Exits 1 where a probability
differs by more than 1e-9, or a class does. MLServer comes into a folder of its own in the user's cache.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
from numpy.typing import NDArray
from skops import io as skops_io

from benchmarks.environments import command
from pilotage_server.bundle.predictor import TRUSTED_TYPES

ALLOWED: Final = 1e-9
AT_ONCE: Final = 100
MODELS: Final[Mapping[str, str]] = {
    "iris, softmax regression": "{dataset: iris} logistic-regression",
    "digits, scaled softmax regression": "{dataset: digits} logistic-regression, scale: standard",
    "wine, support vector machine": "{dataset: wine} svm, scale: standard",
    "digits, random forest": "{dataset: digits} random-forest",
    "breast cancer, boosted trees": "{dataset: breast_cancer} hist-gradient-boosting",
}
_MLSERVER: Final = ("-c", "from mlserver.cli import main; main()", "start")
Rows = NDArray[np.float64]


def main() -> int:
    """Compare model after model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000)
    rows = parser.parse_args().rows
    print("| model | backend | rows | largest difference | classes that differ |\n|---|---|---|---|---|")
    differ = False
    for name, written in MODELS.items():
        with tempfile.TemporaryDirectory() as scratch:
            bundle = _train(Path(scratch), written)
            manifest = json.loads((bundle / "manifest.json").read_bytes())
            drawn = _draw(manifest["features"], rows)
            ours, theirs = _ask_both(Path(scratch), bundle, drawn)
        largest = float(np.abs(ours[0] - theirs[0]).max())
        names = manifest["classes"]  # the pipeline inside a bundle predicts their places
        classes = sum(label != names[int(place)] for label, place in zip(ours[1], theirs[1], strict=True))
        print(f"| {name} | {manifest['backend']['kind']} | {rows} | {largest:.1g} | {classes} |", flush=True)
        differ |= largest > ALLOWED or classes > 0
    return 1 if differ else 0


def _train(folder: Path, written: str) -> Path:
    data, _, model = written.partition("} ")
    config = f"name: twin\ndata: {data}}}\nmodel: {{estimator: {model}}}\n"
    (folder / "twin.yaml").write_text(config)
    _pilotage_model("train", folder / "twin.yaml", "--out", folder / "run")
    return folder / "run" / "bundle"


def _pilotage_model(*words: str | Path) -> None:
    program = Path(sys.executable).with_name("pilotage-model")
    subprocess.run([str(program), *map(str, words)], check=True, capture_output=True)


def _draw(features: Sequence[Mapping[str, Any]], count: int) -> Rows:
    low, high = (np.array([feature[end] for feature in features], float) for end in ("low", "high"))
    spare = (high - low) / 2
    return np.random.default_rng(20261123).uniform(low - spare, high + spare, (count, len(features)))


def _ask_both(folder: Path, bundle: Path, rows: Rows) -> tuple[tuple[Rows, list[str]], tuple[Rows, list[str]]]:
    _pilotage_model("export", bundle, "--to", folder / "model.skops")
    home = folder / "mlserver"
    home.mkdir()
    joblib.dump(skops_io.load(folder / "model.skops", trusted=list(TRUSTED_TYPES)), home / "model.joblib")
    port, admin, http, rpc, metrics = _free_ports(5)
    served = {"host": "127.0.0.1", "http_port": http, "grpc_port": rpc, "metrics_port": metrics}
    (home / "settings.json").write_text(json.dumps({**served, "parallel_workers": 0, "debug": False}))
    model = {"name": "twin", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./model.joblib"}}
    (home / "model-settings.json").write_text(json.dumps(model))
    server = str(Path(sys.executable).with_name("pilotage-server"))
    ours = [
        server,
        "serve",
        "--bundle",
        str(bundle),
        "--allow-unsigned",
        "--port",
        str(port),
        "--admin-port",
        str(admin),
    ]
    theirs, environment = command("mlserver", [*_MLSERVER, str(home)])
    with _running(ours, os.environ, port), _running(theirs, environment, http):
        return _ask(port, rows), _ask(http, rows)


def _ask(port: int, rows: Rows) -> tuple[Rows, list[str]]:
    found, classes = [], []
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        tensor = {"name": "input", "datatype": "FP64", "shape": list(part.shape), "data": part.reshape(-1).tolist()}
        body = {"inputs": [tensor], "outputs": [{"name": "predict"}, {"name": "predict_proba"}]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v2/models/twin/infer",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            outputs = {output["name"]: output for output in json.load(response)["outputs"]}
        found.append(np.array(outputs["predict_proba"]["data"]).reshape(outputs["predict_proba"]["shape"]))
        classes += [str(value) for value in outputs["predict"]["data"]]
    return np.concatenate(found), classes


@contextlib.contextmanager
def _running(program: Sequence[str], environment: Mapping[str, str], port: int) -> Iterator[None]:
    process = subprocess.Popen(program, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + 90
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"did not start: {' '.join(program)}")
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/twin/ready", timeout=1) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(each.getsockname()[1]) for each in sockets]


if __name__ == "__main__":
    raise SystemExit(main())
