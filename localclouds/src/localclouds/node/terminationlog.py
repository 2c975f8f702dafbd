"""The message a container leaves when it ends: its termination message file, or the end of its log."""

from __future__ import annotations

from pathlib import Path

from localclouds.kube import Json
from localclouds.node.isolation import Mount

# A kubelet's limits.
_MOST_FILE_BYTES = 4096
_MOST_LOG_BYTES = 2048
_MOST_LOG_LINES = 80


class TerminationLog:
    """The termination message of one container, start by start."""

    def __init__(self, spec: Json, file: Path, log: Path) -> None:
        self._path = spec.get("terminationMessagePath") or "/dev/termination-log"
        self._falls_back = spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        self._file = file
        self._log = log
        self._log_start = 0

    def begin(self) -> None:
        """Forget the last run: an empty file, and only the log from here on."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_bytes(b"")
        self._file.chmod(0o666)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = self._log.stat().st_size if self._log.exists() else 0

    def mount(self) -> Mount:
        """Where the container sees the file."""
        return Mount(source=str(self._file), path=self._path, read_only=False, is_dir=False)

    def message(self, exit_code: int) -> str:
        """What the run that ended now has to say."""
        try:
            with self._file.open("rb") as file:
                text = file.read(_MOST_FILE_BYTES)
            if not text and self._falls_back and exit_code != 0:
                text = self._end_of_log()
        except OSError:
            return ""
        return text.decode(errors="replace")

    def _end_of_log(self) -> bytes:
        with self._log.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(self._log_start, size - _MOST_LOG_BYTES))
            return b"".join(log.readlines()[-_MOST_LOG_LINES:])
