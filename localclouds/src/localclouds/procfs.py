"""What /proc knows about processes: identity that survives pid reuse, and who carries an instance's mark.

A pid alone may belong to a stranger by the time it is used; pid and start time together never do. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from localclouds.names import INSTANCE_MARK

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None when there is no such process (or only its zombie)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command name is in parentheses and may contain anything, so count from the last one.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(pid: int, since: int) -> bool:
    """Whether the process that had this pid at start time `since` still runs."""
    return start_time(pid) == since


def marked(instance: str) -> list[int]:
    """Pids of all processes whose initial environment carries this instance's mark (ours among them, if so)."""
    mark = f"{INSTANCE_MARK}={instance}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # gone meanwhile, or another user's
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def sweep(instance: str, within_s: float = 5.0) -> list[int]:
    """Kill every process that carries the mark, again until none is left; returns the pids that were killed.

    A process may fork between being listed and being killed, hence the repetition. Gives up after `within_s`.
    """
    deadline = time.monotonic() + within_s
    killed: list[int] = []
    while (found := [pid for pid in marked(instance) if pid != os.getpid()]) and time.monotonic() < deadline:
        killed += found
        kill_and_wait(found, deadline - time.monotonic())
    return killed


def kill_and_wait(pids: Iterable[int], within_s: float) -> None:
    """SIGKILL the processes and wait until they are gone, at most `within_s`."""
    deadline = time.monotonic() + within_s
    handles = []
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            handles.append(os.pidfd_open(pid))
            signal.pidfd_send_signal(handles[-1], signal.SIGKILL)
    for handle in handles:
        with suppress(OSError):
            # poll, not select: descriptors may be above 1023
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
        os.close(handle)


def await_end(pid: int, within_s: float) -> None:
    """Wait until the process has ended, at most `within_s`."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.poll(within_s * 1000)
        os.close(handle)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the thread that forked it ends; for use between fork and exec."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
        os._exit(1)
