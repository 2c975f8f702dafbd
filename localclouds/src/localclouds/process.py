"""One supervised process: started, restarted with back-off when it dies, paused, killed, stopped.

It runs in its own session (a Ctrl-C in the owner's terminal reaches only the owner), carries the instance's
mark, and is killed by the kernel when the supervisor dies. Its output goes straight to its log file. Knows nothing of
Kubernetes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from localclouds import procfs

FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 8.0
STEADY_AFTER_S: Final = 20.0
"""A process that lived this long starts over with the first back-off."""

_TAIL_BYTES: Final = 4000
_FOLLOW_EVERY_S: Final = 0.2


class Phase(StrEnum):
    """What a supervised process is doing."""

    STOPPED = "stopped"
    RUNNING = "running"
    PAUSED = "paused"
    BACKING_OFF = "backing off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run. `polite_s`: seconds between SIGTERM and SIGKILL when stopped; 0 kills at once."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    polite_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A process at one moment. `restarts` counts starts after the first; `last_exit` is negative for a signal."""

    phase: Phase
    pid: int | None
    since: float | None
    restarts: int
    last_exit: int | None


class Supervised:
    """Keeps one command running. All methods belong to the event loop's thread, the supervisor's main one."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._gone = asyncio.Event()
        self._gone.set()
        self._hurry = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._paused = False
        self._since: float | None = None
        self._starts = 0
        self._last_exit: int | None = None

    @property
    def status(self) -> Status:
        """Where the process stands."""
        if self._keeper is None:
            phase = Phase.STOPPED
        elif self._process is None:
            phase = Phase.BACKING_OFF
        else:
            phase = Phase.PAUSED if self._paused else Phase.RUNNING
        pid = self._process.pid if self._process else None
        return Status(
            phase=phase,
            pid=pid,
            since=self._since if pid else None,
            restarts=max(0, self._starts - 1),
            last_exit=self._last_exit,
        )

    def start(self) -> None:
        """Run it from now on; at once if it is waiting out a back-off. No-op when it runs."""
        self._hurry.set()
        if self._keeper is None:
            self._spawn()
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        """End it and leave it ended: SIGTERM, `polite_s`, SIGKILL."""
        keeper, self._keeper = self._keeper, None
        if self._process is not None and self.command.polite_s:
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.command.polite_s):
                    await self._gone.wait()
        await self.kill()
        if keeper is not None:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper

    async def kill(self) -> None:
        """SIGKILL it and wait until it is gone; the supervisor starts it anew unless it was stopped."""
        self._signal(signal.SIGKILL)
        await self._gone.wait()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): its connections stay open and silent."""
        self._paused = self._process is not None
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._paused = False
        self._signal(signal.SIGCONT)

    def tail(self, lines: int = 12) -> str:
        """Its last log lines, for errors."""
        return tail(self.command.log, lines)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)

    async def _keep(self) -> None:
        """Restart the process whenever it dies. Owns: the process. Ends: when cancelled. Retried: every exit."""
        backoff = FIRST_BACKOFF_S
        while True:
            began = time.monotonic()
            await self._gone.wait()
            if time.monotonic() - began > STEADY_AFTER_S:
                backoff = FIRST_BACKOFF_S
            self._hurry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff):
                    await self._hurry.wait()
            backoff = min(2 * backoff, LONGEST_BACKOFF_S)
            self._spawn()

    def _spawn(self) -> None:
        parent = os.getpid()
        self._paused = False
        with self.command.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command.argv,
                env=dict(self.command.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Safe here: the supervisor has one thread, and this calls nothing but prctl and getppid.
                preexec_fn=lambda: procfs.die_with_parent(parent),
            )
        self._starts += 1
        self._since = time.time()
        self._gone.clear()
        _on_exit(self._process.pid, self._exited)

    def _exited(self) -> None:
        assert self._process is not None, "an exit is reported once, before the next start"
        self._last_exit = self._process.wait()
        self._process = None
        self._gone.set()


def _on_exit(pid: int, callback: Callable[[], None]) -> None:
    """Call back on the running loop once the child has ended, without a thread."""
    loop = asyncio.get_running_loop()
    handle = os.pidfd_open(pid)

    def ended() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        callback()

    loop.add_reader(handle, ended)


def tail(path: Path, lines: int) -> str:
    """The last lines of a text file, without reading all of it; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def follow(paths: Sequence[Path]) -> Iterator[str]:
    """Lines as they are appended to the files, for ever."""
    files = [path.open(errors="replace") for path in paths]
    for file in files:
        file.seek(0, os.SEEK_END)
    pause = threading.Event()
    while True:
        fresh = [line.rstrip("\n") for file in files for line in file]
        yield from fresh
        if not fresh:
            pause.wait(_FOLLOW_EVERY_S)
