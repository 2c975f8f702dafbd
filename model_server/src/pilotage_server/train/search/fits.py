"""Many independent fits, by whatever backend is in force, each told as it is done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from joblib import Parallel
from joblib.parallel import get_active_backend

from pilotage_server.train.progress import SILENT, Progress


def run_fits(fits: Iterable[Any], *, jobs: int, progress: Progress = SILENT) -> list[Any]:
    """Run what `joblib.delayed` made, `jobs` at a time; results in the order given."""
    backend, _ = get_active_backend()
    # Ray's backend gives everything at the end only.
    given = "generator" if getattr(backend, "supports_return_generator", False) else "list"
    found = []
    for result in Parallel(n_jobs=jobs, return_as=given)(fits):
        found.append(result)
        progress.step()
    return found
