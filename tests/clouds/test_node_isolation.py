"""Processes of containers: their files, their end, and what is left behind. No control plane is needed."""

# ruff: noqa: ASYNC240  (files are looked at while nothing else runs in the loop)

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from localclouds.node import reaper
from localclouds.node.isolation import POD_ROOT, Command, Isolation, Mount, best_isolation, link_mounts
from localclouds.node.process import Process, StartFailed, run_inside
from support.polling import eventually

with tempfile.TemporaryDirectory() as scratch:
    BEST = best_isolation(Path(scratch))
POSSIBLE = list(Isolation)[list(Isolation).index(BEST) :]


@pytest.fixture(params=POSSIBLE, ids=str)
def isolation(request: pytest.FixtureRequest) -> Isolation:
    """Each isolation that this machine allows."""
    chosen: Isolation = request.param
    return chosen


@pytest.fixture
def output(tmp_path: Path) -> Iterator[int]:
    """Where processes write to: the file `out`."""
    with (tmp_path / "out").open("wb") as file:
        yield file.fileno()


def mounts_for(tmp_path: Path) -> tuple[Mount, ...]:
    """A read-only folder, a writable one, a file in /dev, and a folder below an existing one of the machine."""
    for name in ("bundle", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    (tmp_path / "message").touch()

    def mount(name: str, path: str, *, read_only: bool) -> Mount:
        source = tmp_path / name
        return Mount(source=str(source), path=path, read_only=read_only, is_dir=source.is_dir())

    return (
        mount("bundle", "/pilotage/bundle", read_only=True),
        mount("data", "/pilotage/data", read_only=False),
        mount("data", "/etc/pilotage-test/deep", read_only=False),
        mount("message", "/dev/termination-log", read_only=False),
    )


def environment(isolation: Isolation, tmp_path: Path) -> dict[str, str]:
    base = {"PATH": os.environ["PATH"], "R": ""}
    if isolation is Isolation.FOLDER:
        base |= {POD_ROOT: str(tmp_path / "folder"), "R": str(tmp_path / "folder")}
    return base


async def start(isolation: Isolation, tmp_path: Path, output: int, script: str) -> Process:
    mounts = mounts_for(tmp_path)
    (tmp_path / "root").mkdir()
    if isolation is Isolation.FOLDER:
        link_mounts(tmp_path / "folder", mounts)
    command = Command(argv=["sh", "-c", script], env=environment(isolation, tmp_path))
    return await Process.start(command, isolation=isolation, root=tmp_path / "root", output=output, mounts=mounts)


async def test_volumes_are_at_their_paths(isolation: Isolation, tmp_path: Path, output: int) -> None:
    script = """
        cat $R/pilotage/bundle/name $R/etc/pilotage-test/deep/name; echo
        echo written > $R/pilotage/data/new; echo last words > $R/dev/termination-log
        cat /etc/hostname; head -c 0 /dev/urandom; id -u
    """
    process = await start(isolation, tmp_path, output, script)
    assert await process.exited == 0
    said = (tmp_path / "out").read_text().split()
    assert said == ["bundledata", *Path("/etc/hostname").read_text().split(), str(os.getuid())]
    assert (tmp_path / "data" / "new").read_text() == "written\n"
    assert (tmp_path / "message").read_text() == "last words\n"


async def test_nothing_of_it_is_seen_outside(isolation: Isolation, tmp_path: Path, output: int) -> None:
    before = Path("/proc/self/mounts").read_text()
    process = await start(isolation, tmp_path, output, "exec sleep 1000")
    assert Path("/proc/self/mounts").read_text() == before
    assert not Path("/pilotage").exists()
    assert not Path("/etc/pilotage-test").exists()
    process.kill()
    assert await process.exited == 128 + signal.SIGKILL
    assert list((tmp_path / "root").iterdir()) == []


async def test_a_read_only_volume_cannot_be_written(isolation: Isolation, tmp_path: Path, output: int) -> None:
    if isolation is Isolation.FOLDER:
        # Links cannot refuse; the agent says so in its documentation, and the content is checked at every start.
        return
    process = await start(isolation, tmp_path, output, "echo x > /pilotage/bundle/name")
    assert await process.exited != 0
    assert (tmp_path / "bundle" / "name").read_text() == "bundle"


async def test_a_command_inside_sees_the_same_files(isolation: Isolation, tmp_path: Path, output: int) -> None:
    process = await start(isolation, tmp_path, output, "exec sleep 1000")

    async def inside(script: str, timeout_s: float = 10) -> tuple[int, str]:
        command = Command(argv=["sh", "-c", script], env=environment(isolation, tmp_path))
        return await run_inside(process, command, isolation=isolation, root=tmp_path / "root", timeout_s=timeout_s)

    assert await inside("cat $R/pilotage/bundle/name; exit 3") == (3, "bundle")
    with pytest.raises(TimeoutError):
        await inside("sleep 1000", timeout_s=0.5)
    process.kill()
    await process.exited


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [(["no-such-command"], 127, "no-such-command: command not found"), (["/etc/hostname"], 126, "cannot be started")],
)
async def test_a_command_that_cannot_start_says_why(
    isolation: Isolation, tmp_path: Path, output: int, argv: list[str], code: int, says: str
) -> None:
    (tmp_path / "root").mkdir()
    command = Command(argv=argv, env={"PATH": "/bin"})
    with pytest.raises(StartFailed, match=says) as failed:
        await Process.start(command, isolation=isolation, root=tmp_path / "root", output=output)
    assert failed.value.exit_code == code


async def test_its_children_end_with_it(isolation: Isolation, tmp_path: Path, output: int) -> None:
    process = await start(isolation, tmp_path, output, "sleep 1000 & echo $!; exit 0")
    assert await process.exited == 0
    child = int((tmp_path / "out").read_text())
    eventually(lambda: not Path(f"/proc/{child}").exists() or _is_zombie(child))


def test_everything_dies_with_the_agent_and_its_reaper(tmp_path: Path) -> None:
    agent = subprocess.Popen([sys.executable, "-c", AGENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    mark = agent.stdout.readline().strip()
    eventually(lambda: len(reaper.marked(mark)) == 2)
    agent.kill()
    agent.wait()
    agent.stdout.close()
    eventually(lambda: not reaper.marked(mark), within_s=5)


AGENT = """
import asyncio, os, sys
from pathlib import Path
from localclouds.node import agent, reaper
from localclouds.node.isolation import Command, Isolation
from localclouds.node.process import Process

async def main(folder):
    mark = str(folder) + "#1"
    with agent.reaping(mark):
        environment = {"PATH": os.environ["PATH"], reaper.MARK: mark}
        command = Command(argv=["sh", "-c", "setsid sleep 1000 & exec sleep 1000"], env=environment)
        await Process.start(command, isolation=Isolation.FOLDER, root=folder, output=2)
        print(mark, flush=True)
        await asyncio.sleep(1000)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_the_choice_can_be_forced(tmp_path: Path) -> None:
    assert best_isolation(tmp_path, {"LOCALCLOUDS_ISOLATION": "folder"}) is Isolation.FOLDER
    with pytest.raises(ValueError, match="LOCALCLOUDS_ISOLATION: 'chroot' is not one of mount, user, folder"):
        best_isolation(tmp_path, {"LOCALCLOUDS_ISOLATION": "chroot"})


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
