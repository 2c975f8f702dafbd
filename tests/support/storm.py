"""Trouble for running clouds: kills of the processes inside pods, at random moments of a seeded draw.

A process is ours to kill when it carries the instance's mark in its environment; nothing else is ever signalled.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from localclouds import Clouds


def pids(clouds: Clouds, *words: str) -> list[int]:
    """Processes of this instance whose command line has all these words."""
    mark = f"PILOTAGE_CLOUDS_INSTANCE={clouds['hub'].facts.instance}".encode()
    return [
        pid
        for pid in _all_pids()
        if _has(pid, "environ", mark) and all(_has(pid, "cmdline", each.encode()) for each in words)
    ]


def kill(clouds: Clouds, *words: str, draw: random.Random) -> bool:
    """SIGKILL one of the processes with these words in its command line; False when there is none."""
    found = pids(clouds, *words)
    if not found:
        return False
    try:
        os.kill(draw.choice(found), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def at_random_moments(
    act: Callable[[], bool], *, times: int, between_s: tuple[float, float], draw: random.Random
) -> Iterator[Callable[[], int]]:
    """While the block runs, do `act` so often, at random moments; yields how often it has been done."""
    done = [0]
    ended = threading.Event()

    def work() -> None:
        while done[0] < times and not ended.wait(draw.uniform(*between_s)):
            done[0] += act()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        yield lambda: done[0]
    finally:
        ended.set()
        worker.join()


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _has(pid: int, file: str, word: bytes) -> bool:
    try:
        return word in Path(f"/proc/{pid}/{file}").read_bytes()
    except OSError:
        return False
