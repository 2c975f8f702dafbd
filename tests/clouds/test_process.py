"""One supervised process: kept running, frozen, killed, stopped, and never outliving its supervisor."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from localclouds import procfs
from localclouds.process import FIRST_BACKOFF_S, Command, Phase, Supervised, tail
from support.polling import eventually, eventually_async

FOREVER = (sys.executable, "-S", "-c", "import signal; print('up', flush=True); signal.pause()")
DEAF = (
    sys.executable,
    "-S",
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()",
)


@asynccontextmanager
async def running(tmp_path: Path, argv: tuple[str, ...] = FOREVER, polite_s: float = 0.0) -> AsyncIterator[Supervised]:
    process = Supervised(
        Command(name="test/it", argv=argv, environment=dict(os.environ), log=tmp_path / "log", polite_s=polite_s)
    )
    process.start()
    await eventually_async(lambda: "up" in tail(process.command.log, 5))
    try:
        yield process
    finally:
        await process.stop()


async def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        first = process.status.pid

        await process.kill()

        assert process.status.phase is Phase.BACKING_OFF
        assert process.status.last_exit == -signal.SIGKILL
        await eventually_async(lambda: process.status.phase is Phase.RUNNING)
        assert process.status.pid != first
        assert process.status.restarts == 1


async def test_what_dies_at_once_is_retried_ever_more_slowly(tmp_path: Path) -> None:
    process = Supervised(Command(name="test/it", argv=("/bin/false",), environment={}, log=tmp_path / "log"))
    began = asyncio.get_running_loop().time()
    process.start()

    await eventually_async(lambda: process.status.restarts == 2)

    assert asyncio.get_running_loop().time() - began >= FIRST_BACKOFF_S + 2 * FIRST_BACKOFF_S
    assert process.status.last_exit == 1
    await process.stop()


async def test_a_start_by_hand_does_not_wait_for_the_back_off(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        await process.kill()

        process.start()

        async with asyncio.timeout(FIRST_BACKOFF_S / 2):
            await eventually_async(lambda: process.status.phase is Phase.RUNNING)


async def test_a_paused_process_is_frozen_until_resumed(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        process.pause()
        await eventually_async(lambda: _state(process) == "T")
        assert process.status.phase == "paused"

        process.resume()

        await eventually_async(lambda: _state(process) == "S")
        assert process.status.phase == "running"


async def test_a_stopped_process_stays_stopped(tmp_path: Path) -> None:
    async with running(tmp_path, polite_s=5.0) as process:
        await process.stop()

        assert process.status.phase is Phase.STOPPED
        assert process.status.last_exit == -signal.SIGTERM


async def test_what_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    async with running(tmp_path, DEAF, polite_s=0.2) as process:
        await process.stop()

        assert process.status.last_exit == -signal.SIGKILL


async def test_a_frozen_process_can_be_stopped_politely(tmp_path: Path) -> None:
    async with running(tmp_path, polite_s=5.0) as process:
        process.pause()

        await process.stop()

        assert process.status.last_exit == -signal.SIGTERM


def test_it_dies_with_its_supervisor(tmp_path: Path) -> None:
    program = f"""
import asyncio, os
from pathlib import Path
from localclouds.process import Command, Supervised
async def main():
    it = Supervised(Command(name="it", argv={FOREVER!r}, environment={{}}, log=Path({str(tmp_path / "log")!r})))
    it.start()
    print(it.status.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        assert procfs.start_time(child) is not None

        supervisor.kill()

    eventually(lambda: procfs.start_time(child) is None)


def test_the_sweep_finds_whoever_carries_the_mark() -> None:
    environment = {**os.environ, "PILOTAGE_CLOUDS_INSTANCE": "feedfacecafe"}
    with (
        subprocess.Popen(FOREVER, env=environment, stdout=subprocess.PIPE, start_new_session=True) as marked,
        subprocess.Popen(FOREVER, stdout=subprocess.PIPE) as other,
    ):
        for each in (marked, other):
            assert each.stdout is not None
            each.stdout.readline()

        swept = procfs.sweep("feedfacecafe")

        assert swept == [marked.pid]
        assert marked.wait(5) == -signal.SIGKILL
        assert other.poll() is None
        other.kill()


def test_a_pid_that_came_back_as_another_process_is_not_mistaken() -> None:
    me, since = os.getpid(), procfs.start_time(os.getpid())

    assert since is not None
    assert procfs.is_alive(me, since)
    assert not procfs.is_alive(me, since - 1)


def _state(process: Supervised) -> str:
    """One letter: R running, S sleeping, T stopped."""
    stat = Path(f"/proc/{process.status.pid}/stat").read_text()
    return stat[stat.rindex(")") + 2]
