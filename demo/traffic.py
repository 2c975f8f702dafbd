"""The load generator as a process of ours: started, told to withhold labels, stopped, its ledger read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo import ledger
from demo.setup import ROOT, StepFailed


class Traffic:
    """Requests to every cloud's gateway from `start` until `stop`."""

    def __init__(self, process: subprocess.Popen[str], ledger_file: Path) -> None:
        self._process = process
        self._ledger_file = ledger_file

    def withhold_labels(self) -> None:
        """From now on post no labels for new predictions."""
        self._tell("withhold")

    def stop(self) -> ledger.Ledger:
        """Post what is due, wait for the last answers, and return the account of the whole run."""
        self._tell("stop")
        if self._process.wait(timeout=60):
            raise StepFailed(f"the load generator ended with exit code {self._process.returncode}")
        return ledger.read(self._ledger_file)

    def _tell(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()


@contextmanager
def running(
    gateways: dict[str, str], rows: Path, folder: Path, seed: int, *, repost: bool = False
) -> Iterator[Traffic]:
    """Traffic for the length of a block; it ends with it, and with us. `repost`: failed labels are posted again."""
    ledger_file = folder / "ledger.json"
    ledger_file.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "demo.load",
        "--rows",
        str(rows),
        "--ledger",
        str(ledger_file),
        "--seed",
        str(seed),
    ]
    command += ["--repost"] if repost else []
    command += [f"{name}={url}" for name, url in gateways.items()]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, text=True) as process:
        try:
            yield Traffic(process, ledger_file)
        finally:
            if process.poll() is None:
                process.terminate()
