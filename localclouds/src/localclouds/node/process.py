"""One process of a container: started, watched, signalled, and never left behind.

Invariants: its whole process group is killed before it is reaped; it dies with the agent's main thread (the
launcher sets the parent death signal, so `start` must be called there). Knows no pods.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

from localclouds.node.isolation import Command, Isolation, Mount, launcher

MOST_OUTPUT_BYTES = 4096


class StartFailed(Exception):
    """The command could not be started: `exit_code` is 125, 126 or 127."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Process:
    """A running command. `exited` resolves to its exit code, or to 128 + signal."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.pid = popen.pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._popen = popen
        self._pidfd = os.pidfd_open(popen.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    @classmethod
    async def start(
        cls,
        command: Command,
        *,
        isolation: Isolation,
        root: Path,
        output: int,
        mounts: tuple[Mount, ...] = (),
        join: Process | None = None,
    ) -> Process:
        """Start the command with stdout and stderr going to the descriptor `output`; return when it runs.

        Raises StartFailed when it cannot run.
        """
        ours, report = os.pipe()
        try:
            inside = join.pid if join else None
            start = launcher(isolation, command, report=report, root=root, mounts=mounts, join=inside)
            with start as (argv, descriptors):
                # Blocks for the fork only: the launcher does everything slow in the child.
                popen = subprocess.Popen(  # noqa: ASYNC220
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=descriptors,
                    start_new_session=True,
                    env={},
                )
        finally:
            os.close(report)
        process = cls(popen)
        try:
            message = await _read_to_end(ours)
        except BaseException:
            process.kill()
            raise
        if message:
            raise StartFailed(message, await process.exited)
        return process

    @property
    def is_running(self) -> bool:
        """Whether it has not been reaped yet."""
        return not self.exited.done()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone, as a container runtime does."""
        if self.is_running:
            self._popen.send_signal(number)

    def kill(self) -> None:
        """Kill the process and all of its group, now."""
        if self.is_running:
            _kill_group(self.pid)

    def _reap(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        # Not reaped yet, so its number still names its group.
        _kill_group(self.pid)
        code = self._popen.wait()
        if not self.exited.done():
            self.exited.set_result(code if code >= 0 else 128 - code)


async def run_inside(
    container: Process, command: Command, *, isolation: Isolation, root: Path, timeout_s: float
) -> tuple[int, str]:
    """Run a command in a container's file system; return its exit code and the last of its output.

    Raises TimeoutError (the command is killed) and StartFailed.
    """
    output = os.memfd_create("output")
    try:
        process = await Process.start(command, isolation=isolation, root=root, output=output, join=container)
        try:
            async with asyncio.timeout(timeout_s):
                code = await asyncio.shield(process.exited)
        finally:
            process.kill()
            await asyncio.shield(process.exited)
        size = os.lseek(output, 0, os.SEEK_END)
        text = os.pread(output, MOST_OUTPUT_BYTES, max(0, size - MOST_OUTPUT_BYTES))
        return code, text.decode(errors="replace").strip()
    finally:
        os.close(output)


async def _read_to_end(descriptor: int) -> str:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    parts: list[bytes] = []

    def on_readable() -> None:
        part = os.read(descriptor, 4096)
        parts.append(part)
        if not part and not done.done():
            done.set_result(None)

    loop.add_reader(descriptor, on_readable)
    try:
        await done
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return b"".join(parts).decode(errors="replace")


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # Nothing left of it, or it has not become a group of its own yet: then it is alone.
        try:
            os.kill(group, signal.SIGKILL)
        except ProcessLookupError:
            return
