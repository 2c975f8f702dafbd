"""What the load generator knows to be true against what the clouds' Prometheus counted: every matured label once.

The generator counts a label when a collector accepted it; the collector counts it when its prediction has matured. At
the end of a run both must agree in every cell of (cluster, revision, actual, predicted).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from demo import manifests, plan

Cell = tuple[str, str, str, str]
"""(cluster, revision, actual, predicted)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The generator's account of a whole run."""

    sent: int
    failed: int
    failures: tuple[str, ...]
    results: Mapping[str, int]
    labels: Mapping[Cell, int]
    predictions: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Cells that agree, and those that do not, as (cell, posted, counted)."""

    cells: int
    labels: int
    wrong: tuple[tuple[Cell, int, int], ...]


def read(path: Path) -> Ledger:
    """The ledger that `demo.load` wrote."""
    raw = json.loads(path.read_text())
    return Ledger(
        sent=raw["sent"],
        failed=raw["failed"],
        failures=tuple(raw["failures"]),
        results=raw["results"],
        labels={(cluster, revision, actual, predicted): n for cluster, revision, actual, predicted, n in raw["labels"]},
        predictions={(cluster, revision): n for cluster, revision, n in raw["predictions"]},
    )


def counted(prometheus: Mapping[str, str], since_s: float) -> Counter[Cell]:
    """Matured labels as the clouds' Prometheus have them now, summed over ledgers, for each cluster's address."""
    selector = f'pilotage_matured_labels_total{{namespace="{manifests.NAMESPACE}",model="{manifests.NAME}"}}'
    expression = f"max by (ledger, revision, actual, predicted) (last_over_time({selector}[{int(since_s)}s]))"
    total: Counter[Cell] = Counter()
    for cluster, url in prometheus.items():
        with urlopen(f"{url}/api/v1/query?{urlencode({'query': expression})}", timeout=10) as response:
            for series in json.load(response)["data"]["result"]:
                labels = series["metric"]
                total[cluster, labels["revision"], labels["actual"], labels["predicted"]] += int(series["value"][1])
    return +total


def compare(ledger: Ledger, read_counts: Callable[[], Counter[Cell]], within_s: float = 30.0) -> Comparison:
    """Wait until the last labels have matured and been scraped, then compare cell by cell."""
    ends = time.monotonic() + within_s
    expected = sum(ledger.labels.values())
    counts = read_counts()
    while sum(counts.values()) < expected and time.monotonic() < ends:
        time.sleep(plan.INTERVAL_S / 4)
        counts = read_counts()
    cells = sorted(ledger.labels.keys() | counts.keys())
    wrong = ((cell, ledger.labels.get(cell, 0), counts.get(cell, 0)) for cell in cells)
    return Comparison(
        cells=len(cells),
        labels=expected,
        wrong=tuple((cell, posted, seen) for cell, posted, seen in wrong if posted != seen),
    )
