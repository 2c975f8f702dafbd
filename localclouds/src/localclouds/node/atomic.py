"""A folder whose files change all at once, laid out as a kubelet does it.

Files live in a folder named after the moment they were written; `..data` links to the current one and each
top-level name links into `..data`, so replacing that one link replaces everything, for readers that are
inside a mount of the folder too.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_DATA = "..data"
_versions = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Content and permissions of one file."""

    content: bytes
    mode: int = 0o644


def write_all(folder: Path, files: Mapping[str, File]) -> bool:
    """Make the folder hold exactly these files (relative paths); return whether anything changed.

    Raises ValueError for a path that would leave the folder.
    """
    for path in files:
        if not path or path.startswith("/") or ".." in Path(path).parts or Path(path).parts[0].startswith(".."):
            raise ValueError(f"{path}: not a path inside a volume")
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / _DATA
    if current.exists() and _read(current) == dict(files):
        return False
    version = folder / f"..v{os.getpid()}_{next(_versions)}"
    for path, file in files.items():
        target = version / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)
    version.mkdir(exist_ok=True)
    old = os.readlink(current) if current.is_symlink() else None
    link = folder / "..data_next"
    link.unlink(missing_ok=True)
    link.symlink_to(version.name)
    link.replace(current)
    _link_names(folder, {Path(path).parts[0] for path in files})
    if old is not None:
        shutil.rmtree(folder / old, ignore_errors=True)
    return True


def _link_names(folder: Path, names: set[str]) -> None:
    for name in names:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_DATA}/{name}")
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()


def _read(data: Path) -> dict[str, File]:
    base = data.resolve()
    return {
        path.relative_to(base).as_posix(): File(content=path.read_bytes(), mode=path.stat().st_mode & 0o777)
        for path in base.rglob("*")
        if path.is_file()
    }
