"""Which commit a configuration is of, for whoever finds a bundle and wants the file that made it.

The commit is the last one that changed the file, not the newest of the repository: a bundle's bytes must not change
when something else does. A shallow clone does not know it, so nothing is said there.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_PATIENCE_S = 10.0


def revision_of(path: Path) -> str:
    """Give the commit, with `-dirty` if the file differs from it; empty when git does not know the file."""
    folder, name = path.resolve().parent, path.name
    commit = _git(folder, "log", "-1", "--format=%H", "--", name)
    if not commit or _git(folder, "rev-parse", "--is-shallow-repository") == "true":
        return ""
    return f"{commit}-dirty" if _git(folder, "status", "--porcelain", "--", name) else commit


def _git(folder: Path, *arguments: str) -> str:
    """Ask git; empty if it cannot answer."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "--literal-pathspecs", *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=_PATIENCE_S,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
