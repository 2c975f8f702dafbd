"""Fuzz what reads foreign bytes, guided by coverage (atheris).

Run: python -m benchmarks.fuzz TARGET… [--seconds 60] [--keep DIR], or `all`. A target takes bytes and must end in a
documented way: an answer below 500, or the error its module promises. Anything else, also 10 s or 2 GiB, ends it, keeps
the input below --keep, and exits 1. Atheris comes into a folder of its own in the user's cache; the seeds are made of
real values, from a model trained here; a corpus kept in DIR is gone on with.
Again with one input: python -m benchmarks.fuzz TARGET --input FILE.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import yaml

from benchmarks.environments import ROOT, packages

TARGETS: Final = (
    "infer",
    "table",
    "rpc",
    "http",
    "feedback",
    "token",
    "manifest",
    "layout",
    "layer",
    "signature",
    "onnx",
    "messages",
)
_FIGURES: Final = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERED: Final = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")


def main() -> int:
    """Run each target in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", choices=(*TARGETS, "all"), metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz", help="corpora and findings")
    parser.add_argument("--input", type=Path, help="run this one input and stop")
    arguments = parser.parse_args()
    targets = TARGETS if "all" in arguments.targets else arguments.targets
    memory = Path("/dev/shm")  # noqa: S108  targets write small files often
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        bundle = _bundle(Path(scratch))
        found = [name for name in targets if not _fuzz(name, bundle, arguments)]
    return 1 if found else 0


def _fuzz(name: str, bundle: Path, arguments: argparse.Namespace) -> bool:
    corpus: Path = arguments.keep / name / "corpus"
    findings: Path = arguments.keep / name / "findings"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    flags = [f"-max_total_time={arguments.seconds}", f"-artifact_prefix={findings}/", "-timeout=10"]
    flags += ["-print_final_stats=1", "-rss_limit_mb=2048", "-max_len=65536"]
    what = [str(arguments.input)] if arguments.input else [str(corpus)]
    command = [sys.executable, "-m", "benchmarks.fuzz.worker", name, str(bundle), str(corpus), *flags, *what]
    path = os.pathsep.join(filter(None, (str(ROOT), str(packages("fuzz")), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    log = arguments.keep / name / "log"
    with log.open("w") as file:
        ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=file, stderr=file).returncode
    said = log.read_text(errors="replace")
    runs, covered = _FIGURES.findall(said), _COVERED.findall(said)
    edges, features, kept = covered[-1] if covered else ("0", "0", "0")
    print(f"{name}: {runs[-1] if runs else '?'} runs, {edges} edges, {features} features, {kept} inputs kept", end="; ")
    print("nothing found" if ended == 0 else f"FOUND something, see {log}", flush=True)
    return ended == 0


def _bundle(folder: Path) -> Path:
    """The run of a signed bundle of iris; beside it the keys, and the run of a table with texts and gaps."""
    config = {"name": "iris", "data": {"dataset": "iris"}, "split": {"seed": 7, "test": 0.3}}
    (folder / "iris.yaml").write_text(yaml.safe_dump({**config, "model": {"estimator": "logistic-regression"}}))
    trainer = str(Path(sys.executable).with_name("pilotage-model"))
    subprocess.run([trainer, "keygen", "--out", str(folder / "keys")], check=True, capture_output=True)
    train = [trainer, "train", str(folder / "iris.yaml"), "--out", str(folder / "run")]
    key = ["--signing-key", str(folder / "keys" / "bundle.key")]
    subprocess.run([*train, *key], check=True, capture_output=True)
    rows = ["colour,size,ripe,kind"]
    for i in range(120):
        colour, ripe = ("deep", "pale", "green")[i % 5 % 3], "true" if i % 2 else "false"
        rows.append(f"{colour},{i / 10 if i % 4 else ''},{ripe},{'fig' if i % 3 else 'plum'}")
    (folder / "table.csv").write_text("\n".join(rows))
    data = {"csv": {"path": "table.csv", "target": "kind"}, "quality": {"duplicates": 1.0, "labelConflicts": 1.0}}
    table = {"name": "table", "data": data}
    (folder / "table.yaml").write_text(yaml.safe_dump({**table, "model": {"estimator": "logistic-regression"}}))
    train = [trainer, "train", str(folder / "table.yaml"), "--out", str(folder / "table")]
    subprocess.run(train, check=True, capture_output=True)
    return folder / "run"


if __name__ == "__main__":
    raise SystemExit(main())
