"""Proofs that training cannot be a toy, at full size; prints figures, exits 1 if one is out of its bounds.

permuted  20 seeds of breast cancer with shuffled labels, feature selection and SMOTE on, two candidates in nested
          cross-validation: the reported 95 % interval must hold the dummy's score in at least 17
coverage  500 generated sets, each with its own model: 95 % intervals must cover the model's true value (on 20,000 fresh
          rows) in 92 to 98 % of them
leaks     planted leaks, target-time columns, identifiers and group duplicates: every run must end with exit code 3
digests   every example twice, in fresh processes: equal references

Run: python -m benchmarks.train [permuted|coverage|leaks|digests …]; about 12 minutes for all on two cores.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from pilotage_server.train.config import read_config
from pilotage_server.train.data import Table
from pilotage_server.train.data import load as load_table
from pilotage_server.train.data.split import split
from pilotage_server.train.evaluate.metrics import Answers, evaluate
from pilotage_server.train.search.select import select

ROOT = Path(__file__).resolve().parents[1]
TRAINER = Path(sys.executable).with_name("pilotage-model")
NOTHING: dict[str, Any] = {
    "name": "nothing",
    "data": {"dataset": "breast_cancer"},
    "split": {"test": 0.3},
    "features": {"select": "k-best", "keep": 8},
    "candidates": [
        {"name": "softmax", "estimator": "logistic-regression", "search": {"C": [0.01, 1.0]}},
        {"name": "forest", "estimator": "random-forest", "scale": "none", "params": {"n_estimators": 30}},
        {"name": "bayes", "estimator": "naive-bayes"},
    ],
    "imbalance": {"compare": ["none", "smote"]},
    "search": {"metric": "rocAuc", "folds": 3, "outer": 3},
    "calibration": {"folds": 3},
}
WATCHED = ("accuracy", "balancedAccuracy", "logLoss", "brier", "rocAuc", "prAuc", "f1")


def permuted(seeds: int = 20) -> bool:
    """Shuffled labels: the interval of every ranking or balanced metric must hold chance."""
    held = dict.fromkeys(("rocAuc", "balancedAccuracy"), 0)
    for seed in range(seeds):
        found = _nothing_to_learn(seed)
        for name, interval in found.items():
            held[name] += interval["low"] <= 0.5 <= interval["high"]
        print(
            f"seed {seed:2d}: "
            + ", ".join(f"{n} {i['value']:.3f} [{i['low']:.3f}, {i['high']:.3f}]" for n, i in found.items())
        )
    print(f"held the dummy's score: {', '.join(f'{n} {h} of {seeds}' for n, h in held.items())}")
    return all(count >= 0.85 * seeds for count in held.values())


def _nothing_to_learn(seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nothing.yaml"
        path.write_text(yaml.safe_dump(NOTHING | {"split": {"seed": seed, "test": 0.3}}))
        config = read_config(path)
    whole = load_table("breast_cancer")
    table = Table(
        name="nothing",
        columns=whole.columns,
        classes=whole.classes,
        class_type=whole.class_type,
        rows=whole.rows,
        labels=np.random.default_rng(seed).permutation(whole.labels),
    )
    parts = split(table, config.split, config.data)
    selected = select(config, table, parts)
    probabilities = selected.fitted.predict_proba(parts.test.rows)
    answers = Answers(
        actual=parts.test.labels,
        predicted=selected.decision.decide(probabilities),
        probabilities=probabilities,
        classes=table.classes,
    )
    metrics = evaluate(answers, seed=seed)
    return {"rocAuc": metrics["rocAuc"]["macro"], "balancedAccuracy": metrics["balancedAccuracy"]}


def coverage(sets: int = 500) -> bool:
    """Intervals of models on fresh generated sets against their values on many more rows of the same kind."""
    hits = dict.fromkeys(WATCHED, 0)
    for seed in range(sets):
        rows, labels = make_classification(
            n_samples=20_700, n_features=8, n_informative=5, n_classes=3, flip_y=0.1, class_sep=0.9, random_state=seed
        )
        model = LogisticRegression(max_iter=300).fit(rows[:400], labels[:400])
        found = _watched(model, rows[400:700], labels[400:700], seed, draws=1_000)
        truth = _watched(model, rows[700:], labels[700:], seed, draws=1)
        for name in WATCHED:
            hits[name] += found[name]["low"] <= truth[name]["value"] <= found[name]["high"]
    for name, count in hits.items():
        print(f"{name}: {count / sets:.1%} of {sets} intervals hold the truth")
    return all(0.92 <= count / sets <= 0.98 for count in hits.values())


def _watched(model: Any, rows: Any, labels: Any, seed: int, draws: int) -> dict[str, Any]:
    probabilities = model.predict_proba(rows)
    answers = Answers(
        actual=labels, predicted=probabilities.argmax(axis=1), probabilities=probabilities, classes=("a", "b", "c")
    )
    found = evaluate(answers, seed=seed, draws=draws)
    return found | {"rocAuc": found["rocAuc"]["macro"], "prAuc": found["prAuc"]["macro"], "f1": found["macro"]["f1"]}


def leaks() -> bool:
    """Every planted fault ends the run before a model exists."""
    rng = np.random.default_rng(1)
    table = load_table("breast_cancer")
    label = [table.classes[i] for i in table.labels]
    n = len(label)
    plants: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
        "copy of the label": ({"x": table.labels * 1.0}, {}),
        "copy with noise": ({"x": table.labels + rng.normal(0, 0.05, n)}, {}),
        "copy as text": ({"x": ["m" if one else "b" for one in table.labels]}, {}),
        "missing tells": ({"x": ["" if one else 1.0 + i % 4 for i, one in enumerate(table.labels)]}, {}),
        "named after the target": ({"diagnosis_code": rng.integers(0, 5, n)}, {}),
        "identifier": ({"patient": range(10_000, 10_000 + n)}, {}),
        "dates": ({"seen": [f"2025-01-{1 + i % 28:02d}" for i in range(n)]}, {}),
        "group duplicates": ({"patient": [i // 3 for i in range(n)]}, {"group": "patient"}),
    }
    ended = {name: _train_with(table, label, extra, columns) for name, (extra, columns) in plants.items()}
    print("\n".join(f"{name}: exit code {code}" for name, code in ended.items()))
    return set(ended.values()) == {3}


def _train_with(table: Table, label: list[str], extra: dict[str, Any], columns: dict[str, str]) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "data.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*table.features, *extra, "diagnosis"])
            writer.writerows(
                [*row, *cells, one]
                for row, one, *cells in zip(table.rows.tolist(), label, *map(list, extra.values()), strict=True)
            )
        config = {
            "name": "planted",
            "data": {"csv": {"path": "data.csv", "target": "diagnosis"}, "columns": columns},
            "model": {"estimator": "naive-bayes"},
        }
        (folder / "planted.yaml").write_text(yaml.safe_dump(config))
        command = [str(TRAINER), "train", str(folder / "planted.yaml"), "--out", str(folder / "run")]
        return subprocess.run(command, capture_output=True, check=False).returncode


def digests() -> bool:
    """Each example in two processes with different hash seeds."""
    equal = True
    for config in sorted((ROOT / "examples" / "train").glob("*.yaml")):
        references = []
        for hash_seed in ("1", "2"):
            with tempfile.TemporaryDirectory() as folder:
                command = [str(TRAINER), "train", str(config), "--out", str(Path(folder) / "run")]
                environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            references.append(done.stdout.strip())
        equal &= len(set(references)) == 1
        print(f"{config.stem}: {'equal' if len(set(references)) == 1 else references}")
    return equal


PROOFS: dict[str, Callable[[], bool]] = {
    "permuted": permuted,
    "coverage": coverage,
    "leaks": leaks,
    "digests": digests,
}


def main() -> int:
    """Run the proofs that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proofs", nargs="*", metavar="PROOF", help=", ".join(PROOFS))
    failed = []
    for name in parser.parse_args().proofs or PROOFS:
        began = time.monotonic()
        print(f"== {name}")
        with threadpool_limits(limits=1):
            good = PROOFS[name]()
        print(f"{'holds' if good else 'BROKEN'} ({time.monotonic() - began:.0f} s)\n")
        failed += [] if good else [name]
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
