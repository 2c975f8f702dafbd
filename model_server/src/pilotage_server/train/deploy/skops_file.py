"""A fitted estimator as a skops file whose bytes depend on the estimator alone.

skops names objects and array files after their addresses in memory, and its zip carries the time of day: two
runs of one training differ. Here both are renumbered in order of appearance and written with a fixed date.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from skops import io as skops_io

_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def dumps(estimator: Any) -> bytes:
    """Serialise an estimator; equal estimators give equal bytes."""
    with zipfile.ZipFile(io.BytesIO(skops_io.dumps(estimator))) as archive:
        schema = json.loads(archive.read(_SCHEMA))
        contents = {name: archive.read(name) for name in archive.namelist() if name != _SCHEMA}
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    _renumber(schema, numbers, files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for old, new in files.items():
            archive.writestr(zipfile.ZipInfo(new, _EPOCH), contents[old])
        archive.writestr(zipfile.ZipInfo(_SCHEMA, _EPOCH), json.dumps(schema))
    return buffer.getvalue()


def _renumber(node: Any, numbers: dict[int, int], files: dict[str, str]) -> None:
    """Replace object ids and file names below a node of the schema, depth first."""
    if isinstance(node, list):
        for item in node:
            _renumber(item, numbers, files)
    elif isinstance(node, dict):
        if isinstance(node.get("__id__"), int):
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        if isinstance(node.get("file"), str):
            suffix = node["file"].rpartition(".")[2]
            node["file"] = files.setdefault(node["file"], f"{len(files) + 1}.{suffix}")
        for key, item in node.items():
            if key not in ("__id__", "file"):
                _renumber(item, numbers, files)
