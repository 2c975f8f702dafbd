"""What instances leave in a state directory: the lock while one runs, stale processes and files when one was killed.

Only what instance.json names is ever deleted, because the directory may be anybody's. Knows no running cloud.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

from localclouds import procfs
from localclouds.errors import AlreadyRunning, StartFailed


def locked(state: Path) -> TextIOWrapper:
    """Take the instance lock for as long as the returned file is open; raises AlreadyRunning."""
    lock = (state / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise AlreadyRunning(
            f"clouds are running in {state}; stop them with `localclouds down --state {state}`, or use another --state"
        ) from None
    return lock


def sweep_stale(state: Path, log: Callable[..., None]) -> None:
    """Remove what the last instance left here: processes, if it could not take itself down, then its files.

    Only what instance.json names is deleted: the state directory may be anybody's.
    """
    try:
        stale = json.loads((state / "instance.json").read_text())
    except FileNotFoundError:
        return
    log("supervisor.stale", instance=stale["instance"], killed=procfs.sweep(stale["instance"]))
    clean(state, stale["clouds"])
    for name in stale["clouds"]:
        _delete_tree(state / name)


def refuse_foreign(state: Path, clouds: list[str]) -> None:
    """Raise StartFailed if something is in our way after the sweep: then it is somebody else's."""
    for name in (*clouds, "oci", "kubeconfig"):
        if os.path.lexists(state / name):
            raise StartFailed(
                f"{state / name} exists and was not made by local clouds; move it away, or use another --state"
            )


def clean(state: Path, clouds: list[str]) -> None:
    """Delete everything of an instance but the logs and audit logs of its clouds, and instance.json that names them."""
    for entry in (entry for name in clouds if (state / name).is_dir() for entry in (state / name).iterdir()):
        if entry.name in ("logs", "audit.log"):
            continue
        if entry.is_dir() and not entry.is_symlink():
            _delete_tree(entry)
        else:
            entry.unlink(missing_ok=True)
    (state / "kubeconfig").unlink(missing_ok=True)
    shutil.rmtree(state / "oci", ignore_errors=True)


def _delete_tree(directory: Path) -> None:
    """Delete a directory, but never through something that is still mounted below it."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if not any(point.startswith(f"{directory}/") for point in mounted):
        shutil.rmtree(directory, ignore_errors=True)
