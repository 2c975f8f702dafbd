"""The collector as it runs in a pod: the real command in its own process, killed at will and started again."""

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson

START_WITHIN_S = 30.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_the_test() -> None:
    """In the child, before it becomes the collector: a killed test run leaves no collector behind (Linux)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class CollectorProcess:
    """`pilotage-server collect` over one folder; ports stay the same over restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = self.admin_port = 0
        self.last_lines: deque[str] = deque(maxlen=20)
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._started = asyncio.Event()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until it serves; fails with its last words."""
        command = Path(sys.executable).with_name("pilotage-server")
        self._started.clear()
        self._process = await asyncio.create_subprocess_exec(
            str(command),
            "collect",
            *("--config", str(self.folder / "collector.json")),
            *("--data", str(self.folder / "data")),
            *("--key-dir", str(self.folder / "keys")),
            *("--port", str(self.port), "--admin-port", str(self.admin_port)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": "error"},
            preexec_fn=_die_with_the_test,
        )
        self._reading = asyncio.create_task(self._read())
        ended = asyncio.create_task(self._process.wait())
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait({ended, started}, timeout=START_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        is_up = started.done()
        for task in (ended, started):
            task.cancel()
        assert is_up, "\n".join(self.last_lines)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        await self._end(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal and wait for nothing."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self, *, within_s: float = 20.0) -> int:
        """Its exit code."""
        assert self._process is not None
        async with asyncio.timeout(within_s):
            code = await self._process.wait()
            if self._reading is not None:
                await self._reading
        return code

    async def get(self, path: str) -> tuple[int, bytes]:
        """One answer of the admin port."""
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, await response.read()

    async def quality(self) -> dict[str, Any]:
        """The document at `/quality`."""
        _, body = await self.get("/quality")
        document: dict[str, Any] = orjson.loads(body)
        return document

    async def stop(self) -> None:
        """Whatever its state, leave nothing behind."""
        if self._process is not None and self._process.returncode is None:
            await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.send(number)
        await self.ended()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            text = line.decode(errors="replace").rstrip()
            self.last_lines.append(text)
            if "collector.started" in text:
                self.port = int(re.findall(r'"port": ?(\d+)', text)[0])
                self.admin_port = int(re.findall(r'"admin_port": ?(\d+)', text)[0])
                self._started.set()


@contextlib.asynccontextmanager
async def a_collector_process(folder: Path) -> AsyncIterator[CollectorProcess]:
    """A running collector over `folder`, which holds keys and collector.json; killed at the end of the block."""
    process = CollectorProcess(folder)
    try:
        await process.start()
        yield process
    finally:
        await process.stop()
