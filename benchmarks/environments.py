"""Packages that must not enter the development environment: pinned by hash, in a folder of the user's cache.

Laws: a folder is complete or absent; it is named after the pins and the Python it is for, so that changed pins make a
new one; who comes second waits. What runs by `command` sees those packages and none of the development environment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from localclouds import cache

ROOT: Final = Path(__file__).parents[1]


def packages(name: str) -> Path:
    """The folder with the packages of requirements/NAME.txt; installed the first time (needs the network)."""
    pins = ROOT / "requirements" / f"{name}.txt"
    tag = f"py{sys.version_info.major}{sys.version_info.minor}"
    folder = cache.directory() / "packages" / f"{name}-{tag}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    with cache.locked(folder.with_name(f"{folder.name}.lock"), lambda: None):
        if not folder.exists():
            _install(pins, folder)
    return folder


def command(name: str, program: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
    """A command line and its environment: this Python with those packages, and with no others."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return [sys.executable, "-S", *program], {**environment, "PYTHONPATH": str(packages(name))}


def _install(pins: Path, folder: Path) -> None:
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    print(f"installing {pins.name} into {folder}, once", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    exactly = ["--require-hashes", "--no-deps", "--no-compile", "--only-binary", ":all:", "-r", str(pins)]
    subprocess.run([*pip, *exactly, "--target", str(unfinished)], check=True)
    unfinished.rename(folder)
