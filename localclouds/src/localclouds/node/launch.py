"""The first program of every container: ties the process to its agent, gives it its file system, and becomes
its command.

Run as `python -I -S launch.py SPEC` in a process of its own; SPEC is a descriptor with JSON (see `launcher`
in isolation.py). Imports the standard library only and nothing of ours: it starts once per container and per
exec probe, so its start-up time matters. Exit codes before the command runs: 127 the command was not found,
126 it could not be started, 125 the file system could not be made; the reason then goes to the descriptor
`report`, which closes without a word when the command starts.

The new root is a tmpfs in a mount namespace of the process: every entry of / is bound into it, and a mount
path that does not exist is made by covering its nearest existing folder with a tmpfs into which that folder's
entries are bound. Nothing is ever written to the machine's own folders, and the namespace with all its mounts
ends with its last process.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

TYPE_CHECKING = False  # typing costs a fifth of the start-up time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18
_MS_NOATIME, _MS_NODIRATIME, _MS_RELATIME = 1024, 2048, 1 << 21
_KEPT_FLAGS = _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | _MS_NOATIME | _MS_NODIRATIME | _MS_RELATIME
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def main(descriptor: int) -> None:
    """Become the command of the spec; returns only by raising."""
    with open(descriptor, "rb") as file:
        spec = json.load(file)
    report = spec["report"]
    os.set_inheritable(report, False)
    _die_with(spec["parent"])
    try:
        if spec.get("join"):
            _join(spec["join"], spec["isolation"] == "user")
        elif spec["isolation"] != "folder":
            _isolate(spec)
        os.chdir(spec["cwd"])
    except OSError as error:
        _fail(report, 125, f"cannot prepare the container's files: {error}")
    # A second time: entering a user namespace may have changed credentials, which clears the setting.
    _die_with(spec["parent"])
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    argv, environment = spec["argv"], spec["env"]
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606
    except FileNotFoundError:
        _fail(report, 127, f"{argv[0]}: command not found on {environment.get('PATH')}")
    except OSError as error:
        _fail(report, 126, f"{argv[0]}: cannot be started: {error.strerror}")


def _fail(report: int, code: int, message: str) -> None:
    os.write(report, message.encode())
    os._exit(code)


def _die_with(parent: int) -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # The agent died before the setting took effect.
        os._exit(137)


def _isolate(spec: dict[str, Any]) -> None:
    user, group = os.getuid(), os.getgid()
    if spec["isolation"] == "user":
        _call(_libc.unshare, _CLONE_NEWUSER | _CLONE_NEWNS)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    else:
        _call(_libc.unshare, _CLONE_NEWNS)
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    # Opened first: a later mount may cover the path of an earlier one's source.
    sources = [os.open(mount["source"], os.O_PATH) for mount in spec["mounts"]]
    own = _Root(spec["root"])
    # Shallow paths first, so that a volume below another one is mounted onto it.
    for mount, source in sorted(zip(spec["mounts"], sources, strict=True), key=lambda pair: pair[0]["path"].count("/")):
        own.bind(f"/proc/self/fd/{source}", mount["path"], mount["read_only"], mount["is_dir"])
    for source in sources:
        os.close(source)


class _Root:
    """The new root, entered; `_folders` are those that are ours to make entries in."""

    def __init__(self, path: str) -> None:
        self._folders: set[str] = set()
        _mount("tmpfs", path, "tmpfs", _MS_NOSUID, "mode=755")
        self._copy_entries("/", path)
        os.chroot(path)
        os.chdir("/")
        self._folders.add("/")

    def bind(self, source: str, path: str, read_only: bool, is_dir: bool) -> None:
        target = os.path.realpath(path)
        if not os.path.lexists(target):
            self._make(target, is_dir)
        _mount(source, target, None, _MS_BIND | _MS_REC)
        if read_only:
            kept = os.statvfs(target).f_flag & _KEPT_FLAGS
            _mount("none", target, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept)

    def _make(self, target: str, is_dir: bool) -> None:
        parent = os.path.dirname(target)
        if not os.path.isdir(parent):
            self._make(parent, True)
        if parent not in self._folders:
            self._cover(parent)
        if is_dir:
            os.mkdir(target, 0o755)
            self._folders.add(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))

    def _cover(self, folder: str) -> None:
        below = os.open(folder, os.O_PATH)
        mode = os.fstat(below).st_mode & 0o7777
        _mount("tmpfs", folder, "tmpfs", _MS_NOSUID, f"mode={mode:o}")
        self._copy_entries(f"/proc/self/fd/{below}", folder)
        os.close(below)
        self._folders.add(folder)

    def _copy_entries(self, old: str, new: str) -> None:
        for entry in os.scandir(old):
            target = os.path.join(new, entry.name)
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), target)
                continue
            if entry.is_dir():
                os.mkdir(target)
            else:
                os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
            try:
                _mount(entry.path, target, None, _MS_BIND | _MS_REC)
            except OSError:
                # An entry that vanished meanwhile or may not be bound is left empty: no container was
                # promised it.
                continue


def _join(pid: int, has_user_namespace: bool) -> None:
    root = os.open(f"/proc/{pid}/root", os.O_PATH)
    namespaces = ["user", "mnt"] if has_user_namespace else ["mnt"]
    handles = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in namespaces]
    for handle in handles:
        _call(_libc.setns, handle, 0)
        os.close(handle)
    os.fchdir(root)
    os.chroot(".")
    os.close(root)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    data = None if options is None else options.encode()
    if _libc.mount(*texts, ctypes.c_ulong(flags), data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {target}: {os.strerror(number)}")


def _call(function: Callable[..., int], *arguments: int) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function.__name__}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main(int(sys.argv[1]))
