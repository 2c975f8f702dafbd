"""How containers get their volumes at their mount paths on this machine, found out by trying.

MOUNT: a mount namespace, as root. USER: a user and a mount namespace, where unprivileged users may make them.
FOLDER: neither; the mount paths are links below a folder that PILOTAGE_POD_ROOT names, and programs resolve
them there. Knows nothing of pods.
"""

from __future__ import annotations

import enum
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

POD_ROOT = "PILOTAGE_POD_ROOT"
CHOICE = "LOCALCLOUDS_ISOLATION"
_LAUNCHER = str(Path(__file__).with_name("launch.py"))


class Isolation(enum.StrEnum):
    """What the machine allows; ordered from best to least."""

    MOUNT = "mount"
    USER = "user"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or folder of the machine that a container sees at an absolute path."""

    source: str
    path: str
    read_only: bool
    is_dir: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command with its whole environment and its working directory inside the container."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str = "/"


@contextmanager
def launcher(
    isolation: Isolation,
    command: Command,
    *,
    report: int,
    root: Path,
    mounts: Sequence[Mount] = (),
    join: int | None = None,
) -> Iterator[tuple[list[str], tuple[int, int]]]:
    """Command line that starts `command` in a container of its own, or in that of the process `join`, and
    descriptors to inherit.

    `report` says why the start failed, or closes. `root` is an existing empty folder: the new file system's
    place, in the container's own namespace only. What the launcher must know is in a file without a name:
    command lines are public, and short.
    """
    spec = {
        "parent": os.getpid(),
        "report": report,
        "isolation": isolation,
        "root": str(root),
        "argv": list(command.argv),
        "env": dict(command.env),
        "cwd": command.cwd,
        "mounts": [asdict(mount) for mount in mounts],
        "join": join if isolation is not Isolation.FOLDER else None,
    }
    with os.fdopen(os.memfd_create("container"), "wb+") as file:
        file.write(json.dumps(spec).encode())
        file.seek(0)
        yield [sys.executable, "-I", "-S", _LAUNCHER, str(file.fileno())], (report, file.fileno())


def link_mounts(folder: Path, mounts: Sequence[Mount]) -> None:
    """Make the mount paths below `folder` as links to their sources, for FOLDER.

    Raises OSError when one mount path lies inside another one that cannot hold it.
    """
    for mount in sorted(mounts, key=lambda mount: mount.path.count("/")):
        target = folder / mount.path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink():
            target.unlink()
        target.symlink_to(mount.source)


def best_isolation(scratch: Path, environment: Mapping[str, str] = os.environ) -> Isolation:
    """The best isolation that works here, or the one that $LOCALCLOUDS_ISOLATION asks for (mount, user or
    folder).

    Raises ValueError when that variable has another value.
    """
    wanted = environment.get(CHOICE)
    if wanted:
        try:
            return Isolation(wanted)
        except ValueError as error:
            raise ValueError(f"{CHOICE}: {wanted!r} is not one of mount, user, folder") from error
    return next(isolation for isolation in Isolation if _works(isolation, scratch))


def _works(isolation: Isolation, scratch: Path) -> bool:
    if isolation is Isolation.FOLDER:
        return True
    source, root = scratch / "probe-source", scratch / "root"
    source.mkdir(parents=True, exist_ok=True)
    root.mkdir(exist_ok=True)
    (source / "there").touch()
    path = "/pilotage-probe/volume"
    mount = Mount(source=str(source), path=path, read_only=True, is_dir=True)
    command = Command(argv=[sys.executable, "-I", "-S", "-c", _CHECK, f"{path}/there"], env={})
    try:
        with launcher(isolation, command, report=2, root=root, mounts=[mount]) as (argv, descriptors):
            done = subprocess.run(argv, capture_output=True, timeout=20, check=False, pass_fds=descriptors[1:])
            return done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


_CHECK = "import os, sys; sys.exit(not os.path.exists(sys.argv[1]))"
