"""Kills what an agent leaves behind. A container's own process dies with the agent; children it started might
not.

Runs as a process of its own (`python -I -S reaper.py MARK`) that does nothing but wait for the end of its
standard input, which the agent holds open: however the agent ends, even by SIGKILL, the reaper then kills
every process with the agent's mark in its environment, and ends. Imports the standard library only.
"""

from __future__ import annotations

import os
import select
import signal
import sys

MARK = "LOCALCLOUDS_NODE"


def marked(start: str) -> list[int]:
    """Processes whose environment carries a mark that begins like this, except the caller."""
    wanted = f"{MARK}={start}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                variables = file.read().split(b"\0")
        except OSError:
            continue
        if any(variable.startswith(wanted) for variable in variables):
            found.append(int(entry))
    return found


def kill_marked(start: str) -> int:
    """Kill every process with such a mark until none is left; return how many there were."""
    killed = set()
    # A process may fork while the list is read, so look until a look finds nothing.
    for _ in range(50):
        found = marked(start)
        if not found:
            break
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        killed.update(found)
        select.select([], [], [], 0.02)
    return len(killed)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    kill_marked(sys.argv[1])
