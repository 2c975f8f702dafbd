"""The programs of a control plane: what they are built from, and how one gets them.

Built once with `go build` from the Go modules in localclouds/go (versions and sums are in their go.mod and
go.sum), kept in the cache under the module's version and a digest of everything that decides the outcome.
PILOTAGE_BIN_DIR names a folder of ready binaries instead. Knows no clouds.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localclouds import cache, toolchain
from localclouds.cache import Progress, silent
from localclouds.errors import BuildFailed
from localclouds.names import Component

BIN_DIR_VARIABLE: Final = "PILOTAGE_BIN_DIR"
_SOURCES: Final = Path(__file__).resolve().parents[2] / "go"
_REPORT_EVERY_S: Final = 10.0
_KUBE_VERSION: Final = "k8s.io/component-base/version"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoModule:
    """A folder of localclouds/go and the programs built from it."""

    name: str
    requires: str
    programs: dict[str, str]
    tags: str = ""
    stamps: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        """Where go.mod and go.sum are."""
        return _SOURCES / self.name

    @property
    def version(self) -> str:
        """The version of the required module, as go.mod pins it, without the v."""
        text = (self.directory / "go.mod").read_text()
        match = re.search(rf"{re.escape(self.requires)} v(\S+)", text)
        if match is None:
            raise BuildFailed(f"{self.directory}/go.mod: no version of {self.requires}; restore the file")
        return match[1]

    @property
    def flags(self) -> tuple[str, ...]:
        """Arguments of `go build` that decide what comes out."""
        major, minor, *_ = self.version.split(".")
        words = [stamp.format(version=self.version, major=major, minor=minor) for stamp in self.stamps]
        linker = " ".join(["-s", "-w", *(f"-X {word}" for word in words)])
        tags = ("-tags", self.tags) if self.tags else ()
        return ("-mod=readonly", "-trimpath", *tags, "-ldflags", linker)

    @property
    def home(self) -> Path:
        """Where the cache keeps this module's programs."""
        digest = hashlib.sha256("\0".join(self.flags).encode())
        for name in ("go.mod", "go.sum"):
            digest.update((self.directory / name).read_bytes())
        return cache.directory() / "bin" / f"{self.name}-{self.version}-{digest.hexdigest()[:10]}"


MODULES: Final = (
    GoModule(name="etcd", requires="go.etcd.io/etcd/server/v3", programs={"etcd": "go.etcd.io/etcd/server/v3"}),
    GoModule(
        name="kubernetes",
        requires="k8s.io/kubernetes",
        programs={
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        },
        stamps=(
            f"{_KUBE_VERSION}.gitVersion=v{{version}}",
            f"{_KUBE_VERSION}.gitMajor={{major}}",
            f"{_KUBE_VERSION}.gitMinor={{minor}}",
        ),
    ),
    GoModule(
        name="prometheus",
        requires="github.com/prometheus/prometheus",
        programs={"prometheus": "github.com/prometheus/prometheus/cmd/prometheus"},
        # Only Kubernetes discovery: the other clouds' libraries are most of the build time.
        tags="netgo,remove_all_sd,enable_kubernetes_sd",
        # The module's v0.314.0 is what the world calls Prometheus 3.14.0.
        stamps=("github.com/prometheus/common/version.Version=3.14.0",),
    ),
)

PROGRAMS: Final = frozenset(program for module in MODULES for program in module.programs)


def programs_of(components: Iterable[Component]) -> frozenset[str]:
    """The programs that these components need; parts written in Python need none."""
    return frozenset(str(component) for component in components) & PROGRAMS


def ensure(programs: Iterable[str] = PROGRAMS, progress: Progress = silent) -> dict[str, Path]:
    """Paths of the programs, built first where the cache has none. Safe to call from many processes at once.

    Raises BuildFailed with the compiler's last words, or naming what PILOTAGE_BIN_DIR lacks.
    """
    wanted = sorted(programs)
    if ready := os.environ.get(BIN_DIR_VARIABLE):
        return {program: _ready(Path(ready), program) for program in wanted}
    found: dict[str, Path] = {}
    for module in MODULES:
        ours = [program for program in wanted if program in module.programs]
        if any(not (module.home / program).exists() for program in ours):
            _build_module(module, ours, progress)
        found |= {program: module.home / program for program in ours}
    return found


def _ready(folder: Path, program: str) -> Path:
    path = folder / program
    if not os.access(path, os.X_OK):
        raise BuildFailed(
            f"{BIN_DIR_VARIABLE}={folder}: no program {program} there; add it, or unset the variable to have it built"
        )
    return path.absolute()


def _build_module(module: GoModule, programs: list[str], progress: Progress) -> None:
    lock = module.home.parent / f".lock-{module.name}"
    title = f"{module.name} {module.version}"
    with cache.locked(lock, lambda: progress(f"{title}: waiting for another process that builds it")):
        for program in programs:
            if not (module.home / program).exists():
                _build_program(module, program, progress)


def _build_program(module: GoModule, program: str, progress: Progress) -> None:
    go = toolchain.find_go(progress)
    module.home.mkdir(parents=True, exist_ok=True)
    draft = module.home / f".{program}.{os.getpid()}"
    command = [str(go), "build", "-v", *module.flags, "-o", str(draft), module.programs[program]]
    title = f"{module.name} {module.version}: building {program}"
    progress(f"{title} (once; the result is cached)")
    started = time.monotonic()
    try:
        _run_build(command, module.directory, title, progress)
        draft.rename(module.home / program)
    finally:
        draft.unlink(missing_ok=True)
    progress(f"{title}: done in {time.monotonic() - started:.0f} s")


def _run_build(command: list[str], directory: Path, title: str, progress: Progress) -> None:
    """Run `go build -v`, which names each package on stderr as it is compiled; tell how far it is now and then."""
    compiled, tail, reported = 0, [""], time.monotonic()
    with subprocess.Popen(
        command, cwd=directory, env=toolchain.environment(), stderr=subprocess.PIPE, text=True
    ) as build:
        try:
            for line in build.stderr or ():
                compiled += 1
                tail = [*tail[-20:], line.rstrip()]
                if time.monotonic() - reported >= _REPORT_EVERY_S:
                    reported = time.monotonic()
                    progress(f"{title}: {compiled} packages compiled")
        except BaseException:
            build.kill()
            raise
    if build.returncode:
        raise BuildFailed(f"{title} failed in {directory}:\n" + "\n".join(tail).strip())
