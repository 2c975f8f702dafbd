"""Small generated tables for training tests: rows with a truth that is known, written as users would."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def a_credit_file(path: Path, rows: int = 240, **extra: Any) -> Path:
    """A CSV with two numbers (one with gaps), a category and a target `defaulted`; `extra` adds columns."""
    rng = np.random.default_rng(5)
    income, debt = rng.normal(50, 12, rows).round(2), rng.normal(20, 8, rows).round(2)
    job = rng.choice(["clerk", "driver", "nurse"], rows)
    risk = 0.09 * (debt - 20) - 0.07 * (income - 50) + (job == "driver") * 1.2 + rng.normal(0, 0.8, rows)
    columns: dict[str, Any] = {
        "income": [("" if i % 17 == 0 else value) for i, value in enumerate(income)],
        "debt": list(debt),
        "job": list(job),
        "defaulted": ["yes" if value > 0.8 else "no" for value in risk],
        **extra,
    }
    return write_csv(path, columns)


def write_csv(path: Path, columns: Mapping[str, Any]) -> Path:
    """Write columns under their headings."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def a_credit_config(path: Path, **changes: Any) -> dict[str, Any]:
    """A configuration for `a_credit_file`."""
    return {
        "name": "credit",
        "data": {"csv": {"path": str(path), "target": "defaulted"}},
        "split": {"seed": 3, "test": 0.25},
        "model": {"estimator": "logistic-regression"},
        **changes,
    }
