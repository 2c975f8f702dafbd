"""Results that are there already, so that hours of simulation can be interrupted. One JSON line per case.

A result belongs to one version of the gate and of the simulation: a change of their sources starts anew.
"""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pilotage.gate
import pilotage.trials
from benchmarks.gate_labels import Found
from pilotage.trials import Row

_Result = TypeVar("_Result")


class Store:
    """A file of results; `row` and `labels` play a case only if it holds none."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._version = _version()
        self._known: dict[str, str] = {}
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                if entry["version"] == self._version:
                    self._known[entry["key"]] = entry["result"]

    def row(self, key: str, play: Callable[[], Row]) -> Row:
        """Error rates of one scenario."""
        return self._kept(key, play)

    def labels(self, key: str, play: Callable[[], Found]) -> Found:
        """Labels of one case."""
        return self._kept(key, play)

    def _kept(self, key: str, play: Callable[[], _Result]) -> _Result:
        if key in self._known:
            found: _Result = pickle.loads(base64.b64decode(self._known[key]))  # noqa: S301 (our own file)
            return found
        result = play()
        packed = base64.b64encode(pickle.dumps(result)).decode()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"version": self._version, "key": key, "result": packed}) + "\n")
        return result


def _version() -> str:
    digest = hashlib.sha256()
    for package in (pilotage.gate, pilotage.trials):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
